"""The stream that carries descriptors."""

from __future__ import annotations

import array
import os
import resource
import socket

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.net.fdchannel import QUEUE_MESSAGES_MAX, FdChannel, close_all


class Reactor:
    """Remembers what is watched."""

    def __init__(self) -> None:
        self.readers: set[object] = set()
        self.writers: set[object] = set()
        self.addReader = self.readers.add
        self.removeReader = self.readers.discard
        self.addWriter = self.writers.add
        self.removeWriter = self.writers.discard


class FdChannelTests(SynchronousTestCase):
    """One end of a stream, the other a bare socket."""

    def setUp(self) -> None:
        ours, self.peer = socket.socketpair()
        self.peer.setblocking(False)
        self.addCleanup(self.peer.close)
        self.reactor = Reactor()
        self.got: list[tuple[bytes, int]] = []
        self.lost = 0
        self.blocked: list[bool] = []
        self.channel = FdChannel(self.reactor, Clock(), ours, self.received, self.gone)  # type: ignore[arg-type]
        self.channel.blocked_changed = self.blocked.append
        self.addCleanup(self.channel.close)
        self.channel.start()

    def received(self, data: bytes, descriptors: list[int]) -> None:
        self.got.append((data, len(descriptors)))
        close_all(descriptors)

    def gone(self) -> None:
        self.lost += 1

    def take(self) -> tuple[bytes, int]:
        """Read one message at the other end; count its descriptors."""
        data, ancillary, _, _ = self.peer.recvmsg(100, 100)
        count = 0
        for _, _, raw in ancillary:
            for descriptor in array.array("i", raw):
                os.close(descriptor)
                count += 1
        return data, count

    def test_both_ways(self) -> None:
        """Bytes and a descriptor go out and come in."""
        self.assertTrue(self.channel.send(b"ab", self.peer.fileno()))
        self.assertEqual(self.take(), (b"ab", 1))
        rights = array.array("i", [self.peer.fileno()])
        self.peer.sendmsg([b"xyz"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        self.channel.doRead()
        self.assertEqual(self.got, [(b"xyz", 1)])

    def fill(self) -> int:
        """Send until the peer's buffer is full; return how many messages it took."""
        count = 0
        while not self.channel.blocked:
            self.assertTrue(self.channel.send(b"%06d" % count, self.peer.fileno()))
            count += 1
        return count

    def test_descriptors_do_not_block(self) -> None:
        """A process that gets a socket must not stand still when its client does not read."""
        one, other = socket.socketpair()
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        self.assertTrue(os.get_blocking(one.fileno()))
        self.assertTrue(self.channel.send(b"x", one.fileno()))
        self.assertFalse(os.get_blocking(one.fileno()))

    def test_blocked(self) -> None:
        """With a peer that does not read, messages wait, in order, and are bounded."""
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < QUEUE_MESSAGES_MAX * 2:
            self.skipTest("this user may not open enough files (ulimit -Hn)")
        count = self.fill()
        self.assertEqual(self.blocked, [True])
        self.assertIn(self.channel, self.reactor.writers)
        while self.channel.send(b"%06d" % count, self.peer.fileno()):
            count += 1
        waiting = len(self.channel._queue)
        self.assertEqual(waiting, QUEUE_MESSAGES_MAX)
        for number in range(count):
            while True:
                try:
                    self.assertEqual(self.take(), (b"%06d" % number, 1))
                    break
                except BlockingIOError:
                    self.channel.doWrite()
        self.assertEqual(self.blocked, [True, False])
        self.assertNotIn(self.channel, self.reactor.writers)

    def test_close_forgets(self) -> None:
        """Closing with messages that wait closes their descriptors, and tells nobody."""
        before = len(os.listdir("/proc/self/fd"))
        self.fill()
        self.assertGreater(len(os.listdir("/proc/self/fd")), before)
        self.channel.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before - 1)
        self.assertEqual((self.lost, self.reactor.readers, self.reactor.writers), (0, set(), set()))
        self.assertFalse(self.channel.send(b"x"))

    def test_end(self) -> None:
        """The end of the stream is told once."""
        self.peer.close()
        self.channel.doRead()
        self.channel.connectionLost(None)  # type: ignore[arg-type]
        self.assertEqual(self.lost, 1)

    def test_too_many_descriptors(self) -> None:
        """More descriptors than a message may have end the stream, and none stays open."""
        before = len(os.listdir("/proc/self/fd"))
        rights = array.array("i", [self.peer.fileno()] * 40)
        self.peer.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        self.channel.doRead()
        self.assertEqual((self.lost, self.got), (1, []))
        self.assertEqual(len(os.listdir("/proc/self/fd")), before - 1)
