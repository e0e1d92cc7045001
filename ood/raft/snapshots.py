"""Snapshot files: written aside, synced, renamed; the newest one counts."""

from __future__ import annotations

from struct import Struct

import msgspec
from google_crc32c import extend

from ood.raft.core.types import Snapshot
from ood.raft.errors import DamagedLogError
from ood.raft.files import IFiles

PREFIX = "snapshot-"
SUFFIX = ".snap"

_MAGIC = b"oodsnap1"
_HEAD = Struct("<8sQI")
_decoder = msgspec.msgpack.Decoder(Snapshot)


def snapshot_name(index: int, term: int) -> str:
    """Return the file name; names sort as their snapshots do."""
    return f"{PREFIX}{index:016x}-{term:016x}{SUFFIX}"


def point_of(name: str) -> tuple[int, int]:
    """Return (index, term) of a snapshot by its file's name."""
    index, term = name[len(PREFIX) : -len(SUFFIX)].split("-")
    return int(index, 16), int(term, 16)


class SnapshotFiles:
    """The snapshots in a directory."""

    def __init__(self, files: IFiles) -> None:
        self._files = files

    def _names(self) -> list[str]:
        names = self._files.names()
        return [name for name in names if name.startswith(PREFIX) and name.endswith(SUFFIX)]

    def load(self, floor: tuple[int, int]) -> Snapshot | None:
        """Return the newest snapshot; it is at least what the log rests on.

        :raises DamagedLogError: it is damaged, or missing under a log.
        """
        names = self._names()
        newest = point_of(names[-1]) if names else (0, 0)
        if newest < floor:
            raise DamagedLogError(snapshot_name(*floor), "the snapshot under the log is missing")
        return self._read(names[-1]) if names else None

    def _read(self, name: str) -> Snapshot:
        data = self._files.read(name)
        if len(data) >= _HEAD.size:
            magic, length, checksum = _HEAD.unpack_from(data)
            body = data[_HEAD.size :]
            if magic == _MAGIC and len(body) == length and extend(0, body) == checksum:
                return _decoder.decode(body)
        raise DamagedLogError(name, "the snapshot is damaged")

    def write(self, snapshot: Snapshot) -> None:
        """Return when the snapshot is durable under its name."""
        name = snapshot_name(snapshot.metadata.index, snapshot.metadata.term)
        if name in self._names():
            return
        body = msgspec.msgpack.encode(snapshot)
        file = self._files.create(name + ".new", 0)
        try:
            file.write_at(0, _HEAD.pack(_MAGIC, len(body), extend(0, body)) + body)
            file.sync()
        finally:
            file.close()
        self._files.rename(name + ".new", name)
        self._files.sync_names()

    def drop_before(self, point: tuple[int, int]) -> None:
        """Remove the snapshots that a newer one replaces."""
        for name in self._names():
            if point_of(name) < point:
                self._files.remove(name)
