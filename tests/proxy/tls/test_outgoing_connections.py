from __future__ import annotations

from typing import Any

from ood.proxy import limits
from ood.proxy.core import trust
from tests.proxy.remotes import GET, OK, POST
from tests.proxy.support import Wire
from tests.proxy.tls.outgoing import GOOD, OutgoingTestCase, Settings, raw


class ConnectionTests(OutgoingTestCase):
    async def server_and_wire(self, request: bytes = GET, **keys: Any) -> tuple[Wire, Wire]:
        """Return a client whose request has reached a server, and the server's connection."""
        self.tls_server, address = self.secure(Settings(GOOD))
        self.upstreams(f"{address} caFile={self.ca}", **keys)
        client = await self.client()
        client.send(request)
        wire = await self.tls_server.next()
        await wire.until(b"\r\n\r\n")
        return client, wire

    def reason(self) -> str:
        return self.remotes.status("site").upstreams[0].reason

    async def test_an_orderly_end(self) -> None:
        """A body that ends with the connection is whole when TLS's end came."""
        client, wire = await self.server_and_wire()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        wire.close()
        await client.until(b"0\r\n\r\n")
        self.assertEqual("", self.reason())

    async def test_a_cut(self) -> None:
        """Without it the body is not whole, and the client sees that."""
        client, wire = await self.server_and_wire(max_fails=1)
        wire.send(b"HTTP/1.1 200 OK\r\n\r\na part of it")
        await client.until(b"a part of it")
        raw(wire).loseConnection()
        rest = await client.end()
        self.assertNotIn(b"0\r\n\r\n", rest)
        self.assertEqual(trust.ENDED, self.reason())

    async def test_a_kept_connection_that_ends(self) -> None:
        """A kept connection may end at any time, with TLS's end or without: no request is lost."""
        client, wire = await self.server_and_wire()
        wire.send(OK)
        await client.until(b"ok")
        for end in (lambda one: raw(one).loseConnection(), Wire.close, Wire.abort):
            client.send(GET)
            if wire.over:
                wire = await self.tls_server.next()
            await wire.until(b"\r\n\r\n")
            wire.send(OK)
            await client.until(b"ok")
            end(wire)
            await wire.end()
        client.send(GET)
        wire = await self.tls_server.next()
        await wire.until(b"\r\n\r\n")
        self.assertEqual(0, self.remotes.status("site").upstreams[0].failures)

    async def test_a_request_on_a_connection_that_is_cut(self) -> None:
        """A request on a kept connection that ends with it goes once more, on a new one."""
        client, wire = await self.server_and_wire()
        wire.send(OK)
        await client.until(b"ok")
        client.send(GET)
        await wire.until(b"\r\n\r\n")
        raw(wire).loseConnection()
        wire = await self.tls_server.next()
        await wire.until(b"\r\n\r\n")
        wire.send(OK)
        await client.until(b"ok")
        self.assertEqual(0, self.remotes.status("site").upstreams[0].failures)

    async def test_a_slow_handshake(self) -> None:
        """A server that accepts and says nothing is given up, and another one gets the request."""
        (silent, first), (server, second) = self.server(), self.secure(Settings(GOOD))
        self.upstreams(
            f"https://{first} weight=1000 verify=false", f"{second} caFile={self.ca}", max_fails=1
        )
        client = await self.client()
        client.send(POST)
        wire = await silent.next()
        await wire.take(5)
        self.advance(limits.UPSTREAM_HANDSHAKE_SECONDS + 1)
        await self.answered(server, client)
        reasons = [one.reason for one in self.remotes.status("site").upstreams]
        self.assertEqual(["its TLS handshake took longer than 5 s", ""], reasons)
        await wire.end()

    async def test_a_client_that_leaves_in_the_handshake(self) -> None:
        """Nothing is left of its request."""
        silent, address = self.server()
        self.upstreams(f"https://{address} verify=false")
        client = await self.client()
        client.send(GET)
        wire = await silent.next()
        await wire.take(5)
        self.advance(limits.WATCH_SECONDS + 1)
        client.abort()
        await wire.end()
        self.assertEqual(0, self.remotes.status("site").upstreams[0].busy)

    async def test_bodies(self) -> None:
        """Bodies of many records come whole, both ways."""
        data = bytes(range(251)) * 20_000
        head = b"POST / HTTP/1.1\r\nHost: site.localhost\r\nContent-Length: %d\r\n\r\n"
        client, wire = await self.server_and_wire(head % len(data) + data)
        self.assertEqual(data, await wire.take(len(data)))
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        await client.until(b"\r\n\r\n")
        self.assertEqual(data, await client.take(len(data)))

    async def test_a_client_that_does_not_read(self) -> None:
        """The server is read no further than what is kept for a client."""
        client, wire = await self.server_and_wire()
        client.transport.pauseProducing()  # type: ignore[union-attr]
        size = 60_000_000
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        live = self.proxy._context.live
        await self.eventually(lambda: any(getattr(one, "backlog", 0) for one in live._members))
        await self.settle()
        kept = max(getattr(one, "backlog", 0) for one in live._members)
        self.assertLess(kept, 1_000_000)
        client.transport.resumeProducing()  # type: ignore[union-attr]
        await client.until(b"\r\n\r\n")
        self.assertEqual(size, len(await client.take(size)))

    async def test_a_websocket(self) -> None:
        """A tunnel carries both ways, and its end."""
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        asked = b"GET /chat HTTP/1.1\r\nHost: site.localhost\r\n" + upgrade
        client, wire = await self.server_and_wire(asked + b"early")
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + b"hello")
        await client.until(b"\r\n\r\nhello")
        await wire.until(b"early")
        self.advance(1000)
        client.send(b"x" * 100_000)
        await wire.take(100_000)
        wire.send(b"y" * 100_000)
        await client.take(100_000)
        wire.close()
        await client.end()
        self.assertFalse(client.reset)

    async def test_a_websocket_that_is_cut(self) -> None:
        """The client sees that its tunnel did not end as it should."""
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        asked = b"GET /chat HTTP/1.1\r\nHost: site.localhost\r\n" + upgrade
        client, wire = await self.server_and_wire(asked)
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + b"hello")
        await client.until(b"\r\n\r\nhello")
        raw(wire).loseConnection()
        await client.end()
        self.assertTrue(client.reset)

    async def test_checks(self) -> None:
        """Checks speak TLS, with a path and without, and say what is wrong."""
        server, address = self.secure(Settings(GOOD))
        keys: dict[str, Any] = {"health_interval": 1000, "max_fails": 1}
        self.upstreams(f"{address} caFile={self.ca}", health_path="/well", **keys)
        settled = self.remotes.settled("site")
        wire = await server.next()
        self.assertIn(b"GET /well", await wire.until(b"\r\n\r\n"))
        wire.send(OK)
        await settled
        self.assertFalse((await wire.end()) or wire.reset)
        self.upstreams(f"{address} caFile={self.ca} serverName=api.example", **keys)
        await self.remotes.settled("site")
        self.assertEqual("online", self.remotes.status("site").state)
        self.upstreams(f"{address} caFile={self.ca} serverName=other.example", **keys)
        await self.assertFailure(self.remotes.settled("site"), Exception)
        self.assertIn("not for other.example", self.reason())
