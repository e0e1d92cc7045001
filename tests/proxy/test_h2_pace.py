"""Clients that take what they asked for over HTTP/2 slowly, or not at all."""

from __future__ import annotations

import socket

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.context import Entry, Incoming
from ood.proxy.core.pace import DIGESTING_SECONDS_MAX, WINDOW_SECONDS, Appetite
from ood.proxy.http2.connection import Http2Connection
from ood.proxy.http2.fast import FastSession
from ood.proxy.http2.hyper import HyperSession
from ood.proxy.http2.session import Session
from tests.proxy.h2client import GET
from tests.proxy.support import LOOPBACK, ProxyTestCase, Wire

SIZE = 20_000_000
SMALL_BUFFER_BYTES = 2048
WINDOW_MAX = 2**31 - 1


class AppetiteTests(SynchronousTestCase):
    def test_a_drip(self) -> None:
        """A byte now and then does not help."""
        appetite = Appetite(0)
        for second in range(int(WINDOW_SECONDS)):
            appetite.took(1, second)
        self.assertLess(appetite.until, WINDOW_SECONDS + 2)

    def test_a_steady_one(self) -> None:
        """Who takes enough for the time that passes may go on for ever."""
        appetite = Appetite(0)
        for second in range(0, 100_000, 40):
            self.assertGreater(appetite.until, second)
            appetite.took(40 * 101, second)

    def test_much_at_once(self) -> None:
        """It takes time to be read; but not for ever."""
        appetite = Appetite(0)
        appetite.took(5_000_000, 0)
        self.assertGreater(appetite.until, 240)
        appetite.took(10**9, 0)
        self.assertEqual(appetite.until, DIGESTING_SECONDS_MAX)


class Reader:
    """A client that reads when a test says so.

    :ivar got: bytes of bodies by stream.
    :ivar over: streams that ended well.
    :ivar cut: streams that were reset.
    :ivar gone: the connection was ended, in order.
    """

    def __init__(self, port: int, window: int, connection_window: int) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        self.sock.connect((LOOPBACK, port))
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.got: dict[int, int] = {}
        self.over: set[int] = set()
        self.cut: set[int] = set()
        self.gone = False
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        if connection_window > 65_535:
            self.h2.increment_flow_control_window(connection_window - 65_535)
        self.flush()

    def flush(self) -> None:
        """Send what the library wants to be sent."""
        self.sock.sendall(self.h2.data_to_send())

    def ask(self) -> int:
        """Send a request."""
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, GET, end_stream=True)
        self.got[number] = 0
        self.flush()
        return number

    def allow(self, stream: int, size: int) -> None:
        """Open a stream's window."""
        self.h2.increment_flow_control_window(size, stream)
        self.flush()

    def read(self, size: int) -> Deferred[int]:
        """Read so many bytes of the connection; what there is if nothing comes any more."""
        return deferToThread(self._read, size)

    def _read(self, size: int) -> int:
        self.sock.settimeout(0.1)
        left = size
        try:
            while left:
                data = self.sock.recv(left)
                if not data:
                    break
                left -= len(data)
                self._hear(data)
        except TimeoutError:
            pass
        return size - left

    def _hear(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, DataReceived):
                self.got[event.stream_id] += len(event.data)
            elif isinstance(event, StreamEnded):
                self.over.add(event.stream_id)
            elif isinstance(event, StreamReset):
                self.cut.add(event.stream_id)
            elif isinstance(event, ConnectionTerminated):
                self.gone = True


class PaceTestCase(ProxyTestCase):
    def session(self) -> Session:
        """Return the session to be tested."""
        return FastSession()

    def reader(self, window: int = WINDOW_MAX, connection_window: int = WINDOW_MAX) -> Reader:
        """Return a connected client with such windows."""
        listening = socket.create_server((LOOPBACK, 0))
        client = Reader(listening.getsockname()[1], window, connection_window)
        self.addCleanup(client.sock.close)
        accepted, address = listening.accept()
        listening.close()
        accepted.setblocking(False)
        incoming = Incoming(accepted, address[:2], Entry(443, scheme=b"https"))
        self.connection = Http2Connection(self.proxy._context, incoming, self.session())
        self.connection.start()
        return client

    async def answer(self, size: int = SIZE) -> Wire:
        """Answer the next request with so much."""
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        for _ in range(100):
            await self.settle()
        return wire


