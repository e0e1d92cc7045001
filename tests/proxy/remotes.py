"""Servers that the tests run themselves, and a proxy before them."""

from __future__ import annotations

import random
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock

from ood.model.document import App, Document
from ood.model.upstreams import UPSTREAMS
from ood.net.listen import bind
from ood.proxy.edge import ReverseProxy
from ood.proxy.remotes import Remotes
from tests.proxy.support import LOOPBACK, ProxyTestCase, Server, Wire
from tests.support.ports import free_port

HOST = b"Host: site.localhost\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Backend(Server):
    """A server that remembers its connections.

    :ivar every: all of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.every: list[Wire] = []

    def buildProtocol(self, addr: IAddress | None) -> Wire:
        wire = super().buildProtocol(addr)
        self.every.append(wire)
        return wire


class RemoteTestCase(ProxyTestCase):
    """A proxy for an app of type proxy; checks are off unless a test wants them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.remarks: list[str] = []
        self.lost: list[str] = []
        self.remotes = Remotes(
            reactor,
            self.clock,
            lambda app, text: self.remarks.append(text),
            random.Random(7),
            lost=lambda app, text: self.lost.append(f"{app}: {text}"),
        )
        http = bind(LOOPBACK, 0, what="test")
        self.port = http.getsockname()[1]
        self.proxy = ReverseProxy(reactor, self.clock, self.remotes, [http])
        self.proxy.startService()
        self.remotes.startService()
        self.addCleanup(self.stop)
        self.addCleanup(self.remotes.stopService)
        self.own_port = free_port()

    def upstreams(self, *written: str, **keys: Any) -> None:
        keys = {"health_interval": 0, "running": True, **keys}
        parsed = UPSTREAMS.parse(list(written))
        app = App(type="proxy", port=self.own_port, upstreams=parsed, **keys)
        document = Document(apps={"site": app})
        self.remotes.converge(document)
        self.proxy.converge(document)

    def server(self) -> tuple[Backend, str]:
        """Return a new server and its address."""
        server = Backend()
        port = reactor.listenTCP(0, server, interface=LOOPBACK)
        self.addCleanup(port.stopListening)
        return server, f"{LOOPBACK}:{port.getHost().port}"

    def nobody(self) -> str:
        """Return an address where nobody listens."""
        sock = socket.socket()
        sock.bind((LOOPBACK, 0))
        self.addCleanup(sock.close)
        return f"{LOOPBACK}:{sock.getsockname()[1]}"

    async def answered(self, server: Backend, client: Wire) -> bytes:
        """Answer the server's next request, on whatever connection; return its head."""
        await self.eventually(lambda: any(b"\r\n\r\n" in one.data for one in server.every))
        wire = next(one for one in server.every if b"\r\n\r\n" in one.data)
        head = await wire.until(b"\r\n\r\n")
        wire.data.clear()
        wire.send(OK)
        await client.until(b"ok")
        return head

    def states(self) -> dict[str, str]:
        return {one.address: one.state for one in self.remotes.status("site").upstreams}
