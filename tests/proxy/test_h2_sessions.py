"""Tests of HTTP/2 sessions: the same ones for each library, with hyper-h2 as the client."""

from __future__ import annotations

from typing import Any

import ngh2
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.settings import SettingCodes
from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.http2 import session as limits
from ood.proxy.http2.fast import FastSession
from ood.proxy.http2.hyper import HyperSession
from ood.proxy.http2.session import (
    Closed,
    Data,
    Ended,
    Field,
    Head,
    Session,
    SessionError,
    SessionEvent,
    Trailers,
)

GET: list[Field] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"example.com"),
    (b":path", b"/"),
]
POST = [(b":method", b"POST"), *GET[1:]]
OK: list[Field] = [(b":status", b"200")]
CANCEL, CALM = 8, 11


class SessionTests:
    """What holds for every session."""

    def session(self) -> Session:
        """Return the session to be tested."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.server = self.session()
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.client.initiate_connection()
        self.heard: list[SessionEvent] = []
        self.pump()

    def pump(self) -> list[Any]:
        """Exchange what is to be sent; return what the client heard."""
        told: list[Any] = []
        for _ in range(100):
            up = self.client.data_to_send()
            if up:
                self.heard += self.server.receive(up)
            down, came = self.server.take()
            self.heard += came
            if down:
                told += self.client.receive_data(down)
            if not up and not down:
                return told
        raise AssertionError("the two never fall silent")

    def request(self, fields: list[Field], *, ended: bool = True) -> int:
        """Send a request; return its stream."""
        stream = self.client.get_next_available_stream_id()
        self.client.send_headers(stream, fields, end_stream=ended)
        return stream

    def test_a_request_and_its_answer(self) -> None:
        """Head, interim answer, answer, body and trailers arrive, and the stream ends."""
        stream = self.request(GET)
        self.pump()
        self.assertEqual([(one.stream, one.ended) for one in self.heard], [(stream, True)])
        self.assertEqual([tuple(one) for one in self.heard[0].fields], GET)
        self.server.interim(stream, [(b":status", b"103"), (b"link", b"</a>")])
        self.server.respond(stream, OK, ended=False)
        self.server.send(stream, b"hello", ended=False)
        self.server.end(stream, [(b"x-sum", b"1")])
        told = self.pump()
        kinds = [type(one) for one in told]
        for kind in (InformationalResponseReceived, ResponseReceived, TrailersReceived):
            self.assertIn(kind, kinds)
        self.assertEqual([one.data for one in told if isinstance(one, DataReceived)], [b"hello"])
        self.assertIn(Closed(stream, 0, by_peer=False), self.heard)

    def test_a_head_alone(self) -> None:
        """A response without a body ends with its head."""
        stream = self.request(GET)
        self.pump()
        self.server.respond(stream, [(b":status", b"204")], ended=True)
        self.assertIn(StreamEnded, [type(one) for one in self.pump()])

    def test_a_body_with_trailers(self) -> None:
        """A request's body comes in pieces, and trailers end it."""
        stream = self.request(POST, ended=False)
        self.client.send_data(stream, b"one", pad_length=10)
        self.client.send_headers(stream, [(b"x-sum", b"1")], end_stream=True)
        self.pump()
        self.assertEqual(self.heard[1], Data(stream, b"one", ended=False))
        self.assertIsInstance(self.heard[2], Trailers)

    def test_nothing_is_read_ahead(self) -> None:
        """The client may only send on what was consumed."""
        stream = self.request(POST, ended=False)
        self.pump()
        sent = 0
        while (room := self.client.local_flow_control_window(stream)) and sent < 2**22:
            piece = b"x" * min(room, self.client.max_outbound_frame_size)
            self.client.send_data(stream, piece)
            sent += len(piece)
            self.pump()
        self.assertEqual(sent, limits.STREAM_WINDOW_BYTES)
        self.server.consumed(stream, sent)
        self.assertIn(WindowUpdated, [type(one) for one in self.pump()])
        self.assertEqual(self.client.local_flow_control_window(stream), sent)

    def test_a_reset_stream_gives_its_window_back(self) -> None:
        """Bodies that nobody reads any more do not fill the connection's window."""
        for _ in range(3 * limits.CONNECTION_WINDOW_BYTES // 65_536):
            stream = self.request(POST, ended=False)
            for _ in range(4):
                self.client.send_data(stream, b"x" * 16_384)
            self.pump()
            self.server.reset(stream, CANCEL)
            self.pump()
            self.server.consumed(stream, 65_536)
        self.pump()
        self.assertGreater(self.client.outbound_flow_control_window, 65_536)

    def test_a_body_waits_for_the_window(self) -> None:
        """What the client's window does not take is kept, and sent when it opens."""
        self.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        stream = self.request(GET)
        self.pump()
        self.server.respond(stream, OK, ended=False)
        self.server.send(stream, b"x" * 5000, ended=True)
        told = self.pump()
        got = sum(len(one.data) for one in told if isinstance(one, DataReceived))
        self.assertEqual((got, self.server.unsent(stream)), (1000, 4000))
        self.client.increment_flow_control_window(4000, stream)
        told = self.pump()
        self.assertEqual(sum(len(one.data) for one in told if isinstance(one, DataReceived)), 4000)
        self.assertEqual(self.server.unsent(stream), 0)
        self.assertIn(StreamEnded, [type(one) for one in told])

    def test_the_client_gives_up(self) -> None:
        """A reset is told as one, and what is said of the stream later is ignored."""
        stream = self.request(GET)
        self.pump()
        self.client.reset_stream(stream, CANCEL)
        self.pump()
        self.assertEqual(self.heard[-1], Closed(stream, CANCEL, by_peer=True))
        self.server.respond(stream, OK, ended=False)
        self.server.send(stream, b"x", ended=False)
        self.server.end(stream, ())
        self.server.reset(stream, CANCEL)
        self.server.consumed(stream, 1)
        self.assertEqual(self.pump(), [])

    def test_we_give_up(self) -> None:
        """A reset of ours reaches the client."""
        stream = self.request(GET)
        self.pump()
        self.server.respond(stream, OK, ended=False)
        self.server.reset(stream, CANCEL)
        told = self.pump()
        self.assertEqual([one.error_code for one in told if isinstance(one, StreamReset)], [CANCEL])
        self.assertEqual(self.heard[-1], Closed(stream, CANCEL, by_peer=False))

    def test_too_many_streams(self) -> None:
        """A client that opens more streams than it may does not get them."""
        self.client.remote_settings.update({SettingCodes.MAX_CONCURRENT_STREAMS: 10_000})
        self.client.remote_settings.acknowledge()
        try:
            for _ in range(limits.STREAMS_MAX + 1):
                self.request(GET)
            self.pump()
        except SessionError:
            pass
        heads = [one for one in self.heard if isinstance(one, Head)]
        self.assertLessEqual(len(heads), limits.STREAMS_MAX)

    def test_a_broken_frame_ends_the_connection(self) -> None:
        """The client is told, and the connection is to be closed."""
        ended = False
        try:
            self.heard += self.server.receive(b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x")
        except SessionError:
            ended = True
        down, came = self.server.take()
        self.assertTrue(ended or any(isinstance(one, Ended) for one in [*self.heard, *came]))
        if down:
            told = self.client.receive_data(down)
            self.assertIn(ConnectionTerminated, [type(one) for one in told])

    def test_an_endless_head_ends_the_connection(self) -> None:
        """CONTINUATION frames without end are not collected (CVE-2024-27316)."""
        frame = b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82"  # HEADERS without END_HEADERS
        more = b"\x00\x00\x02\x09\x00\x00\x00\x00\x01\x40\x00"[:9] + b"\x82\x82"
        with self.assertRaises(SessionError):
            self.server.receive(frame)
            for _ in range(10_000):
                if any(isinstance(one, Ended) for one in self.server.receive(more)):
                    raise SessionError
                if any(isinstance(one, Ended) for one in self.server.take()[1]):
                    raise SessionError

    def test_a_compressed_bomb_ends_the_connection(self) -> None:
        """A small head that unpacks to a large one is not unpacked."""
        bomb = [*GET, (b"x", b"y" * 4000)]
        with self.assertRaises(SessionError):
            for _ in range(3):
                self.request([*bomb, *([(b"x", b"y" * 4000)] * 50)])
                self.pump()
                if any(isinstance(one, Ended) for one in self.heard):
                    raise SessionError

    def test_the_end(self) -> None:
        """The last word reaches the client, with what was asked before it answered."""
        stream = self.request(GET)
        self.pump()
        self.server.respond(stream, OK, ended=True)
        self.pump()
        self.server.finish(0)
        down, _ = self.server.take()
        self.assertIn(ConnectionTerminated, [type(one) for one in self.client.receive_data(down)])


class FastSessionTests(SessionTests, SynchronousTestCase):
    """ngh2."""

    def session(self) -> Session:
        """Return the session to be tested."""
        return FastSession()

    def test_rapid_reset_ends_the_connection(self) -> None:
        """A client that asks and resets without end is not served (CVE-2023-44487)."""
        with self.assertRaises(SessionError):
            for _ in range(2 * limits.RESET_BURST):
                self.client.reset_stream(self.request(GET), CANCEL)
                self.pump()
                if any(isinstance(one, Ended) for one in self.heard):
                    raise SessionError

    def test_what_began_before_the_end_is_served(self) -> None:
        """After the announcement the client opens nothing new, and gets its answer."""
        client = ngh2.Connection(ngh2.Role.CLIENT)
        client.initiate_connection()
        server = FastSession()
        stream = client.send_request(GET, end_stream=True)
        server.receive(client.data_to_send())
        server.announce_end()
        client.receive_data(server.take()[0])
        self.assertFalse(client.can_send_request)
        server.respond(stream, OK, ended=True)
        client.receive_data(server.take()[0])
        self.assertIn(ngh2.ResponseReceived, [type(one) for one in client.events()])


class HyperSessionTests(SessionTests, SynchronousTestCase):
    """hyper-h2."""

    def session(self) -> Session:
        """Return the session to be tested."""
        return HyperSession()
