from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from contextlib import closing

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from ood.net.stream import WriteFirstError
from ood.proxy.tls.contexts import make_context
from ood.proxy.tls.socket import TlsSocket
from tests.proxy.tls.support import SITE


class SocketTests(SynchronousTestCase):
    """A TLS socket against OpenSSL as its client, both non-blocking, in one thread."""

    def setUp(self) -> None:
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setblocking(False)
            self.addCleanup(sock.close)
        self.ours, self.theirs = ours, theirs
        server = SSL.Connection(make_context(SITE, lambda _, offered: offered[0]), ours)
        server.set_accept_state()
        self.client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), theirs)
        self.client.set_connect_state()
        for _ in range(3):
            for side in (self.client, server):
                self.attempt(side.do_handshake)
        self.unsaid: list[TlsSocket] = []
        self.tls = TlsSocket(server, ours, self.unsaid.append)

    def attempt(self, function: Callable[[], object]) -> object:
        """Call; None if it would block."""
        try:
            return function()
        except (SSL.WantReadError, SSL.WantWriteError):
            return None

    def read_client(self) -> tuple[bytes, str]:
        """Return what the client can read, and what comes after it."""
        data = b""
        try:
            while True:
                data += self.client.recv(65536)
        except SSL.WantReadError:
            return data, ""
        except SSL.ZeroReturnError:
            return data, "end"
        except SSL.SysCallError:
            return data, "cut"

    def fill(self) -> int:
        """Send until the kernel takes no more; return how much it took."""
        total = 0
        try:
            while True:
                total += self.tls.send(b"x" * 100_000)
        except BlockingIOError:
            return total

    def test_both_ways(self) -> None:
        self.assertRaises(BlockingIOError, self.tls.recv, 100)
        self.client.send(b"question")
        self.assertEqual(b"ques", self.tls.recv(4, socket.MSG_PEEK))
        self.assertEqual(b"question", self.tls.recv(100))
        self.assertEqual(6, self.tls.send(memoryview(b"answer")))
        self.assertEqual((b"answer", ""), self.read_client())

    def test_many_records(self) -> None:
        """What is longer than the kernel takes is sent piece by piece, nothing twice."""
        data = bytes(range(251)) * 8000
        rest, got = memoryview(data), self.read_client()[0]
        while rest:
            try:
                rest = rest[self.tls.send(rest) :]
            except BlockingIOError:
                got += self.read_client()[0]
        self.assertEqual(data, got + self.read_client()[0])

    def test_ends(self) -> None:
        """The peer's end is an empty read; ours is told in TLS before TCP's."""
        self.client.shutdown()
        self.assertEqual(b"", self.tls.recv(100))
        self.assertEqual(2, self.tls.send(b"ok"), "the other way is open")
        self.tls.shutdown(socket.SHUT_WR)
        self.assertEqual((b"ok", "end"), self.read_client())
        self.tls.close()
        self.assertEqual(-1, self.ours.fileno())

    def test_only_tcp_ends(self) -> None:
        """An end without TLS's own is an end as well, and an answer can still be sent."""
        self.theirs.shutdown(socket.SHUT_WR)
        self.assertEqual(b"", self.tls.recv(100))
        self.assertEqual(2, self.tls.send(b"ok"))

    def test_a_full_kernel_at_the_end(self) -> None:
        """The end is told when there is room for it, and not before."""
        self.read_client()  # tickets
        filled = 0
        try:
            while True:
                filled += self.ours.send(bytes(1000))
        except BlockingIOError:
            pass
        self.tls.close()
        self.assertEqual([self.tls], self.unsaid)
        self.assertFalse(self.tls.try_to_end())
        while filled:
            filled -= len(self.theirs.recv(filled))
        self.assertTrue(self.tls.try_to_end())
        self.assertEqual((b"", "end"), self.read_client())

    def test_half_a_record_at_the_end(self) -> None:
        """Where a record is cut off, nothing says that all has been said."""
        self.fill()
        self.tls.close()
        self.assertEqual([], self.unsaid)
        self.assertEqual("cut", self.read_client()[1])

    def test_a_reset(self) -> None:
        """A connection that is to look broken does not end as if all was said."""
        self.tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.tls.close()
        self.assertEqual((b"", "cut"), self.read_client())

    def test_nonsense(self) -> None:
        """A record that is none is an error, after which nothing is said."""
        self.theirs.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        with self.assertRaises(OSError) as caught:
            self.tls.recv(100)
        self.assertEqual(errno.EPROTO, caught.exception.errno)
        self.assertNotIsInstance(caught.exception, WriteFirstError)
        self.tls.close()

    def test_a_lost_peer(self) -> None:
        self.theirs.close()
        self.assertRaises(OSError, self.fill)
        self.tls.close()
        self.assertEqual([], self.unsaid)


class PacketTests(SynchronousTestCase):
    """What goes in one packet, on TCP."""

    def setUp(self) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as listening:
            theirs = socket.create_connection(listening.getsockname())
            self.ours, _ = listening.accept()
        self.addCleanup(theirs.close)
        self.addCleanup(self.ours.close)
        self.client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), theirs)
        self.client.set_connect_state()
        server = SSL.Connection(make_context(SITE, lambda _, offered: offered[0]), self.ours)
        server.set_accept_state()
        self.ours.setblocking(False)
        theirs.setblocking(False)
        shaken = 0
        while shaken < 2:
            shaken = sum(map(self.shake, (self.client, server)))
        theirs.setblocking(True)
        self.tls = TlsSocket(server, self.ours, lambda _: None)

    def shake(self, side: SSL.Connection) -> bool:
        """Go on with the handshake; return whether it is done."""
        try:
            side.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def held(self) -> bool:
        """Return whether the kernel holds back what fills no packet."""
        return bool(self.ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK))

    def test_the_last_data_and_the_end(self) -> None:
        """They go together: the last data is held back until the connection is closed."""
        self.tls.send(b"first", socket.MSG_DONTWAIT)
        self.assertFalse(self.held())
        self.tls.send(b"last", socket.MSG_DONTWAIT | socket.MSG_MORE)
        self.assertTrue(self.held())
        self.tls.close()
        self.assertEqual(b"first", self.client.recv(100))
        self.assertEqual(b"last", self.client.recv(100))
        self.assertRaises(SSL.ZeroReturnError, self.client.recv, 100)

    def test_not_the_last_after_all(self) -> None:
        """Nothing is held back longer than it takes for other data to come."""
        self.tls.send(b"a", socket.MSG_MORE)
        self.tls.send(b"b")
        self.assertFalse(self.held())
        self.assertEqual([b"a", b"b"], [self.client.recv(100), self.client.recv(100)])
