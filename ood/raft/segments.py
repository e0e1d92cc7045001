"""The active segment of the write-ahead log and the ones before it.

A segment is created under another name and renamed when its header is
durable, so a segment's header that can't be read is damage, never a crash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ood.raft.files import IFile, IFiles
from ood.raft.records import (
    HEADER_BYTES,
    RECORD_BYTES,
    Kind,
    SegmentHeader,
    encode_header,
    encode_record,
)

# Big enough that rotation is rare, small enough that compaction frees soon.
SEGMENT_BYTES = 16 * 1024 * 1024
SUFFIX = ".wal"
UNFINISHED_SUFFIX = ".new"
NO_IDENTITY = bytes(16)


def segment_name(sequence: int) -> str:
    """Return the file name of the segment with this place in the log."""
    return f"log-{sequence:016x}{SUFFIX}"


@dataclass
class Sealed:
    """A segment that is complete.

    :ivar last_index: the highest entry it holds, 0 if none.
    """

    name: str
    last_index: int


class Segments:
    """Where batches are appended to.

    :param identity: makes 16 random bytes for each segment.
    """

    def __init__(
        self, files: IFiles, identity: Callable[[], bytes], segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self._files = files
        self._identity = identity
        self._segment_bytes = segment_bytes
        self._header: SegmentHeader | None = None
        self._file: IFile | None = None
        self._seed = 0
        self._end = 0
        self._last_index = 0
        self.sealed: list[Sealed] = []

    def __len__(self) -> int:
        return len(self.sealed) + (self._file is not None)

    def resume(self, header: SegmentHeader | None, end: int, sealed: list[Sealed]) -> None:
        """Go on after what recovery found; the next batch opens a new segment."""
        self._header, self._end, self.sealed = header, end, sealed

    def append(
        self, records: list[tuple[int, int, int, bytes]], last_index: int, floor: tuple[int, int]
    ) -> None:
        """Make one batch durable with one sync.

        :param records: (kind, index, term, payload) of each.
        :param last_index: the highest entry among them, 0 if there is none.
        :param floor: index and term of the snapshot that is durable.
        """
        room = sum(len(record[3]) + RECORD_BYTES for record in records) + 2 * RECORD_BYTES
        if self._file is None or self._end + room > self._segment_bytes:
            self._rotate(floor, HEADER_BYTES + room)
        assert self._file is not None
        seed = self._seed
        parts = [encode_record(seed, Kind.BATCH, self._end, 0)]
        parts += [encode_record(seed, *record) for record in records]
        data = b"".join(parts)
        self._file.write_at(self._end, data)
        self._file.sync()
        self._end += len(data)
        self._last_index = max(self._last_index, last_index)

    def _rotate(self, floor: tuple[int, int], least_bytes: int) -> None:
        self.seal()
        previous = self._header
        header = SegmentHeader(
            identity=self._identity(),
            sequence=previous.sequence + 1 if previous else 1,
            previous=previous.identity if previous else NO_IDENTITY,
            previous_end=self._end if previous else 0,
            snapshot_index=floor[0],
            snapshot_term=floor[1],
        )
        name = segment_name(header.sequence)
        unfinished = name + UNFINISHED_SUFFIX
        file = self._files.create(unfinished, max(self._segment_bytes, least_bytes))
        file.write_at(0, encode_header(header))
        file.sync()
        self._files.rename(unfinished, name)
        self._files.sync_names()
        self._file, self._header = file, header
        self._seed, self._end, self._last_index = header.seed, HEADER_BYTES, 0

    def seal(self) -> None:
        """End the active segment for good: nothing is appended to it again."""
        if self._file is None:
            return
        assert self._header is not None
        record = encode_record(self._seed, Kind.SEAL, self._end, 0)
        self._file.write_at(self._end, record)
        self._end += len(record)
        self._file.truncate(self._end)
        self._file.sync()
        self._file.close()
        self._file = None
        self.sealed.append(Sealed(segment_name(self._header.sequence), self._last_index))

    def drop_through(self, index: int) -> None:
        """Remove the oldest segments that hold nothing after ``index``."""
        while len(self.sealed) > (self._file is None) and self.sealed[0].last_index <= index:
            self._files.remove(self.sealed.pop(0).name)

    def close(self) -> None:
        """Seal what is open; the next start appends to a new segment."""
        self.seal()

    def abandon(self) -> None:
        """Close without touching the file: after an error nothing is written."""
        if self._file is not None:
            self._file.close()
            self._file = None
