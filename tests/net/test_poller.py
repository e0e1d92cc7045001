"""The reactor inside the reactor: each event reaches whom it is for, and nobody else."""

from __future__ import annotations

import socket

from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ood.net.poller import BUSY_EVENTS, EVENTS_PER_TURN, ROUNDS_PER_TURN, Poller


class Watched:
    """A descriptor that notes what it is told."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.told: list[str] = []
        self.error: Exception | None = None

    def fileno(self) -> int:
        return self.sock.fileno()

    def logPrefix(self) -> str:
        return "watched"

    def doRead(self) -> None:
        self.told.append("read")
        if self.error is not None:
            raise self.error

    def doWrite(self) -> None:
        self.told.append("write")

    def connectionLost(self, reason: Failure) -> None:
        self.told.append("lost")


class Broken(Watched):
    """One that can't write."""

    def doWrite(self) -> None:
        raise ValueError("broken")


class Asking(Watched):
    """One that has others write soon when it reads."""

    def __init__(self, sock: socket.socket, poller: Poller, *writers: Watched) -> None:
        super().__init__(sock)
        self.answers: list[bool] = []
        self._poller = poller
        self._writers = writers

    def doRead(self) -> None:
        self.answers += [self._poller.soon(one) for one in self._writers]


class Echo(Watched):
    """One whose peer sends it another byte for each that it reads."""

    def __init__(self, sock: socket.socket, peer: socket.socket) -> None:
        super().__init__(sock)
        self._peer = peer

    def doRead(self) -> None:
        super().doRead()
        self.sock.recv(1)
        self._peer.send(b"x")


class PollerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactor()
        self.poller = Poller(self.reactor)
        self.poller.start()
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)
        self.addCleanup(self.poller.stop)
        self.watched = Watched(self.ours)

    def turn(self) -> list[str]:
        """Let one turn happen; return what was told."""
        self.poller.doRead()
        told, self.watched.told = self.watched.told, []
        return told

    def test_interface(self) -> None:
        """It can stand in for the reactor."""
        verifyObject(IReactorFDSet, self.poller)

    def test_reading(self) -> None:
        """Level-triggered: told as long as bytes wait, and not after removal."""
        self.poller.addReader(self.watched)
        self.assertEqual(self.turn(), [])
        self.theirs.send(b"x")
        self.assertEqual(self.turn() + self.turn(), ["read", "read"])
        self.poller.removeReader(self.watched)
        self.assertEqual(self.turn(), [])

    def test_both(self) -> None:
        """Reading and writing are asked for independently."""
        self.poller.addWriter(self.watched)
        self.poller.addReader(self.watched)
        self.poller.addReader(self.watched)
        self.theirs.send(b"x")
        self.assertEqual(self.turn(), ["read", "write"])
        self.poller.removeReader(self.watched)
        self.assertEqual(self.turn(), ["write"])
        self.assertEqual(self.poller.getReaders(), [])
        self.poller.removeWriter(self.watched)
        self.poller.removeWriter(self.watched)
        self.assertEqual(self.turn(), [])

    def test_peer_gone(self) -> None:
        """The end of a peer is found by whoever is registered."""
        self.poller.addWriter(self.watched)
        self.theirs.close()
        self.assertIn("write", self.turn())

    def test_error(self) -> None:
        """An error in one descriptor is logged, and costs only that one."""
        other_ours, other_theirs = socket.socketpair()
        self.addCleanup(other_ours.close)
        self.addCleanup(other_theirs.close)
        other = Watched(other_ours)
        self.watched.error = RuntimeError("broken")
        for watched, peer in ((self.watched, self.theirs), (other, other_theirs)):
            self.poller.addReader(watched)
            peer.send(b"x")
        self.assertEqual(self.turn(), ["read", "lost"])
        self.assertEqual(other.told, ["read"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_number_used_again(self) -> None:
        """What happened to a descriptor that was closed is not told to its number's next owner."""
        other_ours, other_theirs = socket.socketpair()
        self.addCleanup(other_theirs.close)
        fresh_ours, fresh_theirs = socket.socketpair()
        self.addCleanup(fresh_theirs.close)
        first, second = Watched(self.ours), Watched(other_ours)
        number = second.fileno()
        replaced: list[Watched] = []

        def replace(closed: Watched) -> None:
            self.poller.removeReader(closed)
            closed.sock.close()
            fresh = Watched(fresh_ours.dup() if fresh_ours.fileno() != number else fresh_ours)
            replaced.append(fresh)
            self.poller.addReader(fresh)

        for one, other in ((first, second), (second, first)):
            one.doRead = lambda other=other: replaced or replace(other)  # type: ignore[method-assign]
        self.poller.addReader(first)
        self.poller.addReader(second)
        self.theirs.send(b"x")
        other_theirs.send(b"x")
        self.poller.doRead()
        (fresh,) = replaced
        self.addCleanup(fresh.sock.close)
        self.addCleanup(fresh_ours.close)
        self.assertEqual(fresh.told, [])

    def test_soon(self) -> None:
        """What is to be written soon is written once the events at hand are delivered."""
        self.assertFalse(self.poller.soon(self.watched))
        other = Asking(self.theirs, self.poller, self.watched)
        for one in (other, self.watched):
            self.poller.addReader(one)
        self.ours.send(b"x")
        self.theirs.send(b"x")
        self.assertEqual(["read", "write"], self.turn())
        self.assertEqual([True], other.answers)
        self.assertFalse(self.poller.soon(self.watched))
        self.ours.recv(1)
        self.theirs.recv(1)
        self.assertEqual([], self.turn())

    def test_soon_fails(self) -> None:
        """An error then is its own connection's end, and nobody else's."""
        broken = Broken(self.theirs)
        self.poller.addReader(Asking(self.theirs, self.poller, broken, self.watched))
        self.ours.send(b"x")
        self.assertEqual(["write"], self.turn())
        self.assertEqual(["lost"], broken.told)
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    def crowd(self, size: int) -> list[Echo]:
        """Register so many descriptors, each with a byte to read."""
        crowd = []
        for _ in range(size):
            ours, theirs = socket.socketpair()
            self.addCleanup(ours.close)
            self.addCleanup(theirs.close)
            crowd.append(Echo(ours, theirs))
            self.poller.addReader(crowd[-1])
            theirs.send(b"x")
        return crowd

    def test_busy(self) -> None:
        """With much to do, what happens meanwhile is delivered in the same turn, up to a limit."""
        crowd = self.crowd(BUSY_EVENTS)
        self.poller.doRead()
        for one in crowd:
            self.assertEqual(["read"] * ROUNDS_PER_TURN, one.told)

    def test_very_busy(self) -> None:
        """However much there is to do, the reactor's other descriptors get their turn."""
        crowd = self.crowd(EVENTS_PER_TURN // 2 - 1)
        self.poller.doRead()
        self.assertEqual(EVENTS_PER_TURN, sum(len(one.told) for one in crowd))

    def test_not_busy(self) -> None:
        """With little to do, the reactor is asked for it."""
        crowd = self.crowd(BUSY_EVENTS - 1)
        self.poller.doRead()
        for one in crowd:
            self.assertEqual(["read"], one.told)

    def test_stop_when_busy(self) -> None:
        """It may be stopped by what it delivers."""
        crowd = self.crowd(BUSY_EVENTS)
        crowd[0].doRead = self.poller.stop  # type: ignore[method-assign]
        self.poller.doRead()
        self.assertEqual([], self.poller.getReaders())

    def test_stop(self) -> None:
        """It leaves the reactor, and forgets everyone."""
        self.poller.addReader(self.watched)
        self.poller.stop()
        self.poller.stop()
        self.assertEqual(self.reactor.getReaders(), [])
        self.assertEqual(self.poller.getReaders(), [])
