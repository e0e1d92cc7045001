"""The follower's side: taking entries and heartbeats."""

from __future__ import annotations

from ood.raft.core import roles
from ood.raft.core.errors import SafetyError
from ood.raft.core.state import Core
from ood.raft.core.types import (
    Append,
    AppendReply,
    Entry,
    Heartbeat,
    HeartbeatReply,
    Role,
    SnapshotChunk,
)


def hear(core: Core, message: Append | Heartbeat | SnapshotChunk) -> None:
    """Follow the leader that speaks."""
    if core.leading:
        raise SafetyError(f"{message.source} and {core.id} both lead term {core.term}")
    if core.role is not Role.FOLLOWER or core.leader != message.source:
        roles.become_follower(core, message.term, message.source)
    core.election_elapsed = 0


def on_append(core: Core, message: Append) -> None:
    """Take entries that follow on what this log holds, or say where it may agree."""
    hear(core, message)
    log, previous = core.log, message.previous_index
    if previous < log.committed:
        # What is committed is the same everywhere, and may be compacted away here.
        _take(core, message, log.committed, message.entries[log.committed - previous :])
    elif log.term(previous) == message.previous_term:
        _take(core, message, previous, message.entries)
    else:
        _reject(core, message)


def _take(core: Core, message: Append, previous: int, entries: tuple[Entry, ...]) -> None:
    """Take entries behind a verified one; nothing beyond them is verified."""
    log = core.log
    cut = log.merge(previous, entries)
    if cut is not None:
        core.history.cut(cut)
    core.history.learn(entries)
    verified = previous + len(entries)
    log.commit_to(min(message.commit, verified))
    core.acknowledge(message.source, verified)


def _reject(core: Core, message: Append) -> None:
    """Name the last entry that may agree: none of a newer term than the leader's there."""
    log = core.log
    hint = log.at_or_below(message.previous_index, message.previous_term)
    core.send_after(
        AppendReply(
            core.id,
            message.source,
            core.term,
            message.previous_index,
            rejected=True,
            hint_index=hint,
            hint_term=log.term(hint) or 0,
        )
    )


def on_heartbeat(core: Core, message: Heartbeat) -> None:
    """Note that the leader lives; round 0 only tells what is committed.

    A leader never names an entry that this node has not acknowledged.  If it is
    not here, this disk lost what was promised: the node stays silent until it is
    replaced, as if it were down.
    """
    hear(core, message)
    if message.commit > core.log.last_index:
        return
    core.log.commit_to(message.commit)
    if message.round:
        core.send(HeartbeatReply(core.id, message.source, core.term, message.round))
