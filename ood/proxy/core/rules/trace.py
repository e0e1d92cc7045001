"""Names of requests: ``X-Request-Id``, and W3C's ``traceparent``."""

from __future__ import annotations

import re
from collections.abc import Callable

Fresh = Callable[[int], str]
"""``fresh(count)``: so many random bytes in hexadecimal."""

_ID = re.compile(rb"\n(?i:x[-_]request[-_]id):[ \t]*([^\r\n]*?)[ \t]*\r(?=\n)")
_SANE_ID = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,128}")
_PARENT = re.compile(rb"\n(?i:traceparent):[ \t]*([^\r\n]*?)[ \t]*\r(?=\n)")
_VALID_PARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[ -~]*)?"
)
_STATE = re.compile(rb"\n(?i:tracestate):[^\n]*(?=\n)")


def named(fields: bytes, *, trusted: bool, fresh: Fresh) -> bytes:
    """Return a request's fields with an id and a trace that can be relied on.

    :param trusted: a trusted proxy sent it; its id is kept.
    """
    lines = b"\n" + fields
    ids = _ID.findall(lines)
    if not (trusted and len(ids) == 1 and _SANE_ID.fullmatch(ids[0])):
        lines = _ID.sub(b"", lines) + b"X-Request-Id: %b\r\n" % fresh(16).encode("ascii")
    parents = _PARENT.findall(lines)
    if len(parents) != 1 or not _valid(parents[0]):
        lines = _STATE.sub(b"", _PARENT.sub(b"", lines))
        # "01": recorded. Tracers in apps by default follow their caller in whether they record.
        lines += b"traceparent: 00-%b-%b-01\r\n" % (_some(fresh, 16), _some(fresh, 8))
    return lines[1:]


def _valid(value: bytes) -> bool:
    """Tell whether it is a traceparent; only a later version than 00 may be longer."""
    return _VALID_PARENT.fullmatch(value) is not None and (value[:2] != b"00" or len(value) == 55)


def _some(fresh: Fresh, count: int) -> bytes:
    """Return random bytes that are not all zero."""
    text = fresh(count)
    return (text if text.strip("0") else text[:-1] + "1").encode("ascii")
