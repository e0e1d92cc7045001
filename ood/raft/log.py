"""The write-ahead log in a thread, for the reactor.

One thread owns the :class:`~ood.raft.wal.Wal`.  What the reactor asks for
while a sync is under way is gathered and becomes the next write, so a turn of
the reactor costs one sync, and a slow disk makes bigger writes instead of a
longer queue.  Snapshot files are written in a second thread: appending goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from zope.interface import implementer

from ood.raft.core.types import Entry, HardState, Identity, Snapshot
from ood.raft.errors import StorageError
from ood.raft.files import OsFiles
from ood.raft.interfaces import ILogPersistence, PersistentState
from ood.raft.wal import Wal
from ood.raft.worker import Worker


class Run(Protocol):
    """Runs a function where it may block; fires with its result."""

    def __call__(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Run it."""


@dataclass
class Batch:
    """What the next write makes durable, in this order."""

    identity: Identity | None = None
    hard_state: HardState | None = None
    truncate: int | None = None
    entries: list[Entry] = field(default_factory=list)
    adopt: Snapshot | None = None
    reset: bool = False
    waiting: list[Deferred[None]] = field(default_factory=list)

    def cut(self, index: int) -> None:
        """Drop entries from ``index`` on, here and, if that is earlier, in the log."""
        self.entries = [entry for entry in self.entries if entry.index < index]
        if self.truncate is None or index < self.truncate:
            self.truncate = index

    def carry_out(self, wal: Wal) -> None:
        """Write it; returns when durable.

        Term and vote go first: nothing of a term is there without the term.
        """
        if self.adopt is None:
            wal.write(self.identity, self.hard_state, self.truncate, self.entries)
            return
        wal.write(self.identity, self.hard_state)
        if self.reset:
            wal.write_snapshot_file(self.adopt)
        wal.adopt_snapshot(self.adopt, reset=self.reset)


@implementer(ILogPersistence)
class GatheringLog:
    """Gathers what is asked for during one write into the next.

    :param wal: the blocking log.
    :param run: runs its writes, one at a time.
    :param run_aside: runs what may go on beside them.
    """

    def __init__(self, wal: Wal, run: Run, run_aside: Run) -> None:
        self._wal = wal
        self._run = run
        self._run_aside = run_aside
        self._next: list[Batch] = []
        self._busy = False
        self._failure: Failure | None = None
        self._idle: list[Deferred[None]] = []
        self._aside: set[Deferred[Any]] = set()
        self._closed = False

    def load_state(self) -> Deferred[PersistentState]:
        """Read everything back."""
        return self._run(self._wal.load)

    def save_meta(self, identity: Identity, hard_state: HardState) -> Deferred[None]:
        """Keep term and vote; the commit index alone waits for the next sync."""
        batch = self._batch(after_log=True)
        batch.identity, batch.hard_state = identity, hard_state
        return self._queue(batch)

    def truncate(self, index: int) -> Deferred[None]:
        """Drop the entries from ``index`` on."""
        batch = self._batch()
        batch.cut(index)
        return self._queue(batch)

    def append(self, entries: Sequence[Entry]) -> Deferred[None]:
        """Add entries."""
        batch = self._batch()
        batch.entries.extend(entries)
        return self._queue(batch)

    def snapshot(self, snapshot: Snapshot, reset: bool = False) -> Deferred[None]:
        """Keep a snapshot; one of our own is written while appending goes on."""
        if reset:
            return self._adopt(snapshot, reset=True)
        written = self._run_aside(lambda: self._wal.write_snapshot_file(snapshot))
        self._aside.add(written)
        _ = written.addBoth(self._aside_done, written)
        return written.addCallback(lambda _: self._adopt(snapshot, reset=False))

    def _aside_done(self, result: Any, written: Deferred[Any]) -> Any:
        self._aside.discard(written)
        return result

    def _adopt(self, snapshot: Snapshot, *, reset: bool) -> Deferred[None]:
        batch = Batch(adopt=snapshot, reset=reset)
        self._next.append(batch)
        return self._queue(batch)

    def _batch(self, *, after_log: bool = False) -> Batch:
        """Return the batch that the next request may join."""
        if not self._next or (self._next[-1].adopt is not None and not after_log):
            self._next.append(Batch())
        return self._next[-1]

    def _queue(self, batch: Batch) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        if self._failure is not None or self._closed:
            done.errback(self._failure or StorageError("the log is closed"))
            return done
        batch.waiting.append(done)
        self._write_next()
        return done

    def _write_next(self) -> None:
        if self._busy or not self._next:
            return
        self._busy = True
        batch = self._next.pop(0)
        writing = self._run(lambda: batch.carry_out(self._wal))
        _ = writing.addBoth(self._written, batch)

    def _written(self, result: object, batch: Batch) -> None:
        self._busy = False
        if isinstance(result, Failure):
            self._failure = result
            self._fail(batch)
            while self._next:
                self._fail(self._next.pop(0))
        else:
            self._write_next()
            for done in batch.waiting:
                done.callback(None)
        if not self._busy:
            idle, self._idle = self._idle, []
            for waiter in idle:
                waiter.callback(None)

    def _fail(self, batch: Batch) -> None:
        for done in batch.waiting:
            done.errback(self._failure)

    async def _close(self) -> None:
        while self._aside:
            await _settled(next(iter(self._aside)))
        if self._busy:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        self._closed = True
        await self._run(self._wal.close)

    def close(self) -> Deferred[None]:
        """Finish what is under way, seal the log, let the directory go."""
        return Deferred.fromCoroutine(self._close())


def _settled(deferred: Deferred[Any]) -> Deferred[None]:
    waiter: Deferred[None] = Deferred()

    def settle(result: Any) -> Any:
        waiter.callback(None)
        return result

    _ = deferred.addBoth(settle)
    return waiter


class WalPersistence(GatheringLog):
    """The write-ahead log in a directory, with its own two threads.

    :param path: the directory; this process alone may use it.
    :param reactor: gets the results.
    """

    def __init__(self, path: str | os.PathLike[str], reactor: IReactorFromThreads) -> None:
        self._threads = (Worker("raft-log", reactor), Worker("raft-snapshot", reactor))
        writer, aside = self._threads
        super().__init__(Wal(OsFiles(path)), writer.run, aside.run)

    async def _close(self) -> None:
        try:
            await super()._close()
        finally:
            for thread in self._threads:
                await thread.stop()
