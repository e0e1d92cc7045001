"""HTTP/2 messages as HTTP/1.1 ones, and back (RFC 9113 8.2 and 8.3, RFC 8441).

What a request says is put into the form that :func:`parse_request` reads, so that both
versions obey the same rules.  Before that, all is refused that would mean something
else in the other form: line ends in values, colons in names, fields of a connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ood.proxy.core.grammar import MalformedError
from ood.proxy.core.request import Request, parse_request

Field = tuple[bytes, bytes]

_NAMES = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9a-z]+\n)*")
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_PADDED = re.compile(rb"(?:\A|\x00)[ \t]|[ \t](?:\x00|\Z)")
_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
_OF_A_CONNECTION = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_TARGET = re.compile(rb"[!-~]+")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class StreamError(Exception):
    """A request that HTTP/2 does not allow: its stream is reset with PROTOCOL_ERROR."""


def read_request(
    fields: Sequence[Field], *, ended: bool, key: Callable[[], bytes] = bytes
) -> Request:
    """Return the request that a stream's head is.

    :param ended: it has no body.
    :param key: makes a Sec-WebSocket-Key for a request that opens a WebSocket (RFC 8441).
    :raises StreamError: HTTP/2 does not allow it.
    :raises MalformedError: it is to be answered with an error.
    """
    pseudo, regular = _divided(fields)
    _check(pseudo, regular)
    host = _host(pseudo, regular)
    if pseudo[b":method"] == b"CONNECT":
        if pseudo.get(b":protocol") != b"websocket":
            raise MalformedError(405, "this is not a proxy that makes tunnels (CONNECT)")
        method, extra = b"GET", _opening(regular, key())
    else:
        method, extra = pseudo[b":method"], _framing(regular, ended=ended)
    head = b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n" % (
        method,
        pseudo[b":path"],
        host,
        b"".join([b"%b: %b\r\n" % field for field in regular]),
        extra,
    )
    request = parse_request(head)
    if request is None:  # not possible: the head has its end
        raise StreamError("the head has no end")
    return request


def _divided(fields: Sequence[Field]) -> tuple[dict[bytes, bytes], list[Field]]:
    """Return pseudo-fields by name, and the others, the crumbs of the cookie as one field."""
    pseudo: dict[bytes, bytes] = {}
    regular: list[Field] = []
    crumbs: list[bytes] = []
    for name, value in fields:
        if name[:1] == b":":
            if regular or crumbs or name in pseudo or name not in _PSEUDO:
                raise StreamError("a pseudo-field is unknown, repeated or not at the start")
            pseudo[name] = value
        elif name == b"cookie":
            crumbs.append(value)
        elif name == b"te":
            if value.lower() != b"trailers":
                raise StreamError("TE may only be trailers")
        else:
            regular.append((name, value))
    if crumbs:
        regular.append((b"cookie", b"; ".join(crumbs)))
    return pseudo, regular


def _check(pseudo: dict[bytes, bytes], regular: list[Field]) -> None:
    names = [name for name, _ in regular]
    if not _NAMES.fullmatch(b"".join([name + b"\n" for name in names])):
        raise StreamError("a field's name is not allowed")
    if not _OF_A_CONNECTION.isdisjoint(names):
        raise StreamError("a field belongs to a connection of HTTP/1.1")
    values = b"\x00".join([value for _, value in regular])
    if values.count(b"\x00") >= max(len(regular), 1) or _PADDED.search(values):
        raise StreamError("a field's value holds NUL, or begins or ends with a space")
    if _FORBIDDEN.search(values.replace(b"\x00", b"")):
        raise StreamError("a field's value holds a control character")
    wanted = {b":method", b":scheme", b":path"}
    if not wanted <= pseudo.keys() or pseudo[b":scheme"] not in (b"http", b"https"):
        raise StreamError("method, scheme or path is missing or wrong")
    path = pseudo[b":path"]
    if not _TARGET.fullmatch(path) or not (path[:1] == b"/" or path == b"*"):
        raise StreamError("the path is none")
    if not _METHOD.fullmatch(pseudo[b":method"]):
        raise StreamError("the method is not a word")
    if b":protocol" in pseudo and pseudo[b":method"] != b"CONNECT":
        raise StreamError(":protocol is for CONNECT")


def _host(pseudo: dict[bytes, bytes], regular: list[Field]) -> bytes:
    """Return the one Host, and take it out of ``regular``."""
    hosts = [value for name, value in regular if name == b"host"]
    authority = pseudo.get(b":authority")
    if authority is None:
        if len(hosts) != 1:
            raise StreamError("there is no authority, or more than one Host")
        authority = hosts[0]
    elif any(host.lower() != authority.lower() for host in hosts):
        raise StreamError("Host is not the authority")
    if _FORBIDDEN.search(authority) or b" " in authority:
        raise StreamError("the authority is not a host name")
    regular[:] = [field for field in regular if field[0] != b"host"]
    return authority


def _framing(regular: list[Field], *, ended: bool) -> bytes:
    """Return the field that a body of unknown length needs in HTTP/1.1."""
    lengths = [value for name, value in regular if name == b"content-length"]
    if ended:
        if any(length.strip(b"0") for length in lengths):
            raise StreamError("a body is announced, and there is none")
        return b""
    return b"" if lengths else b"transfer-encoding: chunked\r\n"


def _opening(regular: list[Field], key: bytes) -> bytes:
    """Return the fields that open a WebSocket in HTTP/1.1, where HTTP/2 has none."""
    regular[:] = [
        field for field in regular if field[0] not in (b"sec-websocket-key", b"content-length")
    ]
    return b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: %b\r\n" % key


def field_list(status: int, lines: bytes) -> list[Field]:
    """Return a response's head for HTTP/2.

    :param lines: its fields, those of its connection removed, each with its line end.
    """
    fields: list[Field] = [(b":status", b"%d" % status)]
    for line in lines.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            fields.append((name.lower(), value.strip(b" \t")))
    return fields


def trailer_list(lines: bytes) -> list[Field]:
    """Return trailers for HTTP/2."""
    return field_list(0, lines)[1:]


def trailer_lines(fields: Sequence[Field]) -> bytes:
    """Return a request's trailers for HTTP/1.1.

    :raises StreamError: HTTP/2 does not allow them.
    """
    names = b"".join([name + b"\n" for name, _ in fields])
    if not _NAMES.fullmatch(names) or any(_FORBIDDEN.search(value) for _, value in fields):
        raise StreamError("the trailers hold what is not allowed")
    return b"".join([b"%b: %b\r\n" % field for field in fields])
