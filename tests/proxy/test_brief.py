"""Requests that are alone on their connections: nothing may differ from all other requests."""

from __future__ import annotations

import socket

from twisted.internet import reactor

from ood.model.document import App, Document
from ood.net.listen import bind
from ood.proxy import limits
from ood.proxy.brief import Brief
from ood.proxy.core.request import parse_request
from ood.proxy.edge import ReverseProxy
from ood.proxy.upstream import UpstreamConnection
from ood.traffic.access import AccessLog
from ood.traffic.records import Record
from tests.proxy.support import LOOPBACK, ProxyTestCase, Wire, free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSING_OK = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
HOST = b"Host: site.localhost\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
CLOSE = b"GET /a?b HTTP/1.1\r\n" + HOST + b"Accept: x\r\nConnection: close\r\n\r\n"
SMALL_BUFFER_BYTES = 4096


class Lines(AccessLog):
    """An access log in memory."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record, form: str) -> None:
        self.records.append(record)


class BriefCase(ProxyTestCase):
    """A proxy with an idle connection to its app."""

    async def warm(self) -> Wire:
        """Leave an idle connection to the app; return the app's end."""
        client = await self.client()
        wire, _ = await self.exchange(client, GET, OK)
        await client.take(len(OK))
        return wire

    def briefs(self) -> int:
        """Return how many requests are being served briefly."""
        return sum(isinstance(one, Brief) for one in self.proxy._context.live._members)

    async def asked(self, wire: Wire, request: bytes = CLOSE) -> tuple[Wire, bytes]:
        """Send a request on a new connection; return that, and what the app gets."""
        client = await self.client()
        client.send(request)
        return client, await wire.until(b"\r\n\r\n")

    def check_books(self, proxied: int) -> None:
        """So many requests have been served, and none is under way."""
        counters = self.proxy.counters
        self.assertEqual((proxied, 0), (counters.proxied, counters.in_flight))
        traffic = self.proxy._context.traffic.of("site")
        self.assertEqual(0, traffic.in_flight)
        self.assertEqual(proxied, sum(sum(one.classes) for one in traffic.tallies.values()))
        self.assertEqual(0, self.app.backends[0].worker.busy)
        self.assertEqual(0, self.briefs())


class BriefTests(BriefCase):
    async def test_served(self) -> None:
        """Such a request is sent and answered as any other, and its connection used again."""
        wire = await self.warm()
        for number in range(2, 5):
            client, head = await self.asked(wire)
            self.assertEqual(1, self.briefs())
            self.assertEqual(1, self.proxy.counters.in_flight)
            line, _, fields = head.partition(b"\r\n")
            self.assertEqual(b"GET /a?b HTTP/1.1", line)
            self.assertRegex(
                fields, rb"^Host: site.localhost\r\nAccept: x\r\nX-Ood-Peer: 127.0.0.1 \d+\r\n\r\n$"
            )
            wire.send(OK)
            self.assertEqual(CLOSING_OK, await client.end())
            self.assertFalse(client.reset)
            self.check_books(number)
        self.assertEqual(1, self.backend.count)
        self.assertEqual({200: 4}, self.proxy.counters.statuses)

    async def test_no_body(self) -> None:
        """HEAD, and answers without a body, are whole with their heads."""
        wire = await self.warm()
        client, _ = await self.asked(wire, CLOSE.replace(b"GET", b"HEAD"))
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        self.assertTrue(
            (await client.end()).endswith(b"Content-Length: 5\r\nConnection: close\r\n\r\n")
        )
        client, _ = await self.asked(wire)
        wire.send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")
        self.assertTrue((await client.end()).startswith(b"HTTP/1.1 304 Not Modified\r\n"))
        self.check_books(3)

    async def test_the_apps_own_end(self) -> None:
        """A connection that the app closes after its answer is not used again."""
        wire = await self.warm()
        client, _ = await self.asked(wire)
        wire.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        self.assertEqual(CLOSING_OK, await client.end())
        await wire.end()
        self.check_books(2)

    async def test_answered(self) -> None:
        """An answer shows that it was not this request that workers died of."""
        wire = await self.warm()
        request = parse_request(CLOSE)
        assert request is not None
        repeats = self.proxy._context.repeats
        repeats.ended_two("site", request)
        self.assertFalse(repeats.may("site", request))
        client, _ = await self.asked(wire)
        self.assertEqual(1, self.briefs())
        wire.send(OK)
        await client.end()
        self.assertTrue(repeats.may("site", request))

    async def test_others(self) -> None:
        """What needs more than that is not served so, though its connection ends, too."""
        upgrade = b"Connection: upgrade, close\r\nUpgrade: websocket\r\n"
        for request in (
            GET,
            CLOSE.replace(b"Accept: x", b"Content-Length: 2") + b"ab",
            CLOSE.replace(b"Connection: close\r\n", upgrade),
            CLOSE.replace(b"GET /a?b", b"GET http://site.localhost/a?b"),
            CLOSE + CLOSE,
        ):
            wire = await self.warm()
            client, _ = await self.asked(wire, request)
            self.assertEqual(0, self.briefs(), request)
            wire.send(OK)
            await client.until(b"ok")
            client.close()
            wire.close()
            await self.settle()

    async def test_rules(self) -> None:
        """An app whose requests or answers are to be changed is none of these."""
        wire = await self.warm()
        for app in (
            App(cwd="/", port=free_port(), body_limit=1 << 20),
            App(cwd="/", port=free_port(), compress=True),
            App(cwd="/", port=free_port(), sticky="ip"),
            App(cwd="/", port=free_port(), sticky="cookie"),
        ):
            self.proxy.converge(Document(apps={"site": app}))
            client = await self.client()
            client.send(CLOSE)
            await self.eventually(lambda: bool(self.proxy.counters.in_flight))
            self.assertEqual(0, self.briefs())
            await wire.until(b"\r\n\r\n")
            wire.send(OK)
            self.assertIn(b"ok", await client.end())


