"""HTTP/2 in front of HTTP/1.1 backends: streams as requests, over each library."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import ngh2
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import StreamClosedError
from h2.settings import SettingCodes

from ood.proxy.context import Entry, Incoming
from ood.proxy.http2.connection import Http2Connection
from ood.proxy.http2.fast import FastSession
from ood.proxy.http2.hyper import HyperSession
from ood.proxy.http2.session import Field, Session
from tests.proxy.support import LOOPBACK, ProxyTestCase, Wire

GET: list[Field] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"site.localhost"),
    (b":path", b"/page"),
]
POST = [(b":method", b"POST"), *GET[1:]]
CONNECT: list[Field] = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    *GET[1:],
    (b"sec-websocket-version", b"13"),
]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=5\r\nX-A: 1\r\n\r\nhello"


class Answer:
    """What a client heard on a stream.

    :ivar status: of the final response; 0 before it.
    :ivar error: the code it was reset with.
    """

    def __init__(self) -> None:
        self.status = 0
        self.fields: dict[bytes, bytes] = {}
        self.interim: list[dict[bytes, bytes]] = []
        self.body = b""
        self.trailers: dict[bytes, bytes] = {}
        self.ended = False
        self.error: int | None = None


class Client(Wire):
    """A client by hyper-h2.

    :ivar answers: what was heard, by stream.
    :ivar gone: the code of GOAWAY.
    :ivar reads: it gives the window back for what it reads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.answers: dict[int, Answer] = {}
        self.gone: int | None = None
        self.reads = True

    def connectionMade(self) -> None:
        super().connectionMade()
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Send what the library wants to be sent."""
        self.send(self.h2.data_to_send())

    def request(self, fields: Sequence[Field], body: bytes | None = b"") -> int:
        """Send a request; its body comes later if it is None."""
        number = self.h2.get_next_available_stream_id()
        self.answers[number] = Answer()
        self.h2.send_headers(number, fields, end_stream=body == b"")
        if body:
            self.h2.send_data(number, body, end_stream=True)
        self.flush()
        return number

    def dataReceived(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self.hear(event)
        self.flush()
        self._check()

    def hear(self, event: Any) -> None:
        """Note an event."""
        if isinstance(event, ConnectionTerminated):
            self.gone = int(event.error_code)
            return
        answer = self.answers.get(getattr(event, "stream_id", 0) or 0)
        if answer is None:
            return
        if isinstance(event, ResponseReceived):
            answer.fields = dict(event.headers)
            answer.status = int(answer.fields.pop(b":status"))
        elif isinstance(event, InformationalResponseReceived):
            answer.interim.append(dict(event.headers))
        elif isinstance(event, DataReceived):
            answer.body += event.data
            if self.reads and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            answer.trailers = dict(event.headers)
        elif isinstance(event, StreamEnded):
            answer.ended = True
        elif isinstance(event, StreamReset):
            answer.error = int(event.error_code)

    async def answer(self, number: int) -> Answer:
        """Wait for a stream's end."""
        answer = self.answers[number]
        await self._until(lambda: answer.ended or answer.error is not None or self.over)
        return answer


class Http2TestCase(ProxyTestCase):
    """A proxy whose clients speak HTTP/2 without TLS."""

    def session(self) -> Session:
        """Return the session to be tested."""
        return FastSession()

    async def h2(self, client: Any = None) -> Any:
        """Return a connected client."""
        listening = socket.create_server((LOOPBACK, 0))
        client = client or Client()
        near = socket.create_connection(listening.getsockname())
        accepted, address = listening.accept()
        listening.close()
        near.setblocking(False)
        accepted.setblocking(False)
        reactor_transport(near, client)
        incoming = Incoming(accepted, address[:2], Entry(443, scheme=b"https"))
        self.connection = Http2Connection(self.proxy._context, incoming, self.session())
        self.connection.start()
        self.addCleanup(client.abort)
        return client

    async def asked(self) -> Wire:
        """Return the backend's next connection, once the request's head has come."""
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        return wire


