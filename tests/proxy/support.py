"""A proxy on the real reactor between raw clients and raw backends.

Time is a Clock's: deadlines come when a test says so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from twisted.internet import reactor, tcp
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from ood.model.document import App, Document
from ood.net.listen import bind
from ood.proxy.edge import ReverseProxy
from ood.testing.workerpool import FakeWorkerPool
from tests.support.ports import free_port

LOOPBACK = "127.0.0.1"


class Wire(Protocol):
    """One end of a connection that a test speaks byte by byte.

    :ivar data: what came and was not taken yet.
    :ivar over: the connection's end: None while it stands.
    :ivar reset: it ended with an error.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.over = False
        self.reset = False
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def connectionMade(self) -> None:
        if isinstance(self.transport, tcp.Connection):
            self.transport.setTcpNoDelay(True)  # each write arrives at once

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._check()

    def connectionLost(self, reason: Failure) -> None:
        self.over = True
        self.reset = reason.check(ConnectionLost) is not None
        self._check()

    def _check(self) -> None:
        for entry in list(self._waiting):
            ready, deferred = entry
            if entry in self._waiting and ready():
                self._waiting.remove(entry)
                deferred.callback(None)

    async def _until(self, ready: Callable[[], bool]) -> None:
        if not ready():
            deferred: Deferred[None] = Deferred()
            self._waiting.append((ready, deferred))
            await deferred

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def close(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def abort(self) -> None:
        self.transport.abortConnection()  # type: ignore[union-attr]

    async def until(self, end: bytes) -> bytes:
        """Wait for ``end``; take and return everything up to and with it."""
        await self._until(lambda: end in self.data or self.over)
        at = self.data.find(end)
        if at < 0:
            raise AssertionError(f"the connection ended before {end!r}: {self.data!r}")
        at += len(end)
        return self._cut(at)

    async def take(self, size: int) -> bytes:
        """Wait for ``size`` bytes and take them."""
        await self._until(lambda: len(self.data) >= size or self.over)
        if len(self.data) < size:
            raise AssertionError(f"the connection ended too early: {self.data!r}")
        return self._cut(size)

    def _cut(self, size: int) -> bytes:
        found = bytes(self.data[:size])
        del self.data[:size]
        return found

    async def end(self) -> bytes:
        """Wait for the connection's end; return what was left."""
        await self._until(lambda: self.over)
        return bytes(self.data)


class Server(Factory):
    """A server whose connections a test takes one by one."""

    protocol = Wire
    noisy = False

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self._waiting: list[Deferred[Wire]] = []
        self.count = 0

    def buildProtocol(self, addr: IAddress | None) -> Wire:
        wire = Wire()
        self.count += 1
        if self._waiting:
            self._waiting.pop(0).callback(wire)
        else:
            self.wires.append(wire)
        return wire

    async def next(self) -> Wire:
        """Wait for the next connection."""
        if self.wires:
            return self.wires.pop(0)
        deferred: Deferred[Wire] = Deferred()
        self._waiting.append(deferred)
        return await deferred


class ProxyTestCase(TestCase):
    """A running proxy for one app, ``site``, and a backend for it.

    :cvar pipe: the backend is a unix socket, as a pipe into a worker is.
    """

    timeout = 60
    pipe = True

    def setUp(self) -> None:
        self.clock = Clock()
        self.pool = FakeWorkerPool()
        self.backend = self.make_backend()
        self.app = self.pool.add("site", self.listen(self.backend))
        self.trouble: list[str] = []
        self.proxy = self.make_proxy()
        self.converge("site")
        self.proxy.startService()
        self.addCleanup(self.stop)

    def make_backend(self) -> Server:
        """Return what answers for the app."""
        return Server()

    def make_proxy(self) -> ReverseProxy:
        """Return the proxy, which listens on ``port``."""
        http = bind(LOOPBACK, 0, what="test")
        self.port = http.getsockname()[1]
        return ReverseProxy(
            reactor,
            self.clock,
            self.pool,
            [http],
            lambda app, error: self.trouble.append(f"{app}: {error}"),
        )

    def converge(self, *names: str, **ports: int) -> None:
        ports = {**{name: free_port() for name in names if name not in ports}, **ports}
        self.ports = ports
        apps = {name: App(cwd="/", port=port) for name, port in ports.items()}
        self.proxy.converge(Document(apps=apps))

    def listen(self, backend: Server) -> tuple[str, int] | str:
        if self.pipe:
            path = str(Path(tempfile.mkdtemp()) / "s")
            port: IListeningPort = reactor.listenUNIX(path, backend)
            self.addCleanup(port.stopListening)
            return path
        port = reactor.listenTCP(0, backend, interface=LOOPBACK)
        self.addCleanup(port.stopListening)
        return (LOOPBACK, port.getHost().port)

    async def stop(self) -> None:
        """Stop the proxy, whose sockets must all be gone then."""
        if not self.proxy.running:
            return
        stopped = self.proxy.stopService()
        self.clock.advance(31)
        await stopped
        self.assertEqual(0, len(self.proxy._context.live))

    async def client(self, port: int | None = None) -> Wire:
        endpoint = TCP4ClientEndpoint(reactor, LOOPBACK, port or self.port)
        wire = await connectProtocol(endpoint, Wire())
        self.addCleanup(wire.abort)
        return wire

    async def settle(self) -> None:
        """Let the reactor deliver what is under way."""
        for _ in range(10):
            await deferLater(reactor, 0, lambda: None)

    async def eventually(self, true: Callable[[], bool]) -> None:
        """Let the reactor run until something is true, or the test's time is over."""
        while not true():
            await deferLater(reactor, 0.001, lambda: None)

    def advance(self, seconds: float) -> None:
        """Let time pass, tick by tick."""
        self.clock.pump([0.25] * int(seconds / 0.25))

    async def exchange(self, client: Wire, request: bytes, answer: bytes) -> tuple[Wire, bytes]:
        """Send a request and answer it; return the backend's connection and its head."""
        client.send(request)
        wire = await self.backend.next()
        head = await wire.until(b"\r\n\r\n")
        wire.send(answer)
        return wire, head
