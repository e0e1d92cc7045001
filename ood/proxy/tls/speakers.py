"""Who takes a TLS connection for which protocol: the one place to add another one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Protocol, cast

import msgspec

from ood.net.listen import RawSocket
from ood.net.stream import Stream
from ood.proxy.client import Client
from ood.proxy.context import Context, Incoming
from ood.proxy.tls.contexts import HTTP1
from ood.proxy.tls.socket import TlsSocket


class Speaker(Protocol):
    """Makes what serves a connection."""

    def __call__(self, context: Context, sock: TlsSocket, incoming: Incoming) -> Stream:
        """Return a stream on ``sock``, whose first bytes are given to its ``received``.

        :param incoming: where it came from; its own socket is the one below ``sock``.
        """


def as_raw(sock: TlsSocket) -> RawSocket:
    """Return ``sock`` for who wants a socket and uses of it only what a TLS one has, too."""
    return cast(RawSocket, sock)


def _http1(context: Context, sock: TlsSocket, incoming: Incoming) -> Stream:
    return Client(context, msgspec.structs.replace(incoming, sock=as_raw(sock)))


def _http2(context: Context, sock: TlsSocket, incoming: Incoming) -> Stream:
    from ood.proxy.http2.connection import Http2Connection  # noqa: PLC0415 - few MB until needed
    from ood.proxy.http2.fast import FastSession  # noqa: PLC0415

    incoming = msgspec.structs.replace(incoming, sock=as_raw(sock))
    connection = Http2Connection(context, incoming, FastSession())
    connection.start()
    return connection


SPEAKERS: Mapping[bytes, Speaker] = {
    **({b"h2": _http2} if find_spec("ngh2") else {}),
    HTTP1: _http1,
}
"""By the name that ALPN has for it, the preferred one first; without ngh2 there is no HTTP/2."""
