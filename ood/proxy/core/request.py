"""The head of a request, read strictly and in as few steps as possible.

One pattern checks the whole head, a second picks out the few fields that
matter to a proxy; the others stay one block of bytes.  The same function serves
the peek (:mod:`ood.proxy.core.head`) and the proxied path, so that both read a
message the same way.
"""

from __future__ import annotations

import re

import msgspec

from ood.proxy.core.grammar import (
    FIELDS,
    FIELDS_MAX,
    HEAD_BYTES_MAX,
    TOKEN,
    MalformedError,
    collect,
    explain_fields,
    tokens,
)

HOST_BYTES_MAX = 255
"""Longest host name in DNS."""
CHUNKED = -1
"""The length of a body that comes in chunks."""

_METHOD = rb"(" + TOKEN + rb"{1,32})"
_PLAIN = re.compile(_METHOD + rb" (/[!-~]*) HTTP/1\.([01])\r\n" + FIELDS + rb"\r\n")
_OTHER = re.compile(
    _METHOD
    + rb" (?:(\*)|(/[!-~\x80-\xff]*)"
    + rb"|[Hh][Tt][Tt][Pp][Ss]?://([^/?#@\x00-\x20\x7f-\xff]+)([/?][!-~]*)?|([!-~]+))"
    + rb" HTTP/1\.([01])\r\n"
    + FIELDS
    + rb"\r\n"
)
_SPECIAL = re.compile(
    rb"\n((?:[Hh](?i:ost)|[Cc](?i:on(?:nection|tent-length))|[Tt](?i:ransfer-encoding)"
    rb"|[Uu](?i:pgrade)|[Ee](?i:xpect))(?=:)|[Xx](?i:-ood-))[^:\r]*:([^\r]*)"
)
_SINGLE = frozenset((b"host", b"content-length", b"transfer-encoding"))
_KNOWN_METHODS = frozenset(
    b"DELETE GET HEAD POST PUT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK"
    b" BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE"
    b" UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK".split()
)
"""Methods that every Node knows; CONNECT is none of ours."""
_HOST = re.compile(rb"(?:[A-Za-z0-9._~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_REQUEST_LINE = re.compile(TOKEN + rb"+ [^ ]+ (HTTP/[0-9]\.[0-9])")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_EMPTY_LINES = re.compile(rb"(?:\r\n)*")
_CONTROLS = bytes(sorted({*range(0x20), 0x7F} - set(b"\t\r\n")))


class Request(msgspec.Struct, frozen=True):
    """The head of a valid request.

    :ivar target: in origin form (or ``*``).
    :ivar minor: the minor version.
    :ivar fields: all fields as they were sent, each with its line end.
    :ivar host: the Host that counts (the target's, if that is a whole address).
    :ivar keep_alive: the client may send another request after this one.
    :ivar length: bytes of the body; 0 without one, :data:`CHUNKED` if in chunks.
    :ivar upgrade: the protocol asked for, in lower case, or empty; HTTP/1.0 and requests with
        a body can't ask for one.
    :ivar named: names in Connection beside close, keep-alive and upgrade.
    :ivar plain: beyond doubt: any parser reads this head the same way.
    :ivar end: length of the head.
    """

    method: bytes
    target: bytes
    minor: int
    fields: bytes
    host: bytes | None
    keep_alive: bool
    length: int
    upgrade: bytes
    named: tuple[bytes, ...]
    plain: bool
    end: int


def parse_request(data: bytes) -> Request | None:
    """Read the head at the start of ``data``; None if its end has not come yet.

    :raises MalformedError: this is no valid request, or its head is too long.
    """
    end = data.find(b"\r\n\r\n") + 4
    if end == 3:
        _check_incomplete(data)
        return None
    if end > HEAD_BYTES_MAX:
        raise MalformedError(431, "the request's head is too long")
    match = _PLAIN.fullmatch(data, 0, end)
    if match is None:
        return _parse_other(data, end)
    method, target, minor, fields = match.groups()
    special = _SPECIAL.findall(data, match.start(4) - 1, end)
    return _request(method, target, fields, special, modern=minor == b"1", end=end)


def _request(
    method: bytes,
    target: bytes,
    fields: bytes,
    special: list[tuple[bytes, bytes]],
    *,
    modern: bool,
    end: int,
    authority: bytes | None = None,
) -> Request:
    if fields.count(b"\n") > FIELDS_MAX:
        raise MalformedError(431, f"the request has more than {FIELDS_MAX} fields")
    found = collect(special, _SINGLE)
    host = found.get(b"host")
    if host is None:
        if modern:
            raise MalformedError(400, "the request has no Host")
    elif len(host) > HOST_BYTES_MAX or not _HOST.fullmatch(host):
        raise MalformedError(400, "the request's Host is not a host name")
    keep_alive, upgrade = modern, b""
    named: tuple[bytes, ...] = ()
    connection = found.get(b"connection")
    if connection is not None and connection != b"keep-alive":
        keep_alive, upgrade, named = _read_connection(found, connection, modern)
    length = _length(found, modern) if len(found) > 1 else 0
    plain = (
        modern
        and (not upgrade or upgrade == b"websocket")
        and method in _KNOWN_METHODS
        and b"x-ood-" not in found
    )
    if upgrade and (length or not modern):
        upgrade = b""  # ignored: parsers differ about a body before another protocol
    host = host if authority is None else authority
    return Request(
        method, target, int(modern), fields, host, keep_alive, length, upgrade, named, plain, end
    )


def _read_connection(
    found: dict[bytes, bytes], connection: bytes, modern: bool
) -> tuple[bool, bytes, tuple[bytes, ...]]:
    """Return whether the connection stays, the protocol asked for, the names beside."""
    if connection == b"close":
        return False, b"", ()
    options = tokens(connection)
    upgrade = found.get(b"upgrade", b"").lower() if b"upgrade" in options else b""
    named = tuple(one for one in options if one not in (b"close", b"keep-alive", b"upgrade"))
    return modern and b"close" not in options, upgrade, named


def _length(found: dict[bytes, bytes], modern: bool) -> int:
    length = found.get(b"content-length")
    encoding = found.get(b"transfer-encoding")
    if encoding is not None:
        if length is not None:
            raise MalformedError(400, "both Content-Length and Transfer-Encoding are given")
        if not modern or encoding.lower() != b"chunked":
            raise MalformedError(400, "Transfer-Encoding is not exactly chunked, in HTTP/1.1")
        return CHUNKED
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise MalformedError(400, "Content-Length is not a plain number")
    return int(length)


def _parse_other(data: bytes, end: int) -> Request:
    """Read what is no request in origin form: another form, or nothing valid."""
    empty = _EMPTY_LINES.match(data)
    skipped = 0 if empty is None else empty.end()
    if skipped:  # RFC 9112 2.2: an empty line before the request is to be ignored
        request = parse_request(data[skipped:])
        if request is None:
            raise MalformedError(400, "the request begins with empty lines")
        return msgspec.structs.replace(request, end=request.end + skipped, plain=False)
    match = _OTHER.fullmatch(data, 0, end)
    if match is None:
        raise MalformedError(*_explain(data[:end]))
    method, star, raw, authority, path, other, minor, fields = match.groups()
    if other is not None or (star and method != b"OPTIONS"):
        if method == b"CONNECT":
            raise MalformedError(405, "this is not a proxy that makes tunnels (CONNECT)")
        raise MalformedError(400, "the request's target is neither a path nor an address")
    if authority is not None and (
        len(authority) > HOST_BYTES_MAX or not _HOST.fullmatch(authority)
    ):
        raise MalformedError(400, "the host in the request's target is not a host name")
    target = star or _escape(raw or b"") or _origin_form(method, path or b"")
    special = _SPECIAL.findall(data, match.start(8) - 1, end)
    modern = minor == b"1"
    request = _request(method, target, fields, special, modern=modern, end=end, authority=authority)
    return msgspec.structs.replace(request, plain=False)


def _escape(target: bytes) -> bytes:
    """Write bytes beyond ASCII as they should have been written: some clients forget to."""
    return _BEYOND_ASCII.sub(lambda match: b"%%%02X" % match[0][0], target)


def _origin_form(method: bytes, path: bytes) -> bytes:
    if path:
        return path if path[:1] == b"/" else b"/" + path
    return b"*" if method == b"OPTIONS" else b"/"


def _check_incomplete(data: bytes) -> None:
    """Refuse a head at once whose end can't come or comes too late.

    It is called for each packet of a head, of which a client can make thousands: no patterns.
    """
    if len(data) >= HEAD_BYTES_MAX:
        raise MalformedError(431, "the request's head is too long")
    if data.count(b"\n") != data.count(b"\r\n"):
        raise MalformedError(400, "a line ends in a bare LF")
    if len(data.translate(None, _CONTROLS)) != len(data):
        raise MalformedError(400, "the head holds a control character")


def _explain(head: bytes) -> tuple[int, str]:
    line, _, fields = head[:-2].partition(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        return 400, "the request line is not METHOD TARGET HTTP/1.1"
    if match[1] not in (b"HTTP/1.0", b"HTTP/1.1"):
        return 505, "only HTTP/1.0 and HTTP/1.1 are spoken here"
    return 400, explain_fields(fields) or "the request's target holds a forbidden character"
