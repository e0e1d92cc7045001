"""The write-ahead log: entries, term and vote, snapshots, in one directory.

::

    meta-a meta-b                    identity, term and vote, twice (ood.raft.meta)
    log-<sequence>.wal               segments of records (ood.raft.segments, .records)
    snapshot-<index>-<term>.snap     the newest snapshot (ood.raft.snapshots)
    DAMAGED                          why the log was refused

:class:`Wal` blocks; :class:`ood.raft.log.WalPersistence` runs it in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import msgspec

from ood.raft.core.types import Entry, HardState, Identity, Snapshot
from ood.raft.errors import DamagedLogError, StorageError
from ood.raft.files import IFiles
from ood.raft.interfaces import PersistentState
from ood.raft.meta import MetaFile
from ood.raft.records import Kind
from ood.raft.recovery import Replay, after_snapshot, replay
from ood.raft.segments import SEGMENT_BYTES, UNFINISHED_SUFFIX, Segments
from ood.raft.snapshots import SnapshotFiles

DAMAGED_NAME = "DAMAGED"

_encode = msgspec.msgpack.Encoder().encode


def random_identity() -> bytes:
    """Return what tells a segment from every other one."""
    return os.urandom(16)


def strip_commit(state: HardState) -> HardState:
    """Return term and vote alone."""
    return HardState(state.term, state.vote)


class Wal:
    """The log of one member.  After any error it refuses everything.

    :param files: the directory.
    :param identity: makes the 16 bytes that name a segment.
    :param segment_bytes: the size at which a segment is sealed.
    """

    def __init__(
        self,
        files: IFiles,
        identity: Callable[[], bytes] = random_identity,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._files = files
        self._meta = MetaFile(files)
        self._segments = Segments(files, identity, segment_bytes)
        self._snapshots = SnapshotFiles(files)
        self._identity: Identity | None = None
        self._hard_state = HardState()
        self._floor = (0, 0)
        self._failed: Exception | None = None

    def load(self) -> PersistentState:
        """Return what is there, after cutting a torn tail.

        :raises DamagedLogError: something acknowledged is not readable; the
            directory is marked, and refused until a person has looked at it.
        """
        if DAMAGED_NAME in self._files.names():
            reason = self._files.read(DAMAGED_NAME).decode("utf-8", "replace")
            raise DamagedLogError(DAMAGED_NAME, f"marked as damaged: {reason.strip()}")
        try:
            return self._load()
        except DamagedLogError as error:
            self._mark(error)
            raise

    def _load(self) -> PersistentState:
        self._remove_unfinished()
        found = replay(self._files)
        meta = self._meta.load()
        snapshot = self._snapshots.load(found.floor)
        if meta is None:
            if found.header is not None or snapshot is not None:
                raise DamagedLogError("meta-a, meta-b", "term and vote are missing beside a log")
            return PersistentState()
        self._identity, self._hard_state = meta.identity, meta.hard_state
        entries = self._join(found, snapshot)
        self._resume(found)
        self._finish_adoption(found, snapshot, entries)
        return PersistentState(meta.identity, meta.hard_state, snapshot, entries)

    def _join(self, found: Replay, snapshot: Snapshot | None) -> list[Entry]:
        """Return the entries that follow the snapshot, without a hole."""
        if snapshot is None:
            if found.entries and found.entries[0].index != 1:
                raise DamagedLogError("log", f"begins at entry {found.entries[0].index}")
            return found.entries
        point = (snapshot.metadata.index, snapshot.metadata.term)
        self._floor = point
        entries = after_snapshot(found.entries, *point)
        if not entries and found.entries and found.entries[0].index > point[0]:
            raise DamagedLogError(
                "log", f"begins at entry {found.entries[0].index}, the snapshot ends at {point[0]}"
            )
        return entries

    def _resume(self, found: Replay) -> None:
        if found.cut:
            file = self._files.open(found.sealed[-1].name)
            file.truncate(found.end)
            file.sync()
            file.close()
        self._segments.resume(found.header, found.end, found.sealed)

    def _finish_adoption(
        self, found: Replay, snapshot: Snapshot | None, entries: list[Entry]
    ) -> None:
        """Do what a crash between the snapshot's file and its record left undone."""
        if snapshot is not None and self._floor > found.floor:
            self.adopt_snapshot(snapshot, reset=bool(found.entries and not entries))

    def _remove_unfinished(self) -> None:
        for name in self._files.names():
            if name.endswith(UNFINISHED_SUFFIX):
                self._files.remove(name)

    def _mark(self, error: DamagedLogError) -> None:
        text = error.message.encode()
        file = self._files.create(DAMAGED_NAME, 0)
        file.write_at(0, text)
        file.sync()
        file.close()
        self._files.sync_names()

    def write(
        self,
        identity: Identity | None = None,
        hard_state: HardState | None = None,
        truncate: int | None = None,
        entries: Sequence[Entry] = (),
    ) -> None:
        """Return when all of it is durable: at most one sync for the log itself.

        Term and vote go first: an entry of a term is never there without the term.
        """
        self._check()
        try:
            self._write_meta(identity, hard_state)
            self._write_log(truncate, entries)
        except Exception as error:
            self._fail(error)

    def _write_meta(self, identity: Identity | None, hard_state: HardState | None) -> None:
        # The commit index is left out: it is not worth a sync, and kept before
        # the entries it speaks of it would make committed what is not.
        new_state = self._hard_state if hard_state is None else strip_commit(hard_state)
        changed = new_state != self._hard_state
        self._hard_state = new_state
        if identity is not None and identity != self._identity:
            self._identity, changed = identity, True
        if changed:
            if self._identity is None:
                raise StorageError("the log has no owner yet", "save an identity first")
            self._meta.save(self._identity, self._hard_state)

    def _write_log(self, truncate: int | None, entries: Sequence[Entry]) -> None:
        records: list[tuple[int, int, int, bytes]] = []
        if truncate is not None:
            records.append((Kind.TRUNCATE, truncate, 0, b""))
        kind = int(Kind.ENTRY)
        records += [(kind, entry.index, entry.term, _encode(entry)) for entry in entries]
        if records:
            last = entries[-1].index if entries else 0
            self._segments.append(records, last, self._floor)

    def write_snapshot_file(self, snapshot: Snapshot) -> None:
        """Make a snapshot's file durable; may run beside :meth:`write`.

        Where that fails nothing is lost: the log still holds everything.
        """
        self._check()
        try:
            self._snapshots.write(snapshot)
        except Exception as error:
            raise StorageError(f"no snapshot was written to {self._files}: {error}") from error

    def adopt_snapshot(self, snapshot: Snapshot, *, reset: bool = False) -> None:
        """Let the log begin at a snapshot whose file is durable, and free what it covers.

        :param reset: the log is of no use with it: drop all of it.
        """
        self._check()
        point = (snapshot.metadata.index, snapshot.metadata.term)
        if point < self._floor:
            return  # a newer one was installed while this file was written
        records: list[tuple[int, int, int, bytes]] = [(Kind.SNAPSHOT, *point, b"")]
        if reset:
            records.insert(0, (Kind.TRUNCATE, 0, 0, b""))
        try:
            self._segments.append(records, 0, self._floor)
            self._floor = point
            self._segments.drop_through(point[0])
            self._snapshots.drop_before(point)
        except Exception as error:
            self._fail(error)

    def _check(self) -> None:
        if self._failed is not None:
            raise StorageError(f"the log failed before: {self._failed}", "restart the node")

    def _fail(self, error: Exception) -> None:
        """Refuse everything from now on: a sync that failed is never tried again."""
        self._failed = error
        self._segments.abandon()
        raise StorageError(
            f"writing to {self._files} failed: {error}", "free space or replace the disk, restart"
        ) from error

    def close(self) -> None:
        """Seal the log and let the directory go."""
        try:
            if self._failed is None:
                self._segments.close()
        finally:
            self._segments.abandon()
            self._meta.close()
            self._files.close()
