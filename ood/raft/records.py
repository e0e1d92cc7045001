"""The bytes of the write-ahead log: records, segment headers, batches.

All integers are little-endian.  A record is::

    crc u32 | crc of the fields u32 | length u32 | index u64 | term u64 | kind u8 |
    3 zero bytes | payload

The checksums are CRC-32C.  That of the fields starts from the segment's
identity, so a record that another segment left on the same blocks is never
taken for one of this segment; the other one goes on through the payload.
A batch is what one sync makes durable; it
begins with a BATCH record whose index is the offset up to which the segment
was durable *before* the batch.  That mark is what tells a torn tail (nothing
later claims it was durable) from damage (something does).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from google_crc32c import extend

MAGIC = b"oodraft1"
HEADER_BYTES = 128
SECTOR_BYTES = 512  # what a disk writes whole or not at all

_CHECKSUM = Struct("<I")
_CHECKSUMS = Struct("<II")
_FIELDS = Struct("<IQQB3x")
RECORD_BYTES = _CHECKSUMS.size + _FIELDS.size
_KIND_OFFSET = RECORD_BYTES - 4
_HEADER = Struct("<8s16sQ16sQQQ")


class Kind(IntEnum):
    """What a record says."""

    ENTRY = 1
    TRUNCATE = 2  # entries from index on are void
    SNAPSHOT = 3  # the snapshot of (index, term) is durable
    BATCH = 4  # a batch begins; index: the offset durable before it
    SEAL = 5  # the segment ends here


@dataclass(frozen=True)
class Record:
    """One record and where it ends in its segment."""

    kind: int
    index: int
    term: int
    payload: bytes
    end: int


@dataclass(frozen=True)
class SegmentHeader:
    """Who a segment is and what it follows.

    :ivar identity: random; seeds the checksums of its records.
    :ivar sequence: its place in the log, counted from 1.
    :ivar previous: the identity of the segment before, zeros for the first.
    :ivar previous_end: where that one ends.
    :ivar snapshot_index: the snapshot that was durable when it was created.
    :ivar snapshot_term: that snapshot's term.
    """

    identity: bytes
    sequence: int
    previous: bytes
    previous_end: int
    snapshot_index: int
    snapshot_term: int

    @property
    def seed(self) -> int:
        """Where the checksums of the segment's records start from."""
        return int(extend(0, self.identity))


def encode_header(header: SegmentHeader) -> bytes:
    """Return the first HEADER_BYTES of a segment."""
    body = _HEADER.pack(
        MAGIC,
        header.identity,
        header.sequence,
        header.previous,
        header.previous_end,
        header.snapshot_index,
        header.snapshot_term,
    )
    body = body.ljust(HEADER_BYTES - _CHECKSUM.size, b"\0")
    return body + _CHECKSUM.pack(extend(0, body))


def decode_header(data: bytes) -> SegmentHeader | None:
    """Return the header, or ``None`` where it is damaged."""
    body = data[: HEADER_BYTES - _CHECKSUM.size]
    checksum = data[HEADER_BYTES - _CHECKSUM.size : HEADER_BYTES]
    if _CHECKSUM.pack(extend(0, body)) != checksum:
        return None
    magic, *fields = _HEADER.unpack_from(body)
    return SegmentHeader(*fields) if magic == MAGIC else None


def encode_record(seed: int, kind: int, index: int, term: int, payload: bytes = b"") -> bytes:
    """Return one record."""
    fields = _FIELDS.pack(len(payload), index, term, kind)
    check = extend(seed, fields)
    return _CHECKSUMS.pack(extend(check, payload), check) + fields + payload


def _fields_at(seed: int, data: bytes, offset: int) -> tuple[int, int, int, int] | None:
    """Return length, index, term and kind, if they are as they were written."""
    fields = data[offset + _CHECKSUMS.size : offset + RECORD_BYTES]
    if len(fields) < _FIELDS.size:
        return None
    if _CHECKSUMS.unpack_from(data, offset)[1] != extend(seed, fields):
        return None
    length, index, term, kind = _FIELDS.unpack(fields)
    return length, index, term, kind


def decode_record(seed: int, data: bytes, offset: int) -> Record | None:
    """Return the record at ``offset``, or ``None`` where there is no whole one."""
    fields = _fields_at(seed, data, offset)
    if fields is None:
        return None
    length, index, term, kind = fields
    checksum, start = _CHECKSUMS.unpack_from(data, offset)
    end = offset + RECORD_BYTES + length
    payload = data[offset + RECORD_BYTES : end]
    if len(payload) != length or extend(start, payload) != checksum:
        return None
    return Record(kind, index, term, payload, end)


def records(seed: int, data: bytes) -> Iterator[Record]:
    """Yield the records from the header on, up to the first that is not whole."""
    offset = HEADER_BYTES
    while (record := decode_record(seed, data, offset)) is not None:
        yield record
        offset = record.end


def claims_durable(seed: int, data: bytes, offset: int) -> bool:
    """Say whether something after ``offset`` proves that it was durable.

    The lengths in between can't be trusted, so every place is tried where the
    kind of a BATCH or SEAL, with its three zeros, might stand.
    """
    place = offset + 1
    while True:
        kinds = [bytes((kind, 0, 0, 0)) for kind in (Kind.BATCH, Kind.SEAL)]
        found = [data.find(kind, place + _KIND_OFFSET) for kind in kinds]
        hits = [hit for hit in found if hit >= 0]
        if not hits:
            return False
        place = min(hits) - _KIND_OFFSET
        record = decode_record(seed, data, place)
        if record is not None and record.index > offset:
            return True
        place += 1


def looks_torn(seed: int, data: bytes, offset: int) -> bool:
    """Say whether the write at ``offset`` may have been cut by a crash.

    Either the file ends inside the record, or a sector of it was never
    written and reads as zeros: what reached the disk whole and does not match
    its checksum was damaged later.
    """
    fields = _fields_at(seed, data, offset)
    end = offset + RECORD_BYTES + (fields[0] if fields is not None else 0)
    return end > len(data) or _has_zero_sector(data, offset, end)


def _has_zero_sector(data: bytes, start: int, end: int) -> bool:
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if not any(data[start:stop]):
            return True
        start = stop
    return False
