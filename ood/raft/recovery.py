"""Reading the write-ahead log back: what to keep, what to cut, what to refuse.

A *torn tail* is the last batch of the last segment, cut by a crash before its
sync returned: nobody was told of it, it is cut off.  Everything else that does
not read back was acknowledged once: that is *damage* and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from ood.raft.core.types import Entry
from ood.raft.errors import DamagedLogError
from ood.raft.files import IFiles
from ood.raft.records import (
    HEADER_BYTES,
    Kind,
    Record,
    SegmentHeader,
    claims_durable,
    decode_header,
    looks_torn,
    records,
)
from ood.raft.segments import NO_IDENTITY, SUFFIX, Sealed

_entry = msgspec.msgpack.Decoder(Entry)


@dataclass
class Replay:
    """The log as the segments tell it.

    :ivar entries: in order, without holes.
    :ivar floor: (index, term) of the newest snapshot the log mentions.
    :ivar header: the last segment's, to go on from.
    :ivar end: where the last segment ends.
    :ivar cut: the last segment has to be cut there.
    """

    entries: list[Entry] = field(default_factory=list)
    floor: tuple[int, int] = (0, 0)
    header: SegmentHeader | None = None
    end: int = 0
    cut: bool = False
    sealed: list[Sealed] = field(default_factory=list)

    @property
    def last_index(self) -> int:
        """The last entry's index, or the floor's."""
        return self.entries[-1].index if self.entries else self.floor[0]


def replay(files: IFiles) -> Replay:
    """Read every segment in order.

    :raises DamagedLogError: something that was acknowledged is not readable.
    """
    found = Replay()
    names = [name for name in files.names() if name.endswith(SUFFIX)]
    for name in names:
        _read_segment(found, name, files.read(name), last=name == names[-1])
    return found


def _read_segment(found: Replay, name: str, data: bytes, *, last: bool) -> None:
    header = decode_header(data[:HEADER_BYTES])
    if header is None:
        raise DamagedLogError(name, "the segment's header is damaged")
    _check_chain(found, name, header)
    found.floor = max(found.floor, (header.snapshot_index, header.snapshot_term))
    end, highest, ended = HEADER_BYTES, 0, False
    for record in records(header.seed, data):
        _take(found, name, record)
        end = record.end
        ended = record.kind == Kind.SEAL
        if record.kind == Kind.ENTRY:
            highest = max(highest, record.index)
        if ended:
            break
    if not ended:
        _check_tail(name, header, data, end, last=last)
        found.cut = True
    found.header, found.end = header, end
    found.sealed.append(Sealed(name, highest))


def _check_chain(found: Replay, name: str, header: SegmentHeader) -> None:
    if found.header is None:
        if header.sequence == 1 and header.previous != NO_IDENTITY:
            raise DamagedLogError(name, "the first segment follows another one")
        return
    expected = (found.header.sequence + 1, found.header.identity, found.end)
    if (header.sequence, header.previous, header.previous_end) != expected:
        raise DamagedLogError(name, "does not follow the segment before it: one is missing or cut")


def _check_tail(name: str, header: SegmentHeader, data: bytes, end: int, *, last: bool) -> None:
    """Raise unless what follows ``end`` is empty or a torn write."""
    if not last:
        # A restart cuts and goes on in a new segment without a SEAL; the
        # next header's ``previous_end`` has the last word on where it ends.
        if any(data[end:]):
            raise DamagedLogError(f"{name} at byte {end}", "a record before the last is damaged")
        return
    if claims_durable(header.seed, data, end) or not looks_torn(header.seed, data, end):
        raise DamagedLogError(f"{name} at byte {end}", "an acknowledged record is damaged")


def _take(found: Replay, name: str, record: Record) -> None:
    if record.kind == Kind.ENTRY:
        _take_entry(found, name, record)
    elif record.kind == Kind.TRUNCATE:
        keep = record.index - found.entries[0].index if found.entries else 0
        del found.entries[max(keep, 0) :]
    elif record.kind == Kind.SNAPSHOT:
        found.floor = max(found.floor, (record.index, record.term))


def _take_entry(found: Replay, name: str, record: Record) -> None:
    # The first segments may be gone: then the log begins in the middle.
    if found.entries and record.index != found.entries[-1].index + 1:
        raise DamagedLogError(name, f"entry {record.index} does not follow the one before it")
    try:
        entry = _entry.decode(record.payload)
    except msgspec.DecodeError as error:
        raise DamagedLogError(name, f"entry {record.index} can't be decoded") from error
    found.entries.append(entry)


def after_snapshot(entries: list[Entry], index: int, term: int) -> list[Entry]:
    """Return what a snapshot leaves of a log.

    What follows (index, term) stays; a log that has something else there, or
    does not reach that far, conflicts with what is committed and goes.
    """
    if not entries or entries[0].index > index:
        # Begins after it; only an adjoining log is still a log.
        return entries if entries and entries[0].index == index + 1 else []
    place = index - entries[0].index
    if place >= len(entries) or entries[place].term != term:
        return []
    return entries[place + 1 :]
