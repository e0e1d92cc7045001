from __future__ import annotations

import random
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from ood.errors import UnavailableError, WorkerError
from ood.model.document import App, Document
from ood.model.upstreams import UPSTREAMS, parse_address
from ood.net.listen import bind
from ood.proxy import remoteapp
from ood.proxy.edge import ReverseProxy
from ood.proxy.names import Address, look_up
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
        self.remotes = Remotes(
            reactor, self.clock, lambda app, text: self.remarks.append(text), random.Random(7)
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


class RemoteTests(RemoteTestCase):
    async def test_a_request(self) -> None:
        """The request goes to the server, which is told who asks; the connection is kept."""
        server, address = self.server()
        self.upstreams(address)
        client = await self.client()
        client.send(GET)
        wire = await server.next()
        head = await wire.until(b"\r\n\r\n")
        self.assertIn(b"X-Forwarded-For: 127.0.0.1\r\n", head)
        self.assertNotIn(b"X-Ood", head)
        wire.send(OK)
        await client.until(b"ok")
        client.send(GET)
        await wire.until(b"\r\n\r\n")
        wire.send(OK)
        await client.until(b"ok")
        self.assertEqual(1, server.count)
        (status,) = self.remotes.status("site").upstreams
        self.assertEqual((2, 0, 0), (status.requests, status.failures, status.busy))

    async def test_a_unix_socket(self) -> None:
        """A server may listen on a unix socket."""
        server, path = Backend(), str(Path(tempfile.mkdtemp()) / "s")
        self.addCleanup(reactor.listenUNIX(path, server).stopListening)
        self.upstreams(f"unix:{path}")
        client = await self.client()
        client.send(GET)
        head = await self.answered(server, client)
        self.assertIn(b"X-Forwarded-For: 127.0.0.1\r\n", head)

    async def test_no_unix_socket(self) -> None:
        """One that refuses at once is passed over like any other."""
        server, address = self.server()
        self.upstreams("unix:/nonexistent/socket weight=1000", address)
        for _ in range(2):
            client = await self.client()
            client.send(POST)
            await self.answered(server, client)

    async def test_turns(self) -> None:
        """With roundRobin each server gets every second request, also on kept connections."""
        (one, first), (two, second) = self.server(), self.server()
        self.upstreams(first, second, balance="roundRobin")
        client = await self.client()
        client.send(GET)
        await self.answered(one, client)
        client.send(GET)
        await self.answered(two, client)
        client.send(GET * 2)
        await self.settle()
        self.assertEqual([1, 1], [one.count, two.count])
        self.assertEqual([2, 1], [u.requests + u.busy for u in self._statuses()])

    def _statuses(self) -> Any:
        return self.remotes.status("site").upstreams

    async def test_least_busy(self) -> None:
        """A server that is slow gets no more while the other one has nothing to do."""
        (one, first), (two, second) = self.server(), self.server()
        self.upstreams(first, second)
        slow = await self.client()
        slow.send(GET)
        await self.eventually(lambda: one.count + two.count == 1)
        idle = two if one.count else one
        for _ in range(3):
            client = await self.client()
            client.send(GET)
            await self.answered(idle, client)

    async def test_a_websocket(self) -> None:
        """A WebSocket is a tunnel to one server, which counts as busy meanwhile."""
        server, address = self.server()
        self.upstreams(address)
        client = await self.client()
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        client.send(b"GET /chat HTTP/1.1\r\n" + HOST + upgrade + b"early")
        wire = await server.next()
        await wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + b"hello")
        await client.until(b"\r\n\r\nhello")
        await wire.until(b"early")
        self.advance(1000)
        client.send(b"x")
        await wire.until(b"x")
        self.assertEqual(1, self.remotes.status("site").upstreams[0].busy)
        client.close()
        await wire.end()
        await self.eventually(lambda: not self.remotes.status("site").upstreams[0].busy)

    async def test_stopped(self) -> None:
        """A stopped app says so; a started one is asked again."""
        server, address = self.server()
        self.upstreams(address, running=False)
        self.assertEqual("stopped", self.remotes.status("site").state)
        client = await self.client()
        client.send(GET)
        self.assertIn(b"503 Service Unavailable", await client.until(b"ood start site\n"))
        self.upstreams(address)
        client.send(GET)
        await self.answered(server, client)

    async def test_a_server_that_is_taken_away(self) -> None:
        """After a change of the document only the present servers get requests."""
        (one, first), (two, second) = self.server(), self.server()
        self.upstreams(first)
        client = await self.client()
        client.send(GET)
        await self.answered(one, client)
        self.upstreams(second)
        client.send(GET)
        await self.answered(two, client)
        self.assertEqual({second: "online"}, self.states())


