"""A finished request, and how it stands in an access log.

What a client sends is written into a file that people and programs read, so
everything but printable ASCII is escaped: no request can begin a new line, end a
quoted field, or reach a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from functools import lru_cache

import msgspec

OFF = "off"
"""What the key ``accessLog`` says where there is none; else it names one of :data:`WRITERS`."""

_UNSAFE = re.compile(r"[^ !#-\[\]-~]")
_MOMENT = re.compile(rb"\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\]")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request whose answer has ended.

    :ivar time: seconds since the epoch, at the end.
    :ivar client: the client's address.
    :ivar user: who gave ood a password, if anybody.
    :ivar version: ``1.1``, ``1.0`` or ``2``.
    :ivar status: 499 if the client went before an answer had begun.
    :ivar size: bytes of the answer's body.
    :ivar seconds: from the request's head to the answer's last byte.
    :ivar via: ``handoff`` (a worker answered by itself), ``pipe`` or ``tcp`` (forwarded so),
        ``static`` (a file), ``page`` (ood's own).
    :ivar worker: the number of the worker that answered; None if none did.
    :ivar request_id: what ``X-Request-Id`` said, if anything.
    """

    time: float
    client: str
    method: str
    target: str
    version: str
    status: int
    size: int
    seconds: float
    referer: str
    agent: str
    host: str
    app: str
    via: str
    worker: int | None = None
    request_id: str = ""
    user: str = ""


def escape(text: str) -> str:
    """Return ``text`` without anything that is not a printable character of ASCII, or a quote.

    As nginx does: ``\\xHH`` for a byte.
    """
    return _UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{{{code:X}}}"


@lru_cache(maxsize=16)
def moment(time: int) -> str:
    """Return ``time`` as the common log format has it, in UTC; most lines share theirs."""
    when = datetime.fromtimestamp(time, timezone.utc)
    return f"{when.day:02d}/{_MONTHS[when.month - 1]}/{when.year}:{when:%H:%M:%S} +0000"


def common(record: Record) -> bytes:
    """Return the line of the common log format."""
    return _common(record).encode("ascii") + b"\n"


def _common(record: Record) -> str:
    line = f"{record.method} {record.target} HTTP/{record.version}"
    client, user = (
        escape(text).replace(" ", r"\x20") or "-" for text in (record.client, record.user)
    )
    return (
        f"{client} - {user} [{moment(int(record.time))}] "
        f'"{escape(line)}" {record.status} {record.size or "-"}'
    )


def combined(record: Record) -> bytes:
    """Return the line of the combined log format, which most programs read."""
    referer, agent = escape(record.referer) or "-", escape(record.agent) or "-"
    return f'{_common(record)} "{referer}" "{agent}"\n'.encode("ascii")


def as_json(record: Record) -> bytes:
    """Return the line of the JSON format, which has everything."""
    second = int(record.time)
    fields = {
        "time": f"{_second(second)}.{int((record.time - second) * 1000):03d}Z",
        "client": record.client,
        "user": record.user,
        "method": record.method,
        "target": record.target,
        "protocol": f"HTTP/{record.version}",
        "status": record.status,
        "bytes": record.size,
        "ms": round(record.seconds * 1000, 3),
        "referer": record.referer,
        "userAgent": record.agent,
        "host": record.host,
        "app": record.app,
        "via": record.via,
        "worker": record.worker,
        "requestId": record.request_id,
    }
    return _ascii(msgspec.json.encode(fields)) + b"\n"


@lru_cache(maxsize=16)
def _second(time: int) -> str:
    return f"{datetime.fromtimestamp(time, timezone.utc):%Y-%m-%dT%H:%M:%S}"


def _ascii(encoded: bytes) -> bytes:
    """Write what is beyond ASCII, and DEL, as JSON's escapes."""
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    return _BEYOND.sub(_json_escape, encoded.decode()).encode("ascii")


_BEYOND = re.compile(r"[^\x00-\x7e]")


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


WRITERS: dict[str, Callable[[Record], bytes]] = {
    "common": common,
    "combined": combined,
    "json": as_json,
}
"""For each format what makes a line of a record."""


def time_of(line: bytes) -> str:
    """Return the time in a line of any format as RFC 3339; empty if there is none."""
    if line.startswith(b"{"):
        try:
            return str(msgspec.json.decode(line)["time"])
        except (msgspec.DecodeError, KeyError, UnicodeDecodeError):
            return ""
    match = _MOMENT.search(line)
    if match is None:
        return ""
    text = match[1].decode("ascii")
    day, month, rest = text.split("/")
    number = _MONTHS.index(month) + 1 if month in _MONTHS else 0
    year, clock = rest.split(":", 1)
    return f"{year}-{number:02d}-{day}T{clock[:8]}.000Z" if number else ""
