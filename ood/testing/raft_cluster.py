"""A cluster of nodes in one process, on a clock that a test advances."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ood.raft.memory import MemoryNetwork, MemoryPersistence, MemoryTransport
from ood.raft.node import Node
from ood.raft.options import Settings

T = TypeVar("T")

# One step of the clock: well below a tick, so that frames travel between ticks.
STEP_SECONDS = 0.005


class ListMachine:
    """Keeps every command it was given, in order."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def apply(self, command: bytes) -> int:
        """Keep it; return how many there are."""
        self.commands.append(command)
        return len(self.commands)

    def query(self, _: bytes) -> int:
        """Return how many there are."""
        return len(self.commands)

    def snapshot(self) -> bytes:
        """Return them all."""
        return msgspec.msgpack.encode(self.commands)

    def restore(self, data: bytes) -> None:
        """Replace them all."""
        self.commands = msgspec.msgpack.decode(data, type=list[bytes])


class MemoryCluster:
    """Nodes that find each other through one network.

    :param settings: of every node.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork()
        self.settings = settings
        self.nodes: dict[str, Node] = {}
        self.stores: dict[str, Any] = {}
        self._seed = 0

    def node(self, id: str, **options: Any) -> Node:
        """Make a node; one with the id of an earlier one gets its store."""
        self._seed += 1
        store = options.pop("persistence", None) or self.stores.setdefault(id, MemoryPersistence())
        node = Node(
            id,
            "test",
            MemoryTransport(self.clock, self.network),
            store,
            clock=self.clock,
            random=Random(self._seed),  # noqa: S311  a test has to be repeatable
            machine=options.pop("machine", None) or ListMachine(),
            settings=options.pop("settings", None) or self.settings,
            **options,
        )
        self.nodes[id] = node
        return node

    def start(self, *ids: str) -> list[Node]:
        """Start first members that know each other; return when one leads."""
        nodes = [self.node(id, peers={peer: peer for peer in ids if peer != id}) for id in ids]
        for node in nodes:
            self.result(node.start())
        self.until(lambda: self.leader() is not None)
        return nodes

    def leader(self) -> Node | None:
        """Return the node that leads and that all running nodes follow."""
        running = [node for node in self.nodes.values() if not node.stopped]
        leaders = {node.leader for node in running}
        if len(leaders) != 1:
            return None
        found = self.nodes.get(leaders.pop() or "")
        return found if found in running and found.driver.leading else None

    def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Let time pass until something is true.

        :raises AssertionError: it is not, after ``seconds``.
        """
        end = self.clock.seconds() + seconds
        while not condition():
            if self.clock.seconds() > end:
                raise AssertionError(f"not within {seconds} s")
            self.clock.advance(STEP_SECONDS)

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(STEP_SECONDS)

    def result(self, deferred: Deferred[T], seconds: float = 30.0) -> T:
        """Let time pass until a Deferred has fired; return what it fired with."""
        got: list[Any] = []
        _ = deferred.addBoth(got.append)
        self.until(lambda: got, seconds)
        if isinstance(got[0], Failure):
            got[0].raiseException()
        return got[0]  # type: ignore[no-any-return]

    def isolate(self, id: str) -> None:
        """Lose everything from and to a node."""
        for other in self.nodes:
            if other != id:
                self.network.cut |= {(id, other), (other, id)}

    def heal(self) -> None:
        """Lose nothing any more."""
        self.network.cut.clear()

    def stop(self) -> None:
        """Stop every node."""
        for node in self.nodes.values():
            self.result(node.stop())
