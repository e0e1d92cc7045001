from __future__ import annotations

import socket

from ood.interfaces import Refused, Upstream, Worker
from ood.net.stream import READ_BYTES_MAX, WRITE_HIGH_BYTES
from ood.proxy import limits
from ood.proxy.client import PIPELINE_BYTES_MAX, Client
from ood.testing.workerpool import Backend
from tests.proxy.support import ProxyTestCase, Server, Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: site.localhost\r\n\r\n"


class ClientBoundTests(ProxyTestCase):
    def served(self) -> Client:
        """Return the one client that is being served."""
        found = [one for one in self.proxy._context.live._members if isinstance(one, Client)]
        return found[0]

    async def flood(self, client: Wire, request: bytes) -> None:
        """Send requests without end and read no answer, until nothing moves any more."""
        transport = client.transport
        assert transport is not None
        transport.pauseProducing()  # type: ignore[attr-defined]
        transport.write(request * (20_000_000 // len(request)))
        for _ in range(200):
            await self.settle()

    async def test_pipelined_requests(self) -> None:
        """Requests that wait for the one before them stay in the kernel beyond some."""
        client = await self.client()
        await self.flood(client, GET)
        await self.backend.next()
        self.advance(2)  # from now on the client is watched
        await self.eventually(lambda: len(self.served().input) > PIPELINE_BYTES_MAX)
        for _ in range(50):
            await self.settle()
        held = len(self.served().input)
        self.assertLess(held, PIPELINE_BYTES_MAX + 2 * READ_BYTES_MAX)

    async def test_answers_that_nobody_reads(self) -> None:
        """A client that reads no answers gets no more of them made."""
        self.converge("site", "other")
        client = await self.client()
        await self.flood(client, GET.replace(b"site.", b"nobody."))
        backlog = self.served().backlog
        self.assertGreater(backlog, 0)
        self.assertLess(backlog, WRITE_HIGH_BYTES + 1000)


class UpstreamBoundTests(ProxyTestCase):
    async def test_interim_answers_without_end(self) -> None:
        """An app that only ever says "continue" to a client that does not read is cut off."""
        client = await self.client()
        client.transport.pauseProducing()  # type: ignore[union-attr]
        client.send(GET)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 500_000)
        await wire.end()

    async def test_the_most_connections(self) -> None:
        """Beyond the cap of connections to an app there is a 503, not one more connection."""
        self.patch(limits, "UPSTREAMS_PER_APP_MAX", 2)
        wires = []
        for _ in range(2):
            (await self.client()).send(GET)
            wires.append(await self.backend.next())
        client = await self.client()
        client.send(GET)
        answer = await client.until(b"now.\n")
        self.assertIn(b"503 Service Unavailable", answer)
        self.assertEqual(2, self.pool.connects)

    async def test_a_new_worker_gets_its_share(self) -> None:
        """A worker that joins under steady load gets requests though idle connections exist."""
        client = await self.client()
        wire, _ = await self.exchange(client, GET, OK)
        await client.until(b"ok")
        new = Server()
        self.app.backends.append(Backend(Worker("site", 1), self.listen(new)))
        self.advance(2)
        client.send(GET)
        other = await new.next()
        await other.until(b"\r\n\r\n")
        other.send(OK)
        await client.until(b"ok")
        self.assertEqual(b"", wire.data)


class PoolTroubleTests(ProxyTestCase):
    async def test_a_pool_that_fails(self) -> None:
        """A bug on the other side costs that connection; the listener goes on."""

        def broken(sock: socket.socket, refused: Refused) -> bool:
            raise RuntimeError("on purpose")

        self.app.sockets = broken
        client = await self.client()
        client.send(GET)
        await client.end()
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.app.sockets = None
        again = await self.client()
        await self.exchange(again, GET, OK)
        await again.until(b"ok")

    async def test_a_request_that_fails(self) -> None:
        """A bug while a request is begun costs its connection, and nothing is left of it."""

        def broken(tried: object) -> Worker | None:
            raise RuntimeError("on purpose")

        for request in (GET, GET.replace(b"GET", b"POST")):
            self.app.choose = broken
            client = await self.client()
            client.send(request)
            await client.end()
            self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
            self.app.choose = None
            self.assertEqual(0, self.proxy.counters.in_flight)
        again = await self.client()
        await self.exchange(again, GET, OK)
        await again.until(b"ok")
        self.app.choose = broken
        again.send(GET)
        await again.end()
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.assertEqual(0, self.proxy.counters.in_flight)

    async def test_a_worker_that_never_takes(self) -> None:
        """A pool that promises and does not deliver is asked a bounded number of times."""

        def nothing(app: str, worker: Worker | None = None) -> Upstream | None:
            return None

        self.patch(self.pool, "connect", nothing)
        client = await self.client()
        client.send(GET)
        self.assertIn(b"503 Service Unavailable", await client.until(b"now.\n"))


class ManyTests(ProxyTestCase):
    async def test_deadlines_at_the_same_moment(self) -> None:
        """Members that end others in the same sweep are not called after their end."""
        clients = [await self.client() for _ in range(5)]
        for client in clients:
            client.send(GET)
            wire = await self.backend.next()
            await wire.until(b"\r\n\r\n")
        self.advance(61)
        for client in clients:
            self.assertIn(b"504 Gateway Timeout", await client.until(b"\r\n"))
        self.assertEqual([], self.flushLoggedErrors())
