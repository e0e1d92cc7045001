"""Nodes in one process: connections by method calls, state in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ood.raft.callbacks import Closing, with_callback
from ood.raft.calls import Calls, Frame
from ood.raft.core.types import Entry, HardState, Identity, Snapshot
from ood.raft.errors import ConnectionClosedError
from ood.raft.interfaces import (
    Callback,
    IConnection,
    IListener,
    ILogPersistence,
    IMessageConnection,
    OnInvoke,
    PersistentState,
)


@implementer(IMessageConnection)
class MemoryConnection:
    """One end of a connection; frames arrive in the next turn."""

    names: frozenset[str] | None = None

    def __init__(self, network: MemoryNetwork, here: str, there: str) -> None:
        self._network = network
        self._ends = (here, there)
        self._closing = Closing()
        self._calls = Calls(self._transmit)
        self.partner: MemoryConnection | None = None

    def _transmit(self, frame: Frame) -> bool:
        partner = self.partner
        assert partner is not None
        self._network.carry(self._ends, lambda: partner.receive(frame))
        return True

    def receive(self, frame: Frame) -> None:
        """Take a frame, unless the connection is gone meanwhile."""
        if not self._closing.done:
            self._calls.receive(frame)

    def invoke(
        self, type: str, arguments: bytes, callback: Callback | None = None
    ) -> Deferred[bytes]:
        """Call the peer."""
        return with_callback(self._calls.invoke(type, arguments), callback)

    def send(self, type: str, arguments: bytes) -> bool:
        """Send a message that nobody answers."""
        return self._calls.send(type, arguments)

    def listen(self, callback: OnInvoke) -> None:
        """Take the peer's calls."""
        self._calls.listen(callback)

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call back when the connection is gone."""
        self._closing.add(callback)

    def close(self, callback: Callback | None = None) -> Deferred[None]:
        """Close both ends."""
        partner = self.partner
        if not self._closing.done and partner is not None:
            self._network.carry(self._ends, partner.lost)
            self.lost()
        return with_callback(succeed(None), callback)

    def lost(self) -> None:
        """The connection is gone."""
        if not self._closing.done:
            self._calls.close("closed")
            self._closing.fire()


class MemoryNetwork:
    """Where memory transports find each other.

    :ivar cut: pairs (from, to) of addresses between which everything is lost.
    """

    def __init__(self) -> None:
        self.cut: set[tuple[str, str]] = set()
        self._listeners: dict[str, tuple[MemoryTransport, Callable[[IConnection], object]]] = {}

    def add(
        self, address: str, transport: MemoryTransport, listener: Callable[[IConnection], object]
    ) -> None:
        """Let ``listener`` be found at ``address``."""
        self._listeners[address] = (transport, listener)

    def remove(self, address: str) -> None:
        """Nobody listens at ``address`` any more."""
        self._listeners.pop(address, None)

    def carry(self, ends: tuple[str, str], deliver: Callable[[], object]) -> None:
        """Deliver in the receiver's next turn, or lose it."""
        here, there = ends
        if ends in self.cut:
            return
        transport = self._listeners.get(there) or self._listeners.get(here)
        if transport is not None:
            _ = transport[0].clock.callLater(0, deliver)

    def open(self, here: str, there: str) -> MemoryConnection | None:
        """Connect; ``None`` if nobody is there."""
        found = self._listeners.get(there)
        if found is None or (here, there) in self.cut or (there, here) in self.cut:
            return None
        near, far = MemoryConnection(self, here, there), MemoryConnection(self, there, here)
        near.partner, far.partner = far, near
        found[0].opened(far)
        found[1](far)
        return near


# Where the nodes of a process meet that name no network of their own.
SHARED_NETWORK = MemoryNetwork()


@implementer(IListener)
class MemoryTransport:
    """A transport inside this process; an address is any string.

    :param clock: its next turn carries frames.
    :param network: whom it can reach.
    """

    def __init__(self, clock: IReactorTime, network: MemoryNetwork | None = None) -> None:
        self.clock = clock
        self._network = network or SHARED_NETWORK
        self._address = ""
        self._open: set[MemoryConnection] = set()

    def connect(self, options: Any) -> Deferred[IConnection]:
        """Connect to the node that listens at the address ``options``."""
        connection = self._network.open(self._address, str(options))
        if connection is None:
            return fail(ConnectionClosedError(f"nobody listens at {options}"))
        self.opened(connection)
        return succeed(connection)

    def opened(self, connection: MemoryConnection) -> None:
        """Remember a connection, to close it in the end."""
        self._open.add(connection)
        connection.on_close(lambda: self._open.discard(connection))

    def listen(self, options: Any, on_connection: Callable[[IConnection], object]) -> Deferred[str]:
        """Be found at the address ``options``."""
        self._address = str(options)
        self._network.add(self._address, self, on_connection)
        return succeed(self._address)

    def stop(self) -> Deferred[None]:
        """Close everything."""
        for connection in list(self._open):
            _ = connection.close()
        self._network.remove(self._address)
        return succeed(None)


@implementer(ILogPersistence)
class MemoryPersistence:
    """Keeps state as long as the object lives; for tests and trials."""

    def __init__(self) -> None:
        self._state = PersistentState()

    def _set(
        self,
        identity: Identity | None = None,
        hard_state: HardState | None = None,
        snapshot: Snapshot | None = None,
        entries: list[Entry] | None = None,
    ) -> Deferred[None]:
        old = self._state
        self._state = PersistentState(
            identity or old.identity,
            hard_state or old.hard_state,
            snapshot or old.snapshot,
            old.entries if entries is None else entries,
        )
        return succeed(None)

    def load_state(self) -> Deferred[PersistentState]:
        """Return a copy of what is kept."""
        old = self._state
        return succeed(
            PersistentState(old.identity, old.hard_state, old.snapshot, list(old.entries))
        )

    def save_meta(self, identity: Identity, hard_state: HardState) -> Deferred[None]:
        """Keep whose it is, term and vote."""
        return self._set(identity, hard_state)

    def truncate(self, index: int) -> Deferred[None]:
        """Drop entries."""
        entries = self._state.entries
        while entries and entries[-1].index >= index:
            entries.pop()
        return succeed(None)

    def append(self, entries: Sequence[Entry]) -> Deferred[None]:
        """Add entries."""
        self._state.entries.extend(entries)
        return succeed(None)

    def snapshot(self, snapshot: Snapshot, reset: bool = False) -> Deferred[None]:
        """Keep a snapshot and the log after it."""
        index = snapshot.metadata.index
        kept = [] if reset else [entry for entry in self._state.entries if entry.index > index]
        return self._set(snapshot=snapshot, entries=kept)

    def close(self) -> Deferred[None]:
        """Nothing to do."""
        return succeed(None)
