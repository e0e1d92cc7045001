"""Conditions and ranges of requests (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate

import msgspec

RANGES_MAX = 16
"""A request for more pieces is answered with the whole: nobody but an attacker asks so."""

_FIELDS = re.compile(
    rb"\n((?i:if-(?:match|none-match|modified-since|unmodified-since|range)|range"
    rb"|accept-encoding))(?=:):[ \t]*([^\r]*)"
)
_TAG = re.compile(rb'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_RANGE = re.compile(rb"([0-9]*)-([0-9]*)")
_DATE = re.compile(
    rb"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_MONTHS = {
    name: number
    for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)
}
_DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
NEVER, ALWAYS = float("inf"), float("-inf")
EPOCH_DAYS = 719_162
"""Days from the year 1 to 1970."""


class Version(msgspec.Struct, frozen=True):
    """The version of a file that is there.

    :ivar etag: its strong entity tag, with quotes.
    :ivar modified: when it was changed, in whole seconds since the epoch.
    :ivar size: its length in bytes.
    """

    etag: bytes
    modified: int
    size: int


class Piece(msgspec.Struct, frozen=True):
    """What of a file is to be sent.

    :ivar status: 200, 206, 304, 412 or 416.
    :ivar start: the first byte, of 200 and 206.
    :ivar length: how many bytes.
    """

    status: int
    start: int = 0
    length: int = 0


def entity_tag(modified_ns: int, size: int, coding: str = "") -> bytes:
    """Return a file's entity tag: another one after each change, and for each coding."""
    suffix = f"-{coding}" if coding else ""
    return f'"{modified_ns:x}-{size:x}{suffix}"'.encode("ascii")


def http_date(seconds: float) -> bytes:
    """Return a moment as HTTP has it."""
    return formatdate(seconds, usegmt=True).encode("ascii")


def asked(fields: bytes) -> dict[bytes, bytes]:
    """Return those of a request's fields that decide here, by their names in lower case.

    Of one that is there several times the values are joined, as lists are.
    """
    found: dict[bytes, bytes] = {}
    for name, value in _FIELDS.findall(b"\n" + fields):
        key, one = name.lower(), value.rstrip()
        found[key] = found[key] + b", " + one if key in found else one
    return found


def decide(version: Version, fields: Mapping[bytes, bytes], *, get: bool) -> Piece:
    """Return what is to be sent of a file that is there, in the order of RFC 9110 13.2.2.

    :param fields: what :func:`asked` returned.
    :param get: whether the method is GET: HEAD has no ranges.
    """
    match = fields.get(b"if-match")
    if match is not None:
        if not _matches(match, version.etag, weak=False):
            return Piece(412)
    elif version.modified > _date(fields.get(b"if-unmodified-since"), NEVER):
        return Piece(412)
    none_match = fields.get(b"if-none-match")
    if none_match is not None:
        if _matches(none_match, version.etag, weak=True):
            return Piece(304)
    elif version.modified <= _date(fields.get(b"if-modified-since"), ALWAYS):
        return Piece(304)
    whole = Piece(200, 0, version.size)
    ranges = fields.get(b"range")
    if not get or ranges is None or not _same(fields.get(b"if-range"), version):
        return whole
    return _piece(ranges, version.size) or whole


def _matches(value: bytes, etag: bytes, *, weak: bool) -> bool:
    if value.strip() == b"*":
        return True
    return any(tag == etag and (weak or not prefix) for prefix, tag in _TAG.findall(value))


def _same(if_range: bytes | None, version: Version) -> bool:
    """Tell whether the rest of what the client has is in this version."""
    if if_range is None:
        return True
    if if_range.startswith((b'"', b"W/")):
        return if_range == version.etag
    return _date(if_range, NEVER) == version.modified


def _piece(value: bytes, size: int) -> Piece | None:
    """Return the one piece that is asked for; None if it is to be the whole.

    Several pieces that overlap, or follow one another, are one; others are not worth the
    multipart answer that hardly anybody asks for: the whole is an answer, too.
    """
    unit, equals, listed = value.partition(b"=")
    if not equals or unit.strip().lower() != b"bytes":
        return None
    items = [one.strip(b" \t") for one in listed.split(b",")]
    items = [one for one in items if one]
    if not items or len(items) > RANGES_MAX:
        return None
    spans = []
    for item in items:
        match = _RANGE.fullmatch(item)
        if match is None or item == b"-" or len(item) > 40:
            return None
        first, last = match.groups()
        if first and last and int(last) < int(first):
            return None
        span = _span(first, last, size)
        if span is not None:
            spans.append(span)
    if not spans:
        return Piece(416)
    return _joined(sorted(spans))


def _span(first: bytes, last: bytes, size: int) -> tuple[int, int] | None:
    """Return begin and end (exclusive) of one range; None if there is nothing of it."""
    if not first:
        begin, end = max(size - int(last), 0), size
    else:
        begin, end = int(first), min(int(last) + 1, size) if last else size
    return (begin, end) if begin < end else None


def _joined(spans: list[tuple[int, int]]) -> Piece | None:
    begin, end = spans[0]
    for first, last in spans[1:]:
        if first > end:
            return None
        end = max(end, last)
    return Piece(206, begin, end - begin)


def _date(value: bytes | None, otherwise: float) -> float:
    """Return a date in seconds since the epoch; ``otherwise`` for one that is none."""
    match = None if value is None else _DATE.fullmatch(value.strip())
    if match is None:
        return otherwise
    day, month, year = int(match[1]), _MONTHS.get(match[2], 0), int(match[3])
    if not month or not year or not 1 <= day <= 31:
        return otherwise
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + _DAYS_BEFORE[month - 1]
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days += day - 1 + (leap and month > 2) - EPOCH_DAYS
    return days * 86_400 + int(match[4]) * 3_600 + int(match[5]) * 60 + int(match[6])
