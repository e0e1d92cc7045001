"""HTTP/2 in front of HTTP/1.1 backends: streams as requests and their ends, over each library."""

from __future__ import annotations

import ngh2
from h2.errors import ErrorCodes
from h2.exceptions import StreamClosedError

from ood.proxy.http2.hyper import HyperSession
from ood.proxy.http2.session import Session
from tests.proxy.h2client import (
    GET,
    OK,
    POST,
    Http2TestCase,
)
from tests.proxy.support import Wire


class RequestTests(Http2TestCase):
    """Requests and their answers."""

    async def test_a_request(self) -> None:
        """It arrives as HTTP/1.1 with the client's address, and its answer goes back whole."""
        client = await self.h2()
        number = client.request([*GET, (b"cookie", b"a=1"), (b"cookie", b"b=2")])
        wire = await self.backend.next()
        head = await wire.until(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"GET /page HTTP/1.1\r\nHost: site.localhost\r\n"))
        self.assertIn(b"cookie: a=1; b=2\r\n", head)
        self.assertIn(b"X-Ood-Peer: 127.0.0.1 ", head)
        wire.send(OK)
        answer = await client.answer(number)
        self.assertEqual((answer.status, answer.body), (200, b"hello"))
        self.assertEqual(answer.fields, {b"content-length": b"5", b"x-a": b"1"})

    async def test_many_at_a_time(self) -> None:
        """Streams go to connections of their own and are answered in any order."""
        client = await self.h2()
        numbers = [client.request([*GET[:3], (b":path", b"/%d" % index)]) for index in range(20)]
        wires = []
        for _ in numbers:
            wire = await self.backend.next()
            head = await wire.until(b"\r\n\r\n")
            wires.append((head.split()[1][1:], wire))
        for path, wire in reversed(wires):
            length = len(path)
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (length, path))
        for index, number in enumerate(numbers):
            self.assertEqual((await client.answer(number)).body, b"%d" % index)

    async def test_interim_answers_chunks_and_trailers(self) -> None:
        """103, a body in chunks and the fields after it pass."""
        client = await self.h2()
        number = client.request(GET)
        wire = await self.asked()
        wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        wire.send(b"2\r\nab\r\n0\r\nX-Sum: 7\r\nConnection: x\r\n\r\n")
        answer = await client.answer(number)
        self.assertEqual(answer.interim, [{b":status": b"103", b"link": b"</a>"}])
        self.assertEqual((answer.body, answer.trailers), (b"ab", {b"x-sum": b"7"}))

    async def test_bodies_up(self) -> None:
        """A body of a known length keeps it; another one goes in chunks, with its trailers."""
        client = await self.h2()
        client.request([*POST, (b"content-length", b"4")], b"body")
        wire = await self.backend.next()
        head = await wire.until(b"\r\n\r\n")
        self.assertIn(b"content-length: 4\r\n", head)
        self.assertEqual(await wire.take(4), b"body")
        number = client.request(POST, None)
        client.h2.send_data(number, b"part")
        client.h2.send_headers(number, [(b"x-sum", b"1")], end_stream=True)
        client.flush()
        second = await self.backend.next()
        await second.until(b"\r\n\r\n")
        self.assertEqual(await second.until(b"\r\n\r\n"), b"4\r\npart\r\n0\r\nx-sum: 1\r\n\r\n")

    async def test_pages_of_our_own(self) -> None:
        """An unknown host, a refused head and a dead backend are answered on their stream."""
        self.converge("site", "other")
        client = await self.h2()
        unknown = client.request([*GET[:2], (b":authority", b"nobody.example"), GET[3]])
        self.assertEqual((await client.answer(unknown)).status, 404)
        long = client.request([*GET, (b"x", b"y" * 17_000)])
        self.assertEqual((await client.answer(long)).status, 431)
        number = client.request(GET)
        wire = await self.asked()
        wire.send(b"garbage\r\n\r\n")
        answer = await client.answer(number)
        self.assertEqual((answer.status, answer.error), (502, None))
        self.assertEqual(answer.fields[b"cache-control"], b"no-store")
        self.assertRegex(answer.fields[b"date"], rb"^[A-Z][a-z]{2}, [0-9]{2} .* GMT$")

    async def test_what_http2_forbids(self) -> None:
        """Only the stream suffers."""
        client = await self.h2()
        client.h2.config.validate_outbound_headers = False
        client.h2.config.normalize_outbound_headers = False
        bad = client.request([*GET[:3], (b":path", b"/a b")])
        answer = await client.answer(bad)
        self.assertEqual((answer.error, self.backend.count), (ErrorCodes.PROTOCOL_ERROR, 0))
        good = client.request(GET)
        wire = await self.asked()
        wire.send(OK)
        self.assertEqual((await client.answer(good)).status, 200)