def reactor_transport(sock: socket.socket, protocol: Wire) -> None:
    """Run ``protocol`` on a connected socket."""
    from twisted.internet import reactor

    reactor.adoptStreamConnection(sock.fileno(), sock.family, OneProtocol(protocol))
    sock.close()


class OneProtocol:
    """A factory that gives the one protocol it was made for."""

    def __init__(self, protocol: Wire) -> None:
        self._protocol = protocol

    def buildProtocol(self, _address: object) -> Wire:
        return self._protocol

    def doStart(self) -> None:
        """Do nothing."""

    def doStop(self) -> None:
        """Do nothing."""


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


class FlowTests(Http2TestCase):
    """Back-pressure."""

    async def test_down(self) -> None:
        """What the client's window does not take is not read from the backend."""
        client = await self.h2()
        client.reads = False
        number = client.request(GET)
        wire = await self.asked()
        size = 8_000_000
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        answer = client.answers[number]
        await self.eventually(lambda: len(answer.body) >= 65_535)
        for _ in range(20):
            await self.settle()
        unsent = self.connection.session.unsent(number)
        self.assertLess(unsent, 400_000)
        client.reads = True
        client.h2.increment_flow_control_window(size, number)
        client.h2.increment_flow_control_window(size)
        client.flush()
        self.assertEqual(len((await client.answer(number)).body), size)

    async def test_up(self) -> None:
        """What the backend does not read, the client may not send."""
        client = await self.h2()
        number = client.request(POST, None)
        wire = await self.asked()
        wire.transport.pauseProducing()  # type: ignore[union-attr]
        sent = 0
        for _ in range(400):
            room = client.h2.local_flow_control_window(number)
            while room:
                piece = min(room, 16_384)
                client.h2.send_data(number, b"x" * piece)
                sent += piece
                room -= piece
            client.flush()
            await self.settle()
        self.assertLess(sent, 3_000_000)
        wire.transport.resumeProducing()  # type: ignore[union-attr]
        client.h2.end_stream(number)
        client.flush()
        await wire.until(b"0\r\n\r\n")

    async def test_a_small_window(self) -> None:
        """A client with a window of one byte gets its answer, slowly."""
        client = await self.h2()
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1})
        client.flush()
        number = client.request(GET)
        wire = await self.asked()
        wire.send(OK)
        self.assertEqual((await client.answer(number)).body, b"hello")


class WebSocketTests(Http2TestCase):
    """WebSockets over HTTP/2 (RFC 8441)."""

    async def test_a_web_socket(self) -> None:
        """The backend sees HTTP/1.1's handshake; then bytes go both ways until both ends."""
        client = await self.h2()
        number = client.request(CONNECT, None)
        wire = await self.backend.next()
        head = await wire.until(b"\r\n\r\n")
        self.assertIn(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", head)
        self.assertIn(b"sec-websocket-key: ", head)
        wire.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\nhi"
        )
        answer = client.answers[number]
        await self.eventually(lambda: answer.body == b"hi")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.fields, {b"sec-websocket-protocol": b"chat"})
        client.h2.send_data(number, b"ping")
        client.flush()
        self.assertEqual(await wire.take(4), b"ping")
        wire.send(b"pong")
        await self.eventually(lambda: answer.body == b"hipong")
        client.h2.end_stream(number)
        client.flush()
        wire.close()
        self.assertTrue((await client.answer(number)).ended)
        await wire.end()

    async def test_a_refused_one(self) -> None:
        """An app that does not switch answers as to any request."""
        client = await self.h2()
        number = client.request(CONNECT, None)
        wire = await self.asked()
        wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((await client.answer(number)).status, 403)


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


class HyperFlowTests(FlowTests):
    """The same by hyper-h2."""

    def session(self) -> Session:
        """Return the session to be tested."""
        return HyperSession()
