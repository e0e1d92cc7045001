"""HTTP/2 floods against a connection by each library, and what clients have us keep."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.context import Entry, Incoming
from ood.proxy.core.pace import FRAMING_BYTES_MAX, FRAMING_BYTES_PER_SECOND, Framing
from ood.proxy.http2.connection import Http2Connection
from ood.proxy.http2.hoard import Hoard
from ood.proxy.http2.hyper import HyperSession
from ood.proxy.http2.session import Session
from tests.proxy.h2client import POST
from tests.proxy.support import LOOPBACK
from tests.proxy.test_h2_pace import PaceTestCase
from tests.support import h2frames

HOST = "site.localhost"
PIECE_BYTES = 65_536
SECONDS = 60


class FramingTests(SynchronousTestCase):
    def test_what_is_asked_for_counts_for_it(self) -> None:
        """Frames without end are none of a flood where requests or bodies come of them."""
        framing = Framing(0)
        for _ in range(1000):
            framing.worth += 1000
            self.assertFalse(framing.flood(1000, 0))
        self.assertFalse(framing.flood(FRAMING_BYTES_MAX, 0))
        self.assertTrue(framing.flood(1, 0))

    def test_time(self) -> None:
        """Pings now and then may go on for ever."""
        framing = Framing(0)
        for second in range(100_000):
            self.assertFalse(framing.flood(FRAMING_BYTES_PER_SECOND, second))


class Holding:
    """A connection that is cut off when it is told to be."""

    def __init__(self, hoard: Hoard) -> None:
        self.hoard = hoard
        self.cut = False

    def reset(self) -> None:
        self.cut = True
        self.hoard.holds(self, 0)


class HoardTests(SynchronousTestCase):
    def test_the_one_with_most_goes(self) -> None:
        """The others stay, also if it is the one that just asked for more; nothing is forgotten."""
        hoard = Hoard(Clock(), 100)
        first, second, third = (Holding(hoard) for _ in range(3))
        hoard.holds(first, 40)
        hoard.holds(second, 50)
        hoard.holds(third, 10)
        self.assertEqual(hoard.total, 100)
        hoard.holds(third, 11)
        self.assertEqual([first.cut, second.cut, third.cut], [False, True, False])
        self.assertEqual(hoard.total, 51)
        hoard.holds(first, 101)
        self.assertEqual((first.cut, hoard.total), (True, 11))
        hoard.holds(third, 0)
        self.assertEqual(hoard.total, 0)


class FloodTests(PaceTestCase):
    """Raw frames over a socket of our own."""

    def raw(self) -> socket.socket:
        """Return a connected client."""
        listening = socket.create_server((LOOPBACK, 0))
        client = socket.create_connection(listening.getsockname())
        self.addCleanup(client.close)
        accepted, address = listening.accept()
        listening.close()
        accepted.setblocking(False)
        incoming = Incoming(accepted, address[:2], Entry(443, scheme=b"https"))
        self.connection = Http2Connection(self.proxy._context, incoming, self.session())
        self.connection.start()
        return client

    async def cut_off(self, flood: Callable[[str], Iterator[bytes]]) -> None:
        """Send a flood, reading what comes; it must be ended before its end."""
        client = self.raw()
        ended = await deferToThread(is_cut_off, client, h2frames.preface(), flood(HOST))
        self.assertTrue(ended, flood.__name__)
        client.close()
        await self.eventually(lambda: self.connection.closed)
        self.assertEqual(self.proxy.counters.in_flight, 0)
        self.assertEqual(self.proxy._context.hoard.total, 0)

    async def test_floods(self) -> None:
        """Each of them ends its connection, and nothing of it is left."""
        for flood in h2frames.FLOODS:
            await self.cut_off(flood)


class HyperFloodTests(FloodTests):
    """The same by the other library."""

    def session(self) -> Session:
        return HyperSession()


def is_cut_off(client: socket.socket, preface: bytes, flood: Iterator[bytes]) -> bool:
    """Send frames, and read; return whether the connection was ended before all were sent."""
    waiting = bytearray(preface)
    try:
        for one in flood:
            waiting += one
            if len(waiting) < PIECE_BYTES:
                continue
            client.settimeout(SECONDS)
            client.sendall(waiting)
            waiting.clear()
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while client.recv(PIECE_BYTES):
                    pass
                return True
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


class KeptTests(PaceTestCase):
    """What the clients' slowness or the apps' has us keep is bounded for all of them together."""

    def limit(self, most: int) -> Hoard:
        """Have all connections keep no more than that."""
        hoard = self.proxy._context.hoard = Hoard(self.clock, most)
        return hoard

    async def answer_and_close(self, size: int) -> None:
        """Answer the next request with so much, on a connection that serves no other one."""
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
        wire.send(head + b"x" * size)
        for _ in range(20):
            await self.settle()

    async def test_answers(self) -> None:
        """Clients that take nothing are cut off, the one with most first; a small one stays."""
        hoard = self.limit(700_000)
        small = self.reader(window=0)
        small.ask()
        await self.answer_and_close(1000)
        first = self.connection
        self.assertEqual(hoard.total, 1000)
        large = self.reader(window=0)
        second = self.connection
        for _ in range(20):
            if second.closed:
                break
            large.ask()
            await self.answer_and_close(100_000)
        self.assertTrue(second.closed)
        self.assertFalse(first.closed)
        self.assertEqual(hoard.total, 1000)
        first.close()
        self.assertEqual(hoard.total, 0)

    async def test_bodies(self) -> None:
        """So are those that send what no app takes."""
        hoard = self.limit(50_000)
        self.app.backends.clear()
        self.app.why_none = None
        client = self.reader()
        for _ in range(2):
            number = client.h2.get_next_available_stream_id()
            client.h2.send_headers(number, POST)
            client.got[number] = 0
            client.flush()
            for _ in range(12):
                if self.connection.closed:
                    break
                client.h2.send_data(number, b"x" * 2_500)
                client.flush()
                await self.settle()
            await self.eventually(lambda: self.connection.closed or hoard.total == 30_000)
        self.assertTrue(self.connection.closed)
        self.assertEqual(hoard.total, 0)
