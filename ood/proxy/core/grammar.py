"""What HTTP/1.1 allows in a head, shared by both directions.

The patterns take linear time: within a field no two neighbouring parts accept
the same byte, so there is nothing to try twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set

HEAD_BYTES_MAX = 16_384
"""Longest head of a request, as Node's own limit: what is longer would be refused there."""
FIELDS_MAX = 100
"""Most fields of a head: browsers send 20, and each costs every parser behind us time."""

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
"""A character of a name or method (RFC 9110 5.6.2)."""
TEXT = rb"[^\x00-\x08\x0a-\x1f\x7f]"
"""A character of a value: anything but controls; a tab is allowed."""
FIELDS = rb"((?:" + TOKEN + rb"+:" + TEXT + rb"*\r\n)*)"
"""The fields of a head, each with its line end, as one group."""

_FIELD_LINES = re.compile(FIELDS)
_UNSPACED = re.compile(TOKEN + rb"+")


class MalformedError(Exception):
    """The peer sent what HTTP does not allow, or more than we accept.

    :ivar status: the status to answer a client with.
    :ivar why: what was wrong, for the one who sent it.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"{status}: {why}")
        self.status = status
        self.why = why


def collect(pairs: Iterable[tuple[bytes, bytes]], single: Set[bytes]) -> dict[bytes, bytes]:
    """Return fields by lower-case name; repeated ones are joined by commas.

    :param single: names that may occur only once.
    :raises MalformedError: one of those occurs twice.
    """
    found: dict[bytes, bytes] = {}
    for name, text in pairs:
        key = name.lower()
        value = text.strip(b" \t")
        if key in found:
            if key in single:
                raise MalformedError(400, f"the field {key.decode()} occurs more than once")
            value = found[key] + b"," + value
        found[key] = value
    return found


def tokens(value: bytes) -> list[bytes]:
    """Return the members of a comma-separated list in lower case."""
    return [part for part in (one.strip(b" \t") for one in value.lower().split(b",")) if part]


def explain_fields(lines: bytes) -> str:
    """Say why ``lines`` (each with its CRLF) are no valid fields; empty if they are."""
    for line in lines.split(b"\r\n")[:-1]:
        problem = _explain_line(line)
        if problem:
            return problem
    return ""


def _explain_line(line: bytes) -> str:
    if line[:1] in (b" ", b"\t"):
        return "a field is folded over two lines"
    name, colon, _ = line.partition(b":")
    if b"\n" in line or b"\r" in line:
        return "a line ends in a bare CR or LF"
    if not colon:
        return "a line of the head has no colon"
    if not _UNSPACED.fullmatch(name):
        return "a field's name holds a space or another forbidden character"
    if _FIELD_LINES.fullmatch(line + b"\r\n") is None:
        return "a field's value holds a control character"
    return ""