class StayingTests(RemoteTestCase):
    async def where(self, one: Backend, two: Backend, request: bytes) -> tuple[Backend, bytes]:
        """Return which server got a request, and the answer's head."""
        client = await self.client()
        client.send(request)
        every = one.every, two.every
        await self.eventually(lambda: any(wire.data for wires in every for wire in wires))
        server = one if any(wire.data for wire in one.every) else two
        wire = next(wire for wire in server.every if wire.data)
        await wire.until(b"\r\n\r\n")
        wire.send(OK)
        return server, await client.until(b"\r\n\r\nok")

    async def test_by_cookie(self) -> None:
        """A cookie leads to its server; when that is lost, to another one with a new cookie."""
        (one, first), (two, second) = self.server(), self.server()
        self.upstreams(first, second, balance="cookie")
        server, answer = await self.where(one, two, GET)
        value = answer.split(b"ood-worker=")[1].split(b";")[0]
        again = GET.replace(b"\r\n\r\n", b"\r\nCookie: ood-worker=" + value + b"\r\n\r\n")
        for _ in range(4):
            found, answer = await self.where(one, two, again)
            self.assertIs(server, found)
            self.assertNotIn(b"Set-Cookie", answer)
        self.upstreams(second if server is one else first, balance="cookie")
        found, answer = await self.where(one, two, again)
        self.assertIsNot(server, found)
        self.assertIn(b"Set-Cookie: ood-worker=", answer)
        self.assertNotIn(value, answer)
        self.upstreams(first, second, balance="cookie")
        self.assertIs(server, (await self.where(one, two, again))[0])

    async def test_by_address(self) -> None:
        """A client's address leads to one server as long as that is well."""
        (one, first), (two, second) = self.server(), self.server()
        self.upstreams(first, second, balance="ipHash")
        server, answer = await self.where(one, two, GET)
        self.assertNotIn(b"Set-Cookie", answer)
        for _ in range(4):
            self.assertIs(server, (await self.where(one, two, GET))[0])
        nobody = self.nobody()
        kept = second if server is one else first
        self.upstreams(nobody, kept, sticky="ip", balance="leastConn", max_fails=1)
        for _ in range(3):
            self.assertIsNot(server, (await self.where(one, two, GET))[0])


