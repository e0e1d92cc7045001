"""A node in figures: for a status page, and as Prometheus metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ood.raft.core.types import Status

if TYPE_CHECKING:
    from ood.raft.node import Node


class Stats(msgspec.Struct, frozen=True):
    """What :meth:`Node.stats` returns; ``msgspec.to_builtins`` makes JSON of it.

    :ivar status: term, role, leader, commit and applied index, members,
        and on the leader how far each member is.
    :ivar address: where this node is reached.
    :ivar connected: for each member whether there is a connection to it.
    :ivar commands_pending: commands that wait for a majority.
    :ivar reads_pending: reads that wait for a confirmation.
    :ivar saves: writes to the log that became durable.
    :ivar save_seconds: how long they took, together.
    :ivar stopped: why the node is stopped, "" while it runs.
    """

    status: Status
    cluster: str
    address: str
    connected: dict[str, bool]
    commands_pending: int
    reads_pending: int
    saves: int
    save_seconds: float
    entries_saved: int
    entries_applied: int
    messages_sent: int
    messages_received: int
    snapshots: int
    elections: int
    stopped: str = ""


def collect(node: Node) -> Stats:
    """Return a node's figures."""
    driver, counters = node.last_driver, node.last_driver.counters
    return Stats(
        status=driver.raw.status(),
        cluster=node.cluster,
        address=str(node.address),
        connected=node.links.connected(),
        commands_pending=len(driver.commands),
        reads_pending=len(driver.reads),
        saves=counters.saves,
        save_seconds=counters.save_seconds,
        entries_saved=counters.entries_saved,
        entries_applied=counters.entries_applied,
        messages_sent=driver.outbox.sent,
        messages_received=counters.messages_received,
        snapshots=counters.snapshots,
        elections=counters.elections,
        stopped=node.stopped,
    )


_GAUGES = ("term", "commit", "applied", "stable", "first_index", "last_index")
_COUNTERS = (
    "saves",
    "save_seconds",
    "entries_saved",
    "entries_applied",
    "messages_sent",
    "messages_received",
    "snapshots",
    "elections",
)


def prometheus(stats: Stats) -> str:
    """Return the figures in Prometheus' text format."""
    labels = f'{{cluster="{_escape(stats.cluster)}",node="{_escape(stats.status.id)}"}}'
    lines: list[str] = []

    def add(name: str, kind: str, value: float) -> None:
        lines.extend((f"# TYPE raft_{name} {kind}", f"raft_{name}{labels} {value}"))

    for name in _GAUGES:
        add(name, "gauge", getattr(stats.status, name))
    add("leader", "gauge", int(stats.status.leader == stats.status.id))
    add("members_connected", "gauge", sum(stats.connected.values()))
    add("commands_pending", "gauge", stats.commands_pending)
    add("reads_pending", "gauge", stats.reads_pending)
    for name in _COUNTERS:
        add(f"{name}_total", "counter", getattr(stats, name))
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
