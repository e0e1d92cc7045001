from __future__ import annotations

import socket

from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ood.net.stream import (
    READ_BYTES,
    READ_BYTES_MAX,
    WRITE_HIGH_BYTES,
    WRITE_LOW_BYTES,
    Stream,
    WriteFirstError,
)


class Recorder(Stream):
    """Writes down what it is told."""

    def __init__(self, reactor: MemoryReactor, sock: socket.socket, connecting: bool = False):
        self.told: list[object] = []
        super().__init__(reactor, sock, connecting=connecting)

    def received(self, data: bytes) -> None:
        self.told.append(data)

    def ended(self) -> None:
        self.told.append("ended")

    def drained(self) -> None:
        self.told.append("drained")

    def flushed(self) -> None:
        if "flushed" not in self.told:
            self.told.append("flushed")

    def connected(self) -> None:
        self.told.append("connected")

    def failed(self) -> None:
        self.told.append("failed")

    def gone(self) -> None:
        self.told.append("gone")


class StreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactor()
        ours, self.peer = socket.socketpair()
        self.stream = Recorder(self.reactor, ours)
        self.addCleanup(self.stream.close)
        self.addCleanup(self.peer.close)

    def writing(self) -> bool:
        return self.stream in self.reactor.getWriters()

    def reading(self) -> bool:
        return self.stream in self.reactor.getReaders()

    def drain_peer(self) -> bytes:
        """Read what is there, letting the stream write until it has no more."""
        self.peer.setblocking(False)
        data = b""
        while True:
            try:
                part = self.peer.recv(1 << 20)
            except BlockingIOError:
                if not self.writing():
                    return data
                self.stream.doWrite()
                continue
            if not part:
                return data
            data += part

    def fill(self) -> None:
        """Write until well over the high-water mark waits."""
        while self.stream.backlog <= WRITE_HIGH_BYTES:
            self.stream.write(bytes(100_000))

    def test_at_once(self) -> None:
        """What the kernel takes never enters the reactor."""
        self.stream.write(b"abc")
        self.assertEqual(b"abc", self.peer.recv(9))
        self.assertFalse(self.writing())
        self.assertFalse(self.reading())

    def test_reading(self) -> None:
        """It reads when told to, and tells the peer's end once."""
        self.stream.resume_reading()
        self.peer.send(b"abc")
        self.stream.doRead()
        self.stream.doRead()
        self.peer.shutdown(socket.SHUT_WR)
        self.stream.doRead()
        self.assertEqual([b"abc", "ended"], self.stream.told)
        self.assertFalse(self.reading())

    def test_longer_reads(self) -> None:
        """Where much comes more is read at once, until it is little again."""
        self.stream.resume_reading()
        self.peer.sendall(bytes(100_000))
        self.stream.doRead()
        self.stream.doRead()
        self.peer.sendall(b"x")
        self.stream.doRead()
        self.peer.sendall(bytes(100_000))
        self.stream.doRead()
        sizes = [len(data) for data in self.stream.told if isinstance(data, bytes)]
        self.assertEqual([READ_BYTES, 100_000 - READ_BYTES, 1, READ_BYTES], sizes)
        self.assertLess(100_000, READ_BYTES_MAX)

    def test_backlog(self) -> None:
        """What the kernel does not take waits, in order, and its owner learns when it is little."""
        self.stream.write(b"first")
        self.fill()
        self.stream.write(b"last")
        self.assertTrue(self.writing())
        data = self.drain_peer()
        self.assertTrue(data.startswith(b"first") and data.endswith(b"last"))
        self.assertEqual(0, self.stream.backlog)
        self.assertEqual(["flushed", "drained"], self.stream.told)

    def test_drained_at_the_mark(self) -> None:
        """The owner is told at the low-water mark, not at each write."""
        self.fill()
        self.peer.setblocking(False)
        while "drained" not in self.stream.told:
            before = self.stream.backlog
            self.peer.recv(65536)
            self.stream.doWrite()
        self.assertGreater(before, WRITE_LOW_BYTES)
        self.assertLessEqual(self.stream.backlog, WRITE_LOW_BYTES)

    def test_finish(self) -> None:
        """It closes when all was sent."""
        self.fill()
        self.stream.finish()
        self.assertFalse(self.stream.closed)
        self.drain_peer()
        self.assertEqual("gone", self.stream.told[-1])

    def test_end_writing(self) -> None:
        """The peer sees the end after the last byte and can still send."""
        self.fill()
        self.stream.end_writing()
        self.assertTrue(self.drain_peer())
        self.assertEqual(b"", self.peer.recv(1))
        self.peer.send(b"x")
        self.stream.doRead()
        self.assertIn(b"x", self.stream.told)

    def test_a_broken_pipe(self) -> None:
        """Writing to nobody is noted; nobody is called out of a write."""
        self.peer.close()
        self.stream.write(b"x")
        self.assertTrue(self.stream.broken)
        self.assertEqual([], self.stream.told)
        self.stream.finish()
        self.assertEqual(["gone"], self.stream.told)

    def test_lost(self) -> None:
        """An owner learns of a lost connection once."""
        self.stream.resume_reading()
        self.stream.connectionLost(Failure(ConnectionError()))
        self.stream.connectionLost(Failure(ConnectionError()))
        self.stream.close()
        self.assertEqual(["failed", "gone"], self.stream.told)
        self.assertFalse(self.reading())

    def test_detach(self) -> None:
        """The socket goes to another owner, open and out of the reactor."""
        self.stream.resume_reading()
        sock = self.stream.detach()
        self.assertFalse(self.reading())
        self.peer.send(b"x")
        self.assertEqual(b"x", sock.recv(1))
        sock.close()