class FailureTests(RemoteTestCase):
    async def test_a_connection_that_is_refused(self) -> None:
        """Whatever the method, a request that reached nobody goes to another server."""
        server, address = self.server()
        self.upstreams(self.nobody() + " weight=1000", address)
        for request in (GET, POST):
            client = await self.client()
            client.send(request)
            await self.answered(server, client)

    async def test_nobody_there(self) -> None:
        """When all refuse, the client is told, once each was tried."""
        self.upstreams(self.nobody(), self.nobody(), max_fails=10)
        client = await self.client()
        client.send(GET)
        self.assertIn(b"502 Bad Gateway", await client.until(b"ood log site\n"))
        self.assertEqual([1, 1], [one.failures for one in self.remotes.status("site").upstreams])

    async def test_a_lost_request(self) -> None:
        """A request that may be repeated is, on the other server, if no answer had begun."""
        (one, first), (two, second) = self.server(), self.server()
        self.upstreams(f"{first} weight=1000", second)
        client = await self.client()
        client.send(GET)
        wire = await one.next()
        await wire.until(b"\r\n\r\n")
        wire.close()
        await self.answered(two, client)

    async def test_a_lost_post(self) -> None:
        """What may not be repeated is not."""
        (one, first), (two, second) = self.server(), self.server()
        self.upstreams(f"{first} weight=1000", second)
        client = await self.client()
        client.send(POST)
        wire = await one.next()
        await wire.until(b"hi")
        wire.close()
        self.assertIn(b"502 Bad Gateway", await client.end())
        self.assertEqual(0, two.count)

    async def test_a_begun_answer(self) -> None:
        """After a byte of an answer nothing is repeated."""
        (one, first), (two, second) = self.server(), self.server()
        self.upstreams(f"{first} weight=1000", second)
        client = await self.client()
        client.send(GET)
        wire = await one.next()
        await wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 2")
        await self.settle()
        wire.close()
        self.assertIn(b"502 Bad Gateway", await client.until(b"ood log site\n"))
        self.assertEqual(0, two.count)

    async def test_out_for_a_time(self) -> None:
        """Failures in a row take a server out for failTimeout, and the log says why."""
        server, address = self.server()
        bad = self.nobody()
        self.upstreams(f"{bad} weight=1000", address, max_fails=2, fail_timeout=10_000)
        for _ in range(3):
            client = await self.client()
            client.send(GET)
            await self.answered(server, client)
            client.close()
        failures = {one.address: one.failures for one in self.remotes.status("site").upstreams}
        self.assertEqual({bad: 2, address: 0}, failures)
        self.assertEqual({bad: "errored", address: "online"}, self.states())
        self.assertEqual([f"upstream {bad} gets no requests: it can't be reached"], self.remarks)
        self.assertEqual("online", self.remotes.status("site").state)
        self.assertIn(bad, self.remotes.status("site").trouble[0])
        self.advance(10)
        self.assertEqual("online", self.states()[bad])

    async def test_backups(self) -> None:
        """A backup gets requests only while nobody else can take any."""
        (one, first), (two, second) = self.server(), self.server()
        self.upstreams(first, f"{second} backup")
        for _ in range(3):
            client = await self.client()
            client.send(GET)
            await self.answered(one, client)
        self.upstreams(self.nobody(), f"{second} backup")
        client = await self.client()
        client.send(GET)
        await self.answered(two, client)

    async def test_late(self) -> None:
        """A server that accepts and does not answer counts as failing."""
        server, address = self.server()
        self.upstreams(address, max_fails=1)
        client = await self.client()
        client.send(GET)
        wire = await server.next()
        await wire.until(b"\r\n\r\n")
        self.advance(61)
        self.assertIn(b"504 Gateway Timeout", await client.until(b"\r\n\r\n"))
        self.assertEqual({address: "errored"}, self.states())


class CheckTests(RemoteTestCase):
    async def checked(self, server: Backend, answer: bytes) -> bytes:
        """Answer the next check; return its head."""
        wire = await server.next()
        head = await wire.until(b"\r\n\r\n")
        wire.send(answer)
        await wire.end()
        await self.settle()
        return head

    async def test_by_path(self) -> None:
        """A server is asked for healthPath each interval; statuses decide."""
        server, address = self.server()
        self.upstreams(address, health_path="/well", health_interval=1000, max_fails=2)
        settled = self.remotes.settled("site")
        self.assertEqual("launching", self.remotes.status("site").state)
        head = await self.checked(server, OK)
        self.assertTrue(head.startswith(b"GET /well HTTP/1.1\r\nHost: site.localhost\r\n"))
        await settled
        self.assertEqual("online", self.remotes.status("site").state)
        bad = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
        for _ in range(2):
            self.assertEqual("online", self.remotes.status("site").state)
            self.advance(1)
            await self.checked(server, bad)
        status = self.remotes.status("site")
        self.assertEqual("errored", status.state)
        self.assertIn("it answers /well with 500", status.trouble[0])
        client = await self.client()
        client.send(GET)
        self.assertIn(b"503 Service Unavailable", await client.until(b"ood status site\n"))
        for _ in range(2):
            self.advance(1)
            await self.checked(server, OK)
        self.assertEqual("online", self.remotes.status("site").state)
        self.assertEqual([f"upstream {address} gets requests again"], self.remarks[1:])

    async def test_by_connecting(self) -> None:
        """Without healthPath a connection is enough; a start fails where nobody listens."""
        address = f"{LOOPBACK}:{free_port()}"
        self.upstreams(address, health_interval=1000)
        error = await self.assertFailure(self.remotes.settled("site"), WorkerError)
        self.assertIn("Connection refused", str(error))
        await self.settle()
        self.assertEqual("errored", self.remotes.status("site").state)
        server = Backend()
        port = int(address.rpartition(":")[2])
        self.addCleanup(reactor.listenTCP(port, server, interface=LOOPBACK).stopListening)
        for count in (1, 2):
            self.advance(1)
            await self.eventually(lambda count=count: server.count == count)
            await self.settle()
        self.assertEqual("online", self.remotes.status("site").state)

    async def test_no_answer(self) -> None:
        """A check ends after healthTimeout."""
        server, address = self.server()
        self.upstreams(address, health_path="/", health_interval=1000, health_timeout=2000)
        wire = await server.next()
        await wire.until(b"\r\n\r\n")
        self.advance(2)
        await wire.end()
        self.assertIn("not answer within 2 s", self.remotes.status("site").trouble[0])

    async def test_no_connection(self) -> None:
        """A server that does not even take the connection is found out, too; checks go on."""
        full = socket.socket()
        self.addCleanup(full.close)
        full.bind((LOOPBACK, 0))
        full.listen(0)
        for _ in range(3):
            sock = socket.socket()
            self.addCleanup(sock.close)
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        address = f"{LOOPBACK}:{full.getsockname()[1]}"
        self.upstreams(address, health_interval=1000, health_timeout=2000)
        await self.settle()
        self.advance(2)
        self.assertIn("not answer within 2 s", self.remotes.status("site").trouble[0])
        before = self.remotes._apps["site"]._servers[address].wellness
        await self.settle()
        self.advance(3.5)
        self.assertIsNot(before, self.remotes._apps["site"]._servers[address].wellness)

    async def test_nonsense(self) -> None:
        """A check takes only HTTP for an answer."""
        server, address = self.server()
        self.upstreams(address, health_path="/", health_interval=1000)
        await self.checked(server, b"SSH-2.0-OpenSSH\r\n\r\n")
        self.assertIn("no HTTP", self.remotes.status("site").trouble[0])