class EndTests(Http2TestCase):
    """Requests and connections that end early."""

    async def test_the_client_gives_up(self) -> None:
        """The backend's connection is closed; other streams go on."""
        client = await self.h2()
        number = client.request(GET)
        wire = await self.asked()
        client.h2.reset_stream(number, ErrorCodes.CANCEL)
        client.flush()
        await wire.end()
        self.assertEqual(self.proxy.counters.in_flight, 0)

    async def test_the_backend_breaks_off(self) -> None:
        """The client sees that the answer is not whole."""
        client = await self.h2()
        number = client.request(GET)
        wire = await self.asked()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        wire.close()
        answer = await client.answer(number)
        self.assertEqual((answer.error, answer.ended), (ErrorCodes.INTERNAL_ERROR, False))

    async def test_the_connection_breaks(self) -> None:
        """Every request of it is given up."""
        client = await self.h2()
        client.request(GET)
        client.request(GET)
        wires = [await self.backend.next(), await self.backend.next()]
        client.abort()
        for wire in wires:
            await wire.end()
        self.assertEqual(self.proxy.counters.in_flight, 0)

    async def test_an_answer_before_the_body(self) -> None:
        """What nobody will read is broken off without an error, after the answer."""
        client = await self.h2()
        number = client.request(POST, None)
        wire = await self.asked()
        wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        answer = await client.answer(number)
        await self.eventually(lambda: answer.error is not None)
        self.assertEqual((answer.status, answer.body, answer.error), (403, b"no", 0))

    async def test_an_idle_connection(self) -> None:
        """It is told, and closed."""
        client = await self.h2()
        await self.settle()
        self.advance(76)
        await client._until(lambda: client.gone is not None)
        self.assertEqual(client.gone, 0)

    async def test_rapid_reset(self) -> None:
        """A client that asks and resets without end is cut off (CVE-2023-44487)."""
        client = await self.h2()
        for _ in range(1_100):
            if client.gone is not None or client.over:
                break
            try:
                client.h2.reset_stream(client.request(GET), ErrorCodes.CANCEL)
            except StreamClosedError:
                break
            client.flush()
            await self.settle()
        self.assertTrue(client.gone == ErrorCodes.ENHANCE_YOUR_CALM or client.over, client.gone)
        self.assertEqual(self.proxy.counters.in_flight, 0)

    async def test_made_you_reset(self) -> None:
        """Resets that it makes us send count, too (CVE-2025-8671)."""
        client = await self.h2()
        client.h2.config.validate_outbound_headers = False
        for _ in range(1_100):
            if client.gone is not None or client.over:
                break
            client.request([*GET, (b"host", b"evil.example")])
            await self.settle()
        self.assertTrue(client.gone == ErrorCodes.ENHANCE_YOUR_CALM or client.over, client.gone)


class PoliteClient(Wire):
    """A client by ngh2, which goes on with what it began before GOAWAY, as hyper-h2 does not."""

    def __init__(self) -> None:
        super().__init__()
        self.http2 = ngh2.Connection(ngh2.Role.CLIENT)
        self.events: list[ngh2.Event] = []

    def connectionMade(self) -> None:
        super().connectionMade()
        self.http2.initiate_connection()
        self.http2.send_request(GET, end_stream=True)
        self.send(self.http2.data_to_send())

    def dataReceived(self, data: bytes) -> None:
        self.http2.receive_data(data)
        self.events += self.http2.events()
        self.send(self.http2.data_to_send())
        self._check()


class DrainTests(Http2TestCase):
    """The service's end."""

    async def test_what_is_under_way_is_answered(self) -> None:
        """Then the connection ends with GOAWAY."""
        client = await self.h2(PoliteClient())
        wire = await self.asked()
        stopped = self.proxy.stopService()
        wire.send(OK)
        await client.end()
        kinds = [type(one) for one in client.events]
        self.assertIn(ngh2.GoAwayReceived, kinds)
        bodies = [one.data for one in client.events if isinstance(one, ngh2.DataReceived)]
        self.assertEqual(bodies, [b"hello"])
        client.close()
        self.clock.advance(31)
        await stopped


class HyperRequestTests(RequestTests):
    """The same by hyper-h2."""

    def session(self) -> Session:
        """Return the session to be tested."""
        return HyperSession()


class HyperEndTests(EndTests):
    """The same by hyper-h2."""

    def session(self) -> Session:
        """Return the session to be tested."""
        return HyperSession()
