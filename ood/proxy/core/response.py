"""The head of an upstream's response, read strictly."""

from __future__ import annotations

import re

import msgspec

from ood.proxy.core.framing import Body, ChunkedBody, CloseBody, LengthBody
from ood.proxy.core.grammar import FIELDS, TEXT, MalformedError, collect, explain_fields, tokens
from ood.proxy.core.request import CHUNKED

RESPONSE_HEAD_BYTES_MAX = 65_536
"""Longest head of a response: cookies and policies make them longer than requests' heads."""
RESPONSE_FIELDS_MAX = 500
"""Most fields of a response's head; an app sets them itself, so this only catches a runaway."""
UNTIL_CLOSE = -2
"""The length of a body that ends with its connection."""

_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (" + TEXT + rb"*))?\r\n" + FIELDS + rb"\r\n"
)
_SPECIAL = re.compile(
    rb"\n((?:[Cc](?i:on(?:nection|tent-(?:length|type)))|[Tt](?i:ransfer-encoding)"
    rb"|[Kk](?i:eep-alive)|[Uu](?i:pgrade))(?=:)):([^\r]*)"
)
_BEGIN = b"HTTP/1."
_SINGLE = frozenset((b"content-length", b"transfer-encoding"))
_LENGTH = re.compile(rb"[0-9]{1,18}")
_TIMEOUT = re.compile(rb"(?i:timeout)=([0-9]{1,6})")


class Response(msgspec.Struct, frozen=True):
    """The head of a valid response.

    :ivar fields: all fields as they were sent, each with its line end.
    :ivar length: bytes of the body, :data:`CHUNKED` or :data:`UNTIL_CLOSE`.
    :ivar keep_alive: the upstream takes another request after this one.
    :ivar idle_timeout: seconds after which the upstream closes an idle connection, if it says so.
    :ivar event_stream: the body goes on for as long as there are events.
    :ivar named: names in Connection beside close, keep-alive and upgrade.
    :ivar end: length of the head.
    """

    status: int
    reason: bytes
    fields: bytes
    length: int
    keep_alive: bool
    idle_timeout: int | None
    event_stream: bool
    upgrade: bytes
    named: tuple[bytes, ...]
    end: int


def parse_response(data: bytes, *, to_head: bool) -> Response | None:
    """Read the head at the start of ``data``; None if its end has not come yet.

    :param to_head: it answers a HEAD request, so there is no body.
    :raises MalformedError: this is no valid response.
    """
    end = data.find(b"\r\n\r\n") + 4
    if end == 3 or end > RESPONSE_HEAD_BYTES_MAX:
        if len(data) >= RESPONSE_HEAD_BYTES_MAX:
            raise MalformedError(502, "the response's head is too long")
        _check_incomplete(data)
        return None
    match = _HEAD.fullmatch(data, 0, end)
    if match is None:
        raise MalformedError(502, _explain(data[:end]))
    minor, status, reason, fields = match.groups()
    if fields.count(b"\n") > RESPONSE_FIELDS_MAX:
        raise MalformedError(502, "the response has too many fields")
    found = collect(_SPECIAL.findall(data, match.start(4) - 1, end), _SINGLE)
    modern = minor == b"1"
    return _response(
        found, int(status), reason or b"", fields, modern=modern, end=end, to_head=to_head
    )


def _response(
    found: dict[bytes, bytes],
    status: int,
    reason: bytes,
    fields: bytes,
    *,
    modern: bool,
    end: int,
    to_head: bool,
) -> Response:
    length = _length(found, modern)
    bodiless = status == 204 or status < 200
    dubious = bodiless and length not in (0, UNTIL_CLOSE)  # what was announced may yet come
    if to_head or bodiless or status == 304:
        length = 0
    connection = found.get(b"connection", b"").lower()
    keep_alive = modern
    named: tuple[bytes, ...] = ()
    if connection not in (b"", b"keep-alive"):
        options = tokens(connection)
        keep_alive = b"close" not in options and (modern or b"keep-alive" in options)
        named = tuple(one for one in options if one not in (b"close", b"keep-alive", b"upgrade"))
    timeout = _TIMEOUT.search(found[b"keep-alive"]) if b"keep-alive" in found else None
    return Response(
        status,
        reason,
        fields,
        length,
        keep_alive and length != UNTIL_CLOSE and not dubious,
        int(timeout[1]) if timeout else None,
        found.get(b"content-type", b"").lower().startswith(b"text/event-stream"),
        found.get(b"upgrade", b"").lower(),
        named,
        end,
    )


def _length(found: dict[bytes, bytes], modern: bool) -> int:
    length = found.get(b"content-length")
    encoding = found.get(b"transfer-encoding")
    if encoding is not None:
        if length is not None:
            raise MalformedError(502, "both Content-Length and Transfer-Encoding are given")
        if not modern or encoding.lower() != b"chunked":
            raise MalformedError(502, "Transfer-Encoding is not exactly chunked, in HTTP/1.1")
        return CHUNKED
    if length is None:
        return UNTIL_CLOSE
    if not _LENGTH.fullmatch(length):
        raise MalformedError(502, "Content-Length is not a plain number")
    return int(length)


def _check_incomplete(data: bytes) -> None:
    """Refuse at once what can't become a head: its end would be waited for in vain."""
    if data[:7] != _BEGIN[: len(data)]:
        raise MalformedError(502, "the status line is not HTTP/1.1 STATUS REASON")
    if data.count(b"\n") != data.count(b"\r\n"):
        raise MalformedError(502, "a line of the response's head ends in a bare LF")


def _explain(head: bytes) -> str:
    line, _, fields = head[:-2].partition(b"\r\n")
    if not re.fullmatch(rb"HTTP/1\.[01] [1-5][0-9][0-9](?: .*)?", line):
        return "the status line is not HTTP/1.1 STATUS REASON"
    return explain_fields(fields) or "the status line holds a control character"


def body_of(response: Response) -> Body:
    """Return what reads the response's body."""
    if response.length >= 0:
        return LengthBody(response.length)
    return CloseBody() if response.length == UNTIL_CLOSE else ChunkedBody()