class GrownTests(BriefCase):
    """It turns out that more is needed: everything goes on as if that had been known."""

    async def test_an_answer_in_parts(self) -> None:
        """An answer may come in any number of reads."""
        wire = await self.warm()
        client, _ = await self.asked(wire)
        for byte in OK:
            wire.send(bytes([byte]))
            await self.settle()
        self.assertEqual(CLOSING_OK, await client.end())
        self.check_books(2)

    async def test_chunks(self) -> None:
        """An answer may be chunked."""
        wire = await self.warm()
        client, _ = await self.asked(wire)
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        self.assertIn(b"chunked", await client.until(b"2\r\nok\r\n"))
        wire.send(b"0\r\n\r\n")
        self.assertEqual(b"0\r\n\r\n", await client.end())
        self.check_books(2)

    async def test_interim_answers(self) -> None:
        """What is said before the answer reaches the client."""
        wire = await self.warm()
        client, _ = await self.asked(wire)
        wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        self.assertEqual(
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", await client.until(b"\r\n\r\n")
        )
        wire.send(OK)
        self.assertEqual(CLOSING_OK, await client.end())
        self.check_books(2)

    async def test_a_malformed_answer(self) -> None:
        """It is not passed on."""
        for answer in (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", b"220 ready\r\n\r\n"):
            wire = await self.warm()
            client, _ = await self.asked(wire)
            wire.send(answer)
            self.assertIn(b"HTTP/1.1 502 Bad Gateway\r\n", await client.end())
            await wire.end()
        self.check_books(4)

    async def test_more_than_the_answer(self) -> None:
        """A connection that says more than it was asked is not used again."""
        wire = await self.warm()
        client, _ = await self.asked(wire)
        wire.send(OK + OK)
        self.assertEqual(CLOSING_OK, await client.end())
        await wire.end()
        self.check_books(2)

    async def test_an_end_without_an_answer(self) -> None:
        """The request is repeated on a new connection."""
        for abort in (False, True):
            wire = await self.warm()
            client, _ = await self.asked(wire)
            self.assertEqual(1, self.briefs())
            if abort:
                wire.abort()
            else:
                wire.close()
            await self.eventually(lambda: not self.briefs())
            self.clock.advance(limits.REPEAT_PAUSE_SECONDS)
            again = await self.backend.next()
            self.assertIn(b"GET /a?b HTTP/1.1\r\n", await again.until(b"\r\n\r\n"))
            again.send(OK)
            self.assertEqual(CLOSING_OK, await client.end())
            again.close()
            await self.settle()
        self.check_books(4)

    async def test_a_connection_that_ended(self) -> None:
        """An idle connection whose end nobody has seen yet is not taken."""
        wire = await self.warm()
        client = await self.client()
        context = self.proxy._context
        (idle,) = (one for one in context.live._members if isinstance(one, UpstreamConnection))
        context.reactor.removeReader(idle)
        wire.close()
        await self.settle()
        client.send(CLOSE)
        again = await self.backend.next()
        await again.until(b"\r\n\r\n")
        again.send(OK)
        self.assertEqual(CLOSING_OK, await client.end())
        self.check_books(2)

    async def test_a_long_wait(self) -> None:
        """An answer may take long; the client is watched then, and its going away noticed."""
        wire = await self.warm()
        client, _ = await self.asked(wire)
        self.advance(limits.WATCH_SECONDS + 1)
        self.assertEqual(0, self.briefs())
        wire.send(OK)
        self.assertEqual(CLOSING_OK, await client.end())
        wire = await self.warm()
        client, _ = await self.asked(wire)
        self.assertEqual(1, self.briefs())
        self.advance(limits.WATCH_SECONDS + 1)
        client.abort()
        await wire.end()
        self.check_books(4)

    async def test_no_answer(self) -> None:
        """Who waits for too long is told."""
        wire = await self.warm()
        client, _ = await self.asked(wire)
        self.advance(limits.RESPONSE_SECONDS + 1)
        self.assertIn(b"HTTP/1.1 504 Gateway Timeout\r\n", await client.end())
        await wire.end()
        self.check_books(2)

    async def test_a_client_that_is_gone(self) -> None:
        """An answer for nobody harms nobody: the connection to the app is used again."""
        wire = await self.warm()
        client, _ = await self.asked(wire)
        client.abort()
        await self.settle()
        wire.send(OK)
        await self.eventually(lambda: not self.briefs())
        client, _ = await self.asked(wire)
        wire.send(OK)
        self.assertEqual(CLOSING_OK, await client.end())
        self.check_books(3)

    async def test_access_log(self) -> None:
        """Each request is written down, with what was wanted when its answer came."""
        wire = await self.warm()
        log = Lines()
        traffic = self.proxy._context.traffic.of("site")
        client, _ = await self.asked(wire)
        self.assertEqual(1, self.briefs())
        traffic.configure("combined", log)
        for number in range(1, 3):
            self.clock.advance(0.25)
            wire.send(OK)
            await client.end()
            self.assertEqual(number, len(log.records))
            record = log.records[-1]
            self.assertEqual(
                ("/a?b", 200, 2, "pipe", 0.25),
                (record.target, record.status, record.size, record.via, record.seconds),
            )
            client, _ = await self.asked(wire)
            self.assertEqual(0, self.briefs())
        wire.send(OK)
        await client.end()
        self.check_books(4)

    async def test_stop(self) -> None:
        """The service's end waits for the answer, and no longer than for others."""
        wire = await self.warm()
        answered, _ = await self.asked(wire)
        silent = await self.client()
        silent.send(CLOSE)
        await self.eventually(lambda: self.proxy.counters.in_flight == 2)
        stopped = self.proxy.stopService()
        await self.settle()
        wire.send(OK)
        self.assertEqual(CLOSING_OK, await answered.end())
        self.assertFalse(stopped.called)
        self.clock.advance(limits.DRAIN_SECONDS + 1)
        await stopped
        await silent.end()


class SlowClientTests(BriefCase):
    """A client that does not read, behind small buffers."""

    def make_proxy(self) -> ReverseProxy:
        http = bind(LOOPBACK, 0, what="test")
        http.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER_BYTES)
        self.port = http.getsockname()[1]
        return ReverseProxy(reactor, self.clock, self.pool, [http])

    async def test_a_slow_client(self) -> None:
        """An answer that the kernel does not take at once reaches its client in full."""
        wire = await self.warm()
        body = b"x" * 60_000
        with socket.create_connection((LOOPBACK, self.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
            client.setblocking(False)
            client.send(CLOSE)
            await wire.until(b"\r\n\r\n")
            self.assertEqual(1, self.briefs())
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await self.eventually(lambda: not self.briefs())
            self.check_books(2)
            got = bytearray()

            def ended() -> bool:
                try:
                    data = client.recv(65_536)
                except BlockingIOError:
                    return False
                got.extend(data)
                return not data

            await self.eventually(ended)
        self.assertTrue(got.endswith(b"\r\n\r\n" + body))


class PlainUpstreamTests(BriefCase):
    """The same over TCP."""

    pipe = False

    async def test_served(self) -> None:
        """The app learns of its client by the usual fields, and its worker is counted."""
        wire = await self.warm()
        client, head = await self.asked(wire)
        self.assertEqual(1, self.briefs())
        self.assertIn(b"\r\nX-Forwarded-For: 127.0.0.1\r\n", head)
        self.assertNotIn(b"X-Ood", head)
        wire.send(OK)
        self.assertEqual(CLOSING_OK, await client.end())
        self.check_books(2)
        traffic = self.proxy._context.traffic.of("site")
        self.assertEqual(2, sum(traffic.worker(0).classes))
