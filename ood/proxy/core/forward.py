"""Heads on their way through: what is dropped, what is set.

Hop-by-hop fields go (first those that Connection names, then the known ones),
and everything by which a client could pretend to be a proxy: what trusted ones say
was read before (:mod:`ood.proxy.core.rules.forwarded`).  Each of them goes with ``_``
in place of ``-``, too, since an app may read ``X_Forwarded_For`` as
``X-Forwarded-For``; so does ``Content_Length``.  Other names with ``_`` are the app's
own affair.
"""

from __future__ import annotations

import re

import msgspec

from ood.proxy.core.request import CHUNKED, Request
from ood.proxy.core.response import Response

_REQUEST_DROPPED = re.compile(
    rb"\n(?:[Cc](?i:onnection|ontent_length)|[Kk](?i:eep[-_]alive)|[Pp](?i:roxy[-_]connection)"
    rb"|[Tt](?i:e|ransfer[-_]encoding)|[Uu](?i:pgrade)|[Hh](?i:ost|ttp2[-_]settings)"
    rb"|[Ff](?i:orwarded)|[Xx][-_](?i:forwarded[-_](?:for|proto|host|port|server)|real[-_]ip"
    rb"|ood[-_][^:\n]*)):[^\n]*(?=\n)"
)
_RESPONSE_DROPPED = re.compile(
    rb"\n(?:[Cc](?i:onnection)|[Kk](?i:eep-alive)|[Pp](?i:roxy-connection)"
    rb"|[Tt](?i:ransfer-encoding)|[Uu](?i:pgrade)|[Xx](?i:-ood-[^:\n]*)):[^\n]*(?=\n)"
)
_TRAILER_DROPPED = re.compile(
    rb"\n(?i:connection|keep[-_]alive|proxy[-_]connection|te|transfer[-_]encoding|upgrade|host"
    rb"|content[-_](?:length|encoding|type|range)|trailer|authorization|cookie|set[-_]cookie"
    rb"|forwarded|x[-_](?:forwarded[-_][^:\n]*|real[-_]ip|ood[-_][^:\n]*)):[^\n]*(?=\n)"
)
_LENGTH_FIELD = re.compile(rb"\n[Cc](?i:ontent-length):[^\n]*(?=\n)")
_PEER = re.compile(
    rb"\n[Xx](?i:-ood-peer):[ \t]*([0-9A-Fa-f.:]{2,45}) ([0-9]{1,5})( https)?[ \t]*\r\n"
)
_KEPT = frozenset((b"host", b"content-length", b"transfer-encoding", b"x-ood-peer"))


class Peer(msgspec.Struct, frozen=True):
    """Where a request came from.

    :ivar address: the client's address.
    :ivar port: the client's port.
    :ivar scheme: ``http`` or ``https``.
    :ivar local_port: the port on which the request came in.
    :ivar told: a trusted proxy said so.
    :ivar host: the host that the client asked that proxy for; empty if it did not say.
    """

    address: str
    port: int
    scheme: bytes
    local_port: int
    told: bool = False
    host: bytes = b""


def forwarded_fields(peer: Peer, host: bytes) -> bytes:
    """Return the fields that tell an app who its client is."""
    address = peer.address.encode("latin-1")
    node = b'"[%b]"' % address if b":" in address else address
    return (
        b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n"
        b'X-Forwarded-Port: %d\r\nForwarded: for=%b;proto=%b;host="%b"\r\n'
    ) % (address, peer.scheme, host, peer.local_port, node, peer.scheme, host)


def request_fields(request: Request) -> bytes:
    """Return a request's fields that go through as they are."""
    return _without(_REQUEST_DROPPED, request.fields, request.named)


def request_head(request: Request, peer: Peer, *, pipe: bool, fields: bytes | None = None) -> bytes:
    """Return the head for the upstream.

    :param pipe: the upstream is a pipe into a worker, whose guard gives the connection
        the client's address: there the app sees what it sees on a connection that was
        handed to it, so no field has to tell, unless a proxy in front of ood told more.
    :param fields: what :func:`request_fields` returns, where that is known already.
    """
    host = request.host or b""
    if fields is None:
        fields = request_fields(request)
    more = b"" if pipe and not peer.told else forwarded_fields(peer, peer.host or host)
    if request.length == CHUNKED:
        more += b"Transfer-Encoding: chunked\r\n"
    if request.upgrade == b"websocket":
        more += b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    if pipe:
        secure = b" https" if peer.scheme == b"https" else b""
        more += b"X-Ood-Peer: %b %d%b\r\n" % (peer.address.encode("latin-1"), peer.port, secure)
    line = request.method, request.target, host
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n" % (*line, fields, more)


def response_head(
    response: Response, *, chunked: bool, close: bool, fields: bytes | None = None
) -> bytes:
    """Return the head of a final response for the client.

    :param chunked: its body is sent in chunks.
    :param close: the connection ends after it.
    :param fields: what :func:`response_fields` returns, where that is known already.
    """
    return b"HTTP/1.1 %d %b\r\n%b%b%b\r\n" % (
        response.status,
        response.reason,
        response_fields(response) if fields is None else fields,
        b"Transfer-Encoding: chunked\r\n" if chunked else b"",
        b"Connection: close\r\n" if close else b"",
    )


def response_fields(response: Response) -> bytes:
    """Return a response's fields without those that concern its connection only."""
    fields = _without(_RESPONSE_DROPPED, response.fields, response.named)
    return _drop(_LENGTH_FIELD, fields) if response.status == 204 else fields


def interim_head(response: Response) -> bytes:
    """Return a 1xx response for the client; 101 keeps what it switches to."""
    fields = response_fields(response)
    switch = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" if response.status == 101 else b""
    return b"HTTP/1.1 %d %b\r\n%b%b\r\n" % (response.status, response.reason, fields, switch)


def trailer_fields(trailers: bytes) -> bytes:
    """Return those of a chunked body's trailers that may be passed on."""
    return _drop(_TRAILER_DROPPED, trailers) if trailers else trailers


def told_peer(request: Request, local_port: int) -> Peer | None:
    """Return where a request came from as a worker's guard tells it."""
    match = _PEER.search(b"\n" + request.fields)
    if match is None:
        return None
    scheme = b"http" if match[3] is None else b"https"
    return Peer(match[1].decode("ascii"), int(match[2]), scheme, local_port)


def _without(dropped: re.Pattern[bytes], fields: bytes, named: tuple[bytes, ...]) -> bytes:
    unwanted = frozenset(named) - _KEPT
    if unwanted:  # one pass, however many names there are: a client chooses them
        lines = fields.splitlines(keepends=True)
        fields = b"".join(one for one in lines if one.partition(b":")[0].lower() not in unwanted)
    return _drop(dropped, fields)


def _drop(pattern: re.Pattern[bytes], fields: bytes) -> bytes:
    """Remove the lines that match; each begins after a line feed, so one is put before."""
    return pattern.sub(b"", b"\n" + fields)[1:]
