"""From the plain objects a user may write to what the node wants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import signature
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectError
from twisted.python.failure import Failure
from zope.interface import implementer

from ood.raft.callbacks import Closing, with_callback
from ood.raft.core.types import Entry, HardState, Identity, Snapshot
from ood.raft.errors import ConnectionClosedError, RaftError, StorageError
from ood.raft.interfaces import (
    Callback,
    IConnection,
    ILogPersistence,
    IPersistence,
    OnInvoke,
    PersistentState,
)
from ood.raft.memory import MemoryPersistence


async def call_plain(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a plain object's method gives: by Deferred, callback or at once."""
    if "callback" not in signature(function).parameters:
        result = function(*arguments)
        return await result if isinstance(result, Awaitable) else result
    called: Deferred[Any] = Deferred()

    def callback(error: Exception | None = None, result: Any = None) -> None:
        if not called.called:
            called.callback(result) if error is None else called.errback(error)

    returned = function(*arguments, callback=callback)
    return await (returned if isinstance(returned, Awaitable) else called)


@implementer(ILogPersistence)
class WholeState:
    """Saves all state with every change, by an :class:`IPersistence`.

    Each save costs as much as the whole log: fine for small state that changes
    rarely.  One save runs at a time; what changes meanwhile goes with the next.
    """

    def __init__(self, plain: IPersistence) -> None:
        self._plain = plain
        self._memory = MemoryPersistence()
        self._waiting: list[Deferred[None]] = []
        self._busy = False
        self._failure: Exception | None = None

    def load_state(self) -> Deferred[PersistentState]:
        """Load and check what was saved."""
        return Deferred.fromCoroutine(self._load())

    async def _load(self) -> PersistentState:
        saved = await call_plain(self._plain.load)
        if saved is None:
            return PersistentState()
        try:
            state = msgspec.convert(saved, PersistentState)
        except msgspec.ValidationError as error:
            raise StorageError(f"what was loaded is no state of ours: {error}") from error
        self._memory = MemoryPersistence()
        if state.identity is not None:
            _ = self._memory.save_meta(state.identity, state.hard_state)
        if state.snapshot is not None:
            _ = self._memory.snapshot(state.snapshot)
        _ = self._memory.append(state.entries)
        return state

    def save_meta(self, identity: Identity, hard_state: HardState) -> Deferred[None]:
        """Keep whose it is, term and vote."""
        _ = self._memory.save_meta(identity, hard_state)
        return self._save()

    def truncate(self, index: int) -> Deferred[None]:
        """Drop entries."""
        _ = self._memory.truncate(index)
        return self._save()

    def append(self, entries: Sequence[Entry]) -> Deferred[None]:
        """Add entries."""
        _ = self._memory.append(entries)
        return self._save()

    def snapshot(self, snapshot: Snapshot, reset: bool = False) -> Deferred[None]:
        """Keep a snapshot and the log after it."""
        _ = self._memory.snapshot(snapshot, reset)
        return self._save()

    def _save(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        if self._failure is not None:
            done.errback(self._failure)
            return done
        self._waiting.append(done)
        if not self._busy:
            self._busy = True
            _ = Deferred.fromCoroutine(self._save_all())
        return done

    async def _save_all(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            state = await self._memory.load_state()
            try:
                await call_plain(self._plain.save, msgspec.to_builtins(state))
            except Exception as error:
                self._give_up(error, waiting)
                break
            for done in waiting:
                done.callback(None)
        self._busy = False

    def _give_up(self, error: Exception, waiting: list[Deferred[None]]) -> None:
        self._failure = error
        waiting += self._waiting
        self._waiting = []
        for done in waiting:
            done.errback(self._failure)

    def close(self) -> Deferred[None]:
        """Nothing to do: the plain object is its owner's."""
        return succeed(None)


def adapt_persistence(persistence: Any) -> ILogPersistence:
    """Return ``persistence`` as the node wants it.

    An object with ``save`` and ``load`` needs to declare nothing.
    """
    if ILogPersistence.providedBy(persistence):
        return ILogPersistence(persistence)
    if IPersistence.providedBy(persistence) or (
        callable(getattr(persistence, "save", None))
        and callable(getattr(persistence, "load", None))
    ):
        return WholeState(persistence)
    raise RaftError(f"{persistence!r} can't keep a node's state", "give it save(state) and load()")


@implementer(IConnection)
class PlainConnection:
    """A connection that only has ``invoke``, ``listen`` and ``close``.

    That it is gone shows when a call fails.
    """

    def __init__(self, plain: Any) -> None:
        self._plain = plain
        self._closing = Closing()
        self.names: frozenset[str] | None = getattr(plain, "names", None)

    def invoke(
        self, type: str, arguments: bytes, callback: Callback | None = None
    ) -> Deferred[bytes]:
        """Call the peer."""
        asked = Deferred.fromCoroutine(call_plain(self._plain.invoke, type, arguments))
        return with_callback(asked.addErrback(self._failed), callback)

    def _failed(self, failure: Failure) -> Failure:
        if isinstance(failure.value, ConnectionClosedError | ConnectError | OSError):
            self._closing.fire()
        return failure

    def listen(self, callback: OnInvoke) -> None:
        """Take the peer's calls."""
        self._plain.listen(callback)

    def close(self, callback: Callback | None = None) -> Deferred[None]:
        """Close it."""
        self._closing.fire()
        closing = Deferred.fromCoroutine(call_plain(self._plain.close))
        return with_callback(closing, callback)

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call back when it turned out to be gone."""
        self._closing.add(callback)


def adapt_connection(connection: Any) -> IConnection:
    """Return a transport's connection as the node wants it."""
    if IConnection.providedBy(connection):
        return IConnection(connection)
    return IConnection(PlainConnection(connection))