class NetworkTests(PaceTestCase):
    """The windows are wide open, and the network is slow."""

    async def test_slow_but_steady(self) -> None:
        """Nobody is cut who takes enough, on however many streams at once."""
        client = self.reader()
        streams = [client.ask() for _ in range(3)]
        wires = [await self.answer() for _ in streams]
        for _ in range(30):
            await client.read(30_000)
            await self.settle()
            self.advance(40)
        self.assertEqual(client.cut, set())
        self.assertFalse(self.connection.closed)
        self.assertFalse(any(wire.over for wire in wires))

    async def test_a_drip(self) -> None:
        """Who takes a little now and then is cut, and its workers stopped."""
        client = self.reader()
        client.ask()
        wire = await self.answer()
        with self.assertRaises(ConnectionResetError):
            for _ in range(10):
                await client.read(3000)
                await self.settle()
                self.advance(40)
        await wire.end()

    async def test_nothing_is_lost_at_the_end(self) -> None:
        """The last answer arrives whole, even if the connection has been idle by our clock."""
        client = self.reader()
        number = client.ask()
        await self.answer(900_000)
        for _ in range(8):
            await client.read(20_000)
            await self.settle()
            self.advance(40)
        await client.read(SIZE)
        await self.settle()
        self.assertEqual((client.got[number], client.over), (900_000, {number}))
        for _ in range(5):
            self.advance(76)
            await client.read(SIZE)
        self.assertTrue(client.gone)
        self.assertTrue(self.connection.closed)

    async def test_drained(self) -> None:
        """The service's end waits for a client that still takes its answer."""
        client = self.reader()
        number = client.ask()
        await self.answer(300_000)
        self.connection._context.draining = True
        self.connection.drain()
        await self.settle()
        for _ in range(5):
            await client.read(30_000)
            await self.settle()
            self.advance(5)
        await client.read(SIZE)
        self.assertEqual((client.got[number], client.over), (300_000, {number}))


class WindowTests(PaceTestCase):
    """The network is fast, and the client opens its windows slowly."""

    async def test_slow_but_steady(self) -> None:
        """Who opens it a little all the time gets its answer."""
        client = self.reader(window=65_535)
        number = client.ask()
        wire = await self.answer()
        for _ in range(20):
            await client.read(SIZE)
            client.allow(number, 10_000)
            await self.settle()
            self.advance(40)
        self.assertEqual(client.cut, set())
        self.assertFalse(wire.over)

    async def test_at_the_end_of_a_body(self) -> None:
        """What waits after the app has said everything has as much time."""
        client = self.reader(window=1000)
        number = client.ask()
        await self.answer(60_000)
        for _ in range(6):
            await client.read(SIZE)
            client.allow(number, 10_000)
            await self.settle()
            self.advance(40)
        await client.read(SIZE)
        self.assertEqual((client.got[number], client.over), (60_000, {number}))

    async def test_shut(self) -> None:
        """Who never opens it is cut, and the worker's connection is free."""
        client = self.reader(window=0)
        number = client.ask()
        wire = await self.answer()
        self.advance(61)
        await client.read(SIZE)
        self.assertEqual(client.cut, {number})
        await wire.end()

    async def test_a_drip(self) -> None:
        """So is who opens it by a byte now and then, while others go on."""
        client = self.reader(window=1)
        slow, well = client.ask(), client.ask()
        wires = [await self.answer() for _ in range(2)]
        for _ in range(10):
            if slow not in client.cut:
                client.allow(slow, 1)
            client.allow(well, 10_000)
            await self.settle()
            self.advance(20)
            await client.read(SIZE)
        self.assertEqual(client.cut, {slow})
        self.assertEqual([wire.over for wire in wires].count(True), 1)

    async def test_much_at_once(self) -> None:
        """Who took megabytes at once has minutes before it opens its window again."""
        client = self.reader(window=5_000_000)
        number = client.ask()
        wire = await self.answer()
        while await client.read(SIZE):
            await self.settle()
        self.assertEqual(client.got[number], 5_000_000)
        for _ in range(4):
            self.advance(60)
            await self.settle()
        client.allow(number, 5_000_000)
        while await client.read(SIZE):
            await self.settle()
        self.assertEqual(client.got[number], 10_000_000)
        self.assertFalse(wire.over)
        for _ in range(11):
            self.advance(60)
            await self.settle()
        await client.read(SIZE)
        self.assertEqual(client.cut, {number})

    async def test_the_connections_window(self) -> None:
        """One window for all: who waits for its turn is not cut."""
        client = self.reader(connection_window=65_535)
        streams = [client.ask() for _ in range(3)]
        wires = [await self.answer() for _ in streams]
        for _ in range(20):
            await client.read(SIZE)
            client.h2.increment_flow_control_window(7_000)
            client.flush()
            await self.settle()
            self.advance(40)
        self.assertEqual(client.cut, set())
        self.assertFalse(any(wire.over for wire in wires))


class HyperWindowTests(WindowTests):
    """The same by the other library."""

    def session(self) -> Session:
        return HyperSession()
