"""Servers that ood does not run: what fails, and what checks find out."""

from __future__ import annotations

import socket

from twisted.internet import reactor

from ood.errors import WorkerError
from tests.proxy.remotes import GET, OK, POST, Backend, RemoteTestCase
from tests.proxy.support import LOOPBACK
from tests.support.ports import free_port


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

    async def test_the_log_says_why(self) -> None:
        """Where clients are sent to the log it tells why, of many failures now and then."""
        server, address = self.server()
        self.upstreams(address)
        why = f"site: upstream {address} lost a request: the status line is not HTTP/1.1"
        for seconds, told in ((0, 1), (1, 1), (10, 2)):
            self.clock.advance(seconds)
            client = await self.client()
            client.send(GET)
            wire = await server.next()
            await wire.until(b"\r\n\r\n")
            wire.send(b"SSH-2.0-x\r\n")
            self.assertIn(b"502 Bad Gateway", await client.until(b"ood log site\n"))
            self.assertEqual([f"{why} STATUS REASON"] * told, self.lost)
            self.remotes.workers("site")[0].answered()  # others are well
        self.assertEqual([], self.remarks)

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