class ConnectingTests(SynchronousTestCase):
    def connecting(self, address: tuple[str, int]) -> Recorder:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(address)
        stream = Recorder(MemoryReactor(), sock, connecting=True)
        self.addCleanup(stream.close)
        return stream

    def test_established(self) -> None:
        """What was written meanwhile is sent when the connection stands."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            stream = self.connecting(server.getsockname())
            stream.write(b"abc")
            self.assertEqual(3, stream.backlog)
            with server.accept()[0] as peer:
                stream.doWrite()
                self.assertEqual("connected", stream.told[0])
                self.assertEqual(b"abc", peer.recv(9))

    def test_refused(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
        stream = self.connecting(address)
        stream.doWrite()
        self.assertEqual(["failed", "gone"], stream.told)


class Owing:
    """A socket that has to send something by itself before it can read on, as TLS may."""

    def __init__(self) -> None:
        self.debt = 0
        self.shuts = 0
        self.closed = False

    def fileno(self) -> int:
        return 99

    def recv(self, size: int, flags: int = 0) -> bytes:
        if self.debt:
            self.debt -= 1
            raise WriteFirstError(11, "an answer has to be sent first")
        return b"data"

    def shutdown(self, how: int) -> None:
        if self.debt:
            self.debt -= 1
            raise BlockingIOError(11, "the kernel takes no more")
        self.shuts += 1

    def close(self) -> None:
        self.closed = True


class OwingTests(SynchronousTestCase):
    """A socket that blocks where a plain one never does."""

    def setUp(self) -> None:
        self.reactor = MemoryReactor()
        self.sock = Owing()
        self.stream = Recorder(self.reactor, self.sock)

    def test_reading_waits_for_writing(self) -> None:
        """It is not asked again and again, but once it can write, and then nothing is missing."""
        self.sock.debt = 2
        self.stream.resume_reading()
        self.stream.doRead()
        for _ in range(2):
            self.assertEqual([], self.stream.told)
            self.assertNotIn(self.stream, self.reactor.getReaders())
            self.assertIn(self.stream, self.reactor.getWriters())
            self.stream.doWrite()
        self.assertEqual([b"data"], self.stream.told)
        self.assertIn(self.stream, self.reactor.getReaders())
        self.assertNotIn(self.stream, self.reactor.getWriters())

    def test_paused_meanwhile(self) -> None:
        """Who does not want to read any more is not read for."""
        self.sock.debt = 1
        self.stream.resume_reading()
        self.stream.doRead()
        self.stream.pause_reading()
        self.stream.doWrite()
        self.assertEqual([], self.stream.told)
        self.assertNotIn(self.stream, self.reactor.getReaders())
        self.assertNotIn(self.stream, self.reactor.getWriters())

    def test_the_end_waits(self) -> None:
        """An end that can't be told yet is told later."""
        self.sock.debt = 2
        self.stream.end_writing()
        for _ in range(2):
            self.assertEqual((0, False), (self.sock.shuts, self.stream.broken))
            self.assertIn(self.stream, self.reactor.getWriters())
            self.stream.doWrite()
        self.assertEqual(1, self.sock.shuts)
        self.assertNotIn(self.stream, self.reactor.getWriters())