class Resolver:
    """Answers look-ups as a test says."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[Deferred[tuple[Address, ...]]] = []

    def look_up(self, _: object, place: Any) -> Deferred[tuple[Address, ...]]:
        self.asked.append(place.host)
        answer: Deferred[tuple[Address, ...]] = Deferred()
        self.answers.append(answer)
        return answer


class NameTests(RemoteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.resolver = Resolver()
        self.patch(remoteapp, "look_up", self.resolver.look_up)

    def found(self, address: str) -> tuple[Address, ...]:
        host, _, port = address.rpartition(":")
        return (Address(socket.AF_INET, (host, int(port))),)

    async def test_a_name(self) -> None:
        """Requests wait for the first look-up; later ones move them, failed ones don't."""
        (one, first), (two, second) = self.server(), self.server()
        self.upstreams("api.example:80")
        client = await self.client()
        client.send(GET)
        await self.settle()
        self.assertEqual(["api.example"], self.resolver.asked)
        self.resolver.answers.pop().callback(self.found(first))
        wire = await one.next()
        await wire.until(b"\r\n\r\n")
        wire.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await client.until(b"ok")
        self.advance(30)
        self.resolver.answers.pop().callback(())
        client.send(GET)
        wire = await one.next()
        await wire.until(b"\r\n\r\n")
        wire.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await client.until(b"ok")
        self.advance(30)
        self.resolver.answers.pop().callback(self.found(second))
        client.send(GET)
        await self.answered(two, client)

    async def test_no_such_name(self) -> None:
        """A name that can't be looked up is the reason that the app does not start."""
        self.upstreams("api.example:80")
        settled = self.remotes.settled("site")
        waiting = self.remotes.when_available("site")
        self.resolver.answers.pop().callback(())
        error = await self.assertFailure(settled, WorkerError)
        self.assertIn("api.example can't be looked up", str(error))
        await self.assertFailure(waiting, UnavailableError)
        self.advance(30)
        _, address = self.server()
        self.resolver.answers.pop().callback(self.found(address))
        self.assertEqual("online", self.remotes.status("site").state)


class ResolvingTests(TestCase):
    async def test_localhost(self) -> None:
        """Twisted's resolver looks names up, in a thread."""
        found = await look_up(reactor, parse_address("localhost:80"))
        self.assertIn(("127.0.0.1", 80), [one.where for one in found])
