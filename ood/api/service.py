"""The API as a service on a loopback socket."""

from __future__ import annotations

import socket
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLContextFactory,
    IReactorSocket,
    IReactorTime,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from ood.api.site import ApiSite

CONNECTIONS_MAX = 256
"""Most connections at once: far above a few terminals, pages and scrapers."""
LISTEN_BACKLOG = 64
"""Connections that may wait in the kernel."""
GOODBYE_SECONDS = 2.0
"""How long clients may take to read their last answers when the service stops."""


class _Connections(WrappingFactory):
    """Counts connections and tells when all are gone."""

    def __init__(self, site: ApiSite) -> None:
        untyped: Any = super()
        untyped.__init__(site)
        self._site = site
        self._aborted: set[ProtocolWrapper] = set()
        self._emptied: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper | None:  # type: ignore[override]
        """Return the protocol for a new connection, or None to refuse it."""
        if self._emptied is not None or not self._make_room():
            return None
        return super().buildProtocol(addr)

    def _make_room(self) -> bool:
        """If there are too many, cut off who has been silent longest; False if all work.

        Anybody on this machine can connect and say nothing, and must not lock others out.
        """
        if len(self.protocols) - len(self._aborted) < CONNECTIONS_MAX:
            return True
        for connection in self.protocols:  # a dict: the oldest comes first
            if connection not in self._aborted and connection not in self._site.working:
                self._aborted.add(connection)
                connection.abortConnection()
                return True
        return False

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        """Forget a connection that is gone."""
        untyped: Any = super()
        untyped.unregisterProtocol(p)
        self._aborted.discard(p)
        if self._emptied is not None and not self.protocols and not self._emptied.called:
            self._emptied.callback(None)

    def close(self) -> Deferred[None]:
        """Close every connection once what is written reached it; fire when all are gone."""
        self._emptied = Deferred()
        for connection in tuple(self.protocols):
            connection.loseConnection()
        if not self.protocols:
            self._emptied.callback(None)
        return self._emptied

    def abort(self) -> None:
        """Cut every connection that is left."""
        for connection in tuple(self.protocols):
            connection.abortConnection()


class ApiService(Service):
    """Serves the API on a socket from start to stop.

    :param site: the API, from :func:`~ood.api.site.make_site`.
    :param sock: a bound stream socket; it belongs to the service.
    :param reactor: accepts its connections.
    :param clock: measures how long the last answers may take.
    :param tls: how to speak TLS; plain HTTP, for loopback, if absent.
    """

    def __init__(
        self,
        site: ApiSite,
        sock: socket.socket,
        reactor: IReactorSocket,
        clock: IReactorTime,
        *,
        tls: IOpenSSLContextFactory | None = None,
    ) -> None:
        self._site = site
        self._sock = sock
        self._reactor = reactor
        self._clock = clock
        self._tls = tls
        self._connections = _Connections(site)
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        """Listen."""
        self.running = True
        self._sock.setblocking(False)
        self._sock.listen(LISTEN_BACKLOG)
        factory: Any = self._connections  # a WrappingFactory is typed as a client's
        if self._tls is not None:
            from twisted.protocols.tls import TLSMemoryBIOFactory  # noqa: PLC0415 - OpenSSL

            factory = TLSMemoryBIOFactory(self._tls, False, factory)
        self._port = self._reactor.adoptStreamPort(self._sock.fileno(), self._sock.family, factory)
        # The reactor works on a duplicate of its own.
        self._sock.close()

    def stopService(self) -> Deferred[None]:
        """Listen no more, end what is open; fire when every connection is gone."""
        self.running = False
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._port is not None:
            await _as_deferred(self._port.stopListening())
        self._site.api.stop()
        gone = self._connections.close()
        impatient = self._clock.callLater(GOODBYE_SECONDS, self._connections.abort)
        await gone
        if impatient.active():
            impatient.cancel()


def _as_deferred(result: object) -> Deferred[object]:
    """Return ``result``, which may be None, as something to wait for."""
    if isinstance(result, Deferred):
        return result
    done: Deferred[object] = Deferred()
    done.callback(None)
    return done
