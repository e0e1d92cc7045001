"""Servers that ood does not run: requests go to them, and stay with them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from tests.proxy.remotes import GET, HOST, OK, POST, Backend, RemoteTestCase


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
