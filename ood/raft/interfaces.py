"""What can be plugged into a node: transports, stores, state machines.

Whatever travels is bytes (a type and its arguments), so a transport needs no
knowledge of Raft.  Every call that takes long returns a Deferred; where the
caller passes ``callback`` it is called as ``callback(err, result)`` as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from ood.raft.core.types import Entry, HardState, Identity, Snapshot, Stored

Callback = Callable[..., object]
"""Called as ``callback(err, result)``; ``err`` is ``None`` or the exception."""

Reply = Callable[[Exception | None, bytes], object]
"""What a listener calls once to answer: ``reply(err, result)``."""

OnInvoke = Callable[[str, bytes, Reply], object]
"""What a connection calls for each call that arrives: (type, arguments, reply)."""


class IConnection(Interface):
    """A way to one peer, for calls in both directions."""

    names = Attribute(
        "The names that the peer's certificate vouches for (a frozenset), or "
        "None where the transport does not know who is at the other end."
    )

    def invoke(type: str, arguments: bytes, callback: Callback | None = None) -> Deferred[bytes]:
        """Call the peer; fire with its answer.

        Fails with RemoteError where the peer refused, with
        ConnectionClosedError where nobody knows what the peer did.
        """

    def listen(callback: OnInvoke) -> None:
        """Have ``callback(type, arguments, reply)`` called for each call of the peer."""

    def close(callback: Callback | None = None) -> Deferred[None]:
        """Close; fire when it is closed."""

    def on_close(callback: Callable[[], object]) -> None:
        """Have ``callback()`` called once, when the connection is gone."""


class IMessageConnection(IConnection):
    """A connection that also takes messages nobody answers (found by providedBy)."""

    def send(type: str, arguments: bytes) -> bool:
        """Send, or drop it and return False when too much is waiting."""


class ITransport(Interface):
    """Makes connections."""

    def connect(options: Any) -> IConnection | Deferred[IConnection]:
        """Connect to the peer that ``options`` describe."""

    def stop() -> Deferred[None]:
        """Close everything it opened; fire when that is gone."""


class IListener(ITransport):
    """A transport that peers can connect to."""

    def listen(options: Any, on_connection: Callable[[IConnection], object]) -> Deferred[Any]:
        """Listen; fire with the options by which peers connect to it."""


class PersistentState(msgspec.Struct, frozen=True):
    """Everything a node keeps.

    ``msgspec.to_builtins`` makes JSON of it, ``msgspec.convert`` reads that back.

    :ivar identity: whose state it is; ``None``: nothing was saved yet.
    :ivar entries: the log after the snapshot.
    """

    identity: Identity | None = None
    hard_state: HardState = HardState()
    snapshot: Snapshot | None = None
    entries: list[Entry] = []

    @property
    def stored(self) -> Stored:
        """The part that the core starts from."""
        return Stored(self.hard_state, self.snapshot, list(self.entries))


class IPersistence(Interface):
    """Keeps all of a node's state as one value (the simple way).

    ``state`` is made of dicts, lists, strings and numbers (JSON).
    """

    def save(state: Any, callback: Callback | None = None) -> Deferred[None] | None:
        """Fire only when ``state`` would survive a power cut."""

    def load(callback: Callback | None = None) -> Deferred[Any] | Any:
        """Fire with what was saved last, ``None`` if nothing was."""


class ILogPersistence(Interface):
    """Keeps the log piece by piece (found by providedBy).

    Each call takes effect after all calls before it, and its Deferred fires
    when it and all of them are durable: a store may gather the calls that come
    in meanwhile into one write.  After a failure everything fails.
    """

    def load_state() -> Deferred[PersistentState]:
        """Fire with everything that is there."""

    def save_meta(identity: Identity, hard_state: HardState) -> Deferred[None]:
        """Keep whose log this is, the term and the vote."""

    def truncate(index: int) -> Deferred[None]:
        """Drop the entries from ``index`` on."""

    def append(entries: Sequence[Entry]) -> Deferred[None]:
        """Add entries after the last one."""

    def snapshot(snapshot: Snapshot, reset: bool = False) -> Deferred[None]:
        """Keep a snapshot, and of the log at least what follows it.

        With ``reset`` (it came from the leader) the whole log is dropped.
        """

    def close() -> Deferred[None]:
        """Let everything go; fire when that is done."""


class IStateMachine(Interface):
    """What the log is for.  Only ever called with committed entries, in order."""

    def apply(command: bytes) -> bytes:
        """Carry a command out; same commands, same results, on every member."""

    def snapshot() -> bytes:
        """Return the whole state."""

    def restore(snapshot: bytes) -> None:
        """Replace the whole state."""
