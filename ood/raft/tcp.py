"""Frames over TCP, with mutual TLS.

An address is ``"host:port"``.  Plain text is spoken only where it was asked
for in so many words: whoever reaches the port of a member can write its log.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import (
    IHandshakeListener,
    IListeningPort,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from ood.raft.callbacks import Closing, with_callback
from ood.raft.calls import Calls, Frame
from ood.raft.errors import ConnectionClosedError, FrameError, RaftError
from ood.raft.framing import FrameReader, encode_frame
from ood.raft.interfaces import Callback, IConnection, IListener, IMessageConnection, OnInvoke
from ood.raft.tls import TlsOptions, names_of

# A peer that does not finish connecting in this time is given up.
CONNECT_SECONDS = 5.0

# A peer that acknowledges nothing for this long is gone.  Left to itself TCP
# tries ever more rarely, and finds a healed network minutes late.
SILENCE_SECONDS = 5

# What is sent counts by the first; a connection on which nothing is sent is
# asked after that time, and again twice.
SILENCE_OPTIONS = {
    socket.TCP_USER_TIMEOUT: SILENCE_SECONDS * 1000,
    socket.TCP_KEEPIDLE: SILENCE_SECONDS,
    socket.TCP_KEEPINTVL: SILENCE_SECONDS,
    socket.TCP_KEEPCNT: 2,
}

# What may wait for a peer that reads slowly; messages beyond it are dropped.
QUEUE_BYTES = 64 * 1024 * 1024


@implementer(IMessageConnection, IHandshakeListener, IPushProducer)
class TcpConnection(Protocol):
    """One connection.

    :param ready: called when it can be used, after the TLS handshake.
    """

    log = Logger()
    transport: Any  # a TCP or TLS transport; no one interface has all they share

    def __init__(self, ready: Callable[[TcpConnection], object], *, secure: bool) -> None:
        self.names: frozenset[str] | None = None
        self.reason = ConnectionClosedError("the connection is open")
        self._ready = ready
        self._secure = secure
        self._reader = FrameReader()
        self._calls = Calls(self._transmit)
        self._closing = Closing()
        self._paused = False
        self._direct = False
        self._queued_bytes = 0

    def connectionMade(self) -> None:
        """Set the connection up; without TLS it is ready."""
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        for option, value in SILENCE_OPTIONS.items():
            # TLS passes on what it does not know to the TCP transport below it.
            self.transport.socket.setsockopt(socket.IPPROTO_TCP, option, value)
        # A pull producer is asked for more whenever nothing waits any more:
        # that tells when the socket may be written to past the reactor.
        self._direct = isinstance(self.transport, Connection)
        self.transport.registerProducer(self, not self._direct)
        if not self._secure:
            self._ready(self)

    def handshakeCompleted(self) -> None:
        """The peer's certificate was accepted."""
        self.names = names_of(self.transport.getPeerCertificate())
        self._ready(self)

    def dataReceived(self, data: bytes) -> None:
        """Take frames; anything else ends the connection."""
        try:
            for frame in self._reader.feed(data):
                self._calls.receive(frame)
        except FrameError as error:
            self.log.error(
                "closing the connection to {peer}: {error}",
                peer=self.transport.getPeer(),
                error=error,
            )
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pending calls fail: nobody knows what became of them."""
        self.reason = ConnectionClosedError(f"connection lost: {reason.getErrorMessage()}")
        self._calls.close(reason.getErrorMessage())
        self._closing.fire()

    def _transmit(self, frame: Frame) -> bool:
        data = encode_frame(frame)
        if self._paused:
            if self._queued_bytes + len(data) > QUEUE_BYTES:
                return False
            self._queued_bytes += len(data)
        elif self._direct:
            data = self._write_now(data)
        if data:
            self.transport.write(data)
        return True

    def _write_now(self, data: bytes) -> bytes:
        """Write to the socket at once, without a round through the reactor.

        Return what is left: the reactor writes that, and finds what went wrong.
        """
        written = self.transport.writeSomeData(data)
        left = data[written:] if isinstance(written, int) else data
        self._paused = bool(left)
        return left

    def pauseProducing(self) -> None:
        """The peer reads slowly: count what waits."""
        self._paused = True

    def resumeProducing(self) -> None:
        """All that waited is sent."""
        self._paused = False
        self._queued_bytes = 0

    def stopProducing(self) -> None:
        """The connection is being lost."""

    def invoke(
        self, type: str, arguments: bytes, callback: Callback | None = None
    ) -> Deferred[bytes]:
        """Call the peer."""
        return with_callback(self._calls.invoke(type, arguments), callback)

    def send(self, type: str, arguments: bytes) -> bool:
        """Send a message that nobody answers."""
        return self._calls.send(type, arguments)

    def listen(self, callback: OnInvoke) -> None:
        """Take the peer's calls."""
        self._calls.listen(callback)

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call back when the connection is gone."""
        self._closing.add(callback)

    def close(self, callback: Callback | None = None) -> Deferred[None]:
        """Send what is queued, close, fire when it is closed."""
        closed: Deferred[None] = Deferred()
        self._closing.add(lambda: closed.callback(None))
        if not self._closing.done and self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.loseConnection()
        return with_callback(closed, callback)

    def abort(self) -> None:
        """Close without waiting for the peer."""
        if not self._closing.done and self.transport is not None:
            self.transport.abortConnection()


class _Factory(Factory):
    noisy = False

    def __init__(self, build: Callable[[], TcpConnection]) -> None:
        self._build = build

    def buildProtocol(self, addr: Any) -> Any:  # noqa: ARG002
        """Return a new connection."""
        return self._build()


def split_address(options: Any) -> tuple[str, int]:
    """Return host and port of ``"host:port"`` (``"[::1]:80"`` for IPv6)."""
    host, separator, port = str(options).rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise RaftError(f"{options!r} is no address", 'write "host:port"')
    return host.strip("[]"), int(port)


@implementer(IListener)
class TcpTransport:
    """Connections over TCP.

    :param reactor: does the I/O.
    :param tls: the member's certificate; without it ``plaintext`` has to be true.
    """

    def __init__(self, reactor: Any, tls: TlsOptions | None = None, *, plaintext: bool = False):
        if tls is None and not plaintext:
            raise RaftError(
                "no TLS options were given",
                "give TlsOptions(certificate, key, authority), "
                "or plaintext=True on a network where everybody is trusted",
            )
        self._reactor = reactor
        self._clock: IReactorTime = reactor
        self._tls = tls
        self._open: set[TcpConnection] = set()
        self._ports: list[IListeningPort] = []

    def connect(self, options: Any) -> Deferred[IConnection]:
        """Connect to ``"host:port"``; fires after the TLS handshake."""
        return Deferred.fromCoroutine(self._connect(options))

    async def _connect(self, options: Any) -> IConnection:
        host, port = split_address(options)
        endpoint: Any = HostnameEndpoint(self._reactor, host, port, timeout=CONNECT_SECONDS)
        if self._tls is not None:
            endpoint = wrapClientTLS(self._tls.client(host), endpoint)
        ready: Deferred[IConnection] = Deferred()
        factory = _Factory(lambda: self._build(ready.callback))
        connection: TcpConnection = await endpoint.connect(factory)
        connection.on_close(lambda: None if ready.called else ready.errback(connection.reason))
        return await ready

    def _build(self, ready: Callable[[TcpConnection], object]) -> TcpConnection:
        connection = TcpConnection(ready, secure=self._tls is not None)
        self._open.add(connection)
        timer = self._clock.callLater(CONNECT_SECONDS, connection.abort)
        ready_before = ready

        def now_ready(connection: TcpConnection) -> None:
            timer.cancel()
            ready_before(connection)

        connection._ready = now_ready

        def gone() -> None:
            self._open.discard(connection)
            if timer.active():
                timer.cancel()

        connection.on_close(gone)
        return connection

    def listen(self, options: Any, on_connection: Callable[[IConnection], object]) -> Deferred[str]:
        """Listen at ``"host:port"``; port 0 takes a free one."""
        return Deferred.fromCoroutine(self._listen(options, on_connection))

    async def _listen(self, options: Any, on_connection: Callable[[IConnection], object]) -> str:
        host, port = split_address(options)
        make: Any = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
        factory: Any = _Factory(lambda: self._build(on_connection))
        if self._tls is not None:
            factory = TLSMemoryBIOFactory(self._tls.server(), False, factory)
            factory.noisy = False
        listening = await make(self._reactor, port, interface=host).listen(factory)
        self._ports.append(listening)
        shown = f"[{host}]" if ":" in host else host
        return f"{shown}:{listening.getHost().port}"

    def stop(self) -> Deferred[None]:
        """Stop listening and drop every connection; fire when all are gone."""
        waiting: list[Deferred[Any]] = [maybeDeferred(port.stopListening) for port in self._ports]
        self._ports = []
        for connection in list(self._open):
            closed: Deferred[None] = Deferred()
            connection.on_close(lambda closed=closed: closed.callback(None))  # type: ignore[misc]
            connection.abort()
            waiting.append(closed)
        return gatherResults(waiting).addCallback(lambda _: None)
