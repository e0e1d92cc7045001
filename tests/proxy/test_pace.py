from __future__ import annotations

import socket

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.core.pace import BYTES_PER_SECOND_MIN, WINDOW_SECONDS, Pace
from tests.proxy.support import LOOPBACK, ProxyTestCase, Wire

HOST = b"Host: site.localhost\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999\r\n\r\n"
SMALL_BUFFER_BYTES = 2048


class PaceTests(SynchronousTestCase):
    @given(st.lists(st.floats(0.1, 59), max_size=50), st.floats(1, 50))
    def test_fast_enough(self, pauses: list[float], factor: float) -> None:
        """What brings its bytes for each pause is never slow, however they are spread."""
        now, pace = 0.0, Pace(0)
        for pause in pauses:
            now += pause
            self.assertFalse(pace.slow(int(pause * BYTES_PER_SECOND_MIN * factor) + 1, now))

    @given(st.floats(0.1, 59))
    def test_too_slow(self, pause: float) -> None:
        """A drip is seen at the first byte after the window."""
        now, pace, slow = 0.0, Pace(0), False
        while now < WINDOW_SECONDS + pause:
            now += pause
            slow = slow or pace.slow(1, now)
        self.assertTrue(slow)


class BodyTests(ProxyTestCase):
    async def test_a_dripping_body(self) -> None:
        """A body that comes byte by byte is cut, and the worker's connection is free again."""
        client = await self.client()
        client.send(POST)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        for _ in range(5):
            self.advance(10)
            client.send(b"x")
            await wire.take(1)
        self.advance(10)
        client.send(b"x")
        answer = await client.end()
        self.assertIn(b"408 Request Timeout", answer)
        self.assertIn(b"too slowly", answer)
        await wire.end()

    async def test_while_the_app_answers(self) -> None:
        """Both may talk slowly to one another: then the body is no drip."""
        client = await self.client()
        client.send(POST)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.until(b"\r\n\r\n")
        for _ in range(20):
            self.advance(10)
            client.send(b"x")
            await wire.take(1)
            wire.send(b"1\r\ny\r\n")
            await client.until(b"y\r\n")

    async def test_an_app_that_takes_its_time(self) -> None:
        """What the app does not take is not the client's fault."""
        client = await self.client()
        size = 20_000_000
        client.send(POST.replace(b"99999", b"%d" % size) + b"x" * size)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        transport = wire.transport
        assert transport is not None
        transport.pauseProducing()  # type: ignore[attr-defined]
        for _ in range(100):
            await self.settle()
        self.advance(58)
        transport.resumeProducing()  # type: ignore[attr-defined]
        await wire.take(size - len(wire.data))
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await client.until(b"\r\n\r\nok")


class ReaderTests(ProxyTestCase):
    def reader(self) -> socket.socket:
        """Return a client with a small buffer, which reads when a test says so."""
        client = socket.socket()
        self.addCleanup(client.close)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        client.connect((LOOPBACK, self.port))
        client.setblocking(False)
        client.send(GET)
        return client

    async def answer(self) -> Wire:
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        size = 20_000_000
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        for _ in range(100):
            await self.settle()
        return wire

    def read(self, client: socket.socket, size: int) -> Deferred[int]:
        def work() -> int:
            client.settimeout(5)
            got = 0
            while got < size:
                data = client.recv(size - got)
                if not data:
                    break
                got += len(data)
            return got

        return deferToThread(work)

    async def test_too_slow(self) -> None:
        """A client that takes a little now and then is cut, and its worker stopped."""
        client = self.reader()
        wire = await self.answer()
        with self.assertRaises(ConnectionResetError):
            for _ in range(10):
                await self.read(client, 3000)
                await self.settle()
                self.advance(40)
        await wire.end()

    async def test_fast_enough(self) -> None:
        """One that takes enough may take as long as it likes."""
        client = self.reader()
        wire = await self.answer()
        for _ in range(20):
            self.assertEqual(30_000, await self.read(client, 30_000))
            await self.settle()
            self.advance(40)
        self.assertFalse(wire.over)

    async def test_much_at_once(self) -> None:
        """Who took megabytes may be silent for minutes: a program reads them slowly."""
        client = self.reader()
        wire = await self.answer()
        self.assertEqual(3_000_000, await self.read(client, 3_000_000))
        for _ in range(4):
            await self.settle()
            self.advance(40)
        self.assertEqual(30_000, await self.read(client, 30_000))
        self.assertFalse(wire.over)
        for _ in range(9):
            await self.settle()
            self.advance(40)
        await wire.end()

    async def test_events_that_nobody_reads(self) -> None:
        """An event stream has no deadline, but one whose client reads nothing has."""
        client = self.reader()
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        await self.read(client, 60)
        self.advance(1000)
        self.assertFalse(wire.over)
        wire.send(b"data: " + b"x" * 20_000_000)
        for _ in range(100):
            await self.settle()
        self.advance(61)
        await wire.end()
