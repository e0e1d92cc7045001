"""Accepting, also when the system has nothing left to give."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.net.accept import PAUSE_SECONDS, Acceptor


class Full(socket.socket):
    """A listening socket of a process that may open no more files."""

    def accept(self) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")


class AcceptorTests(SynchronousTestCase):
    """A listening socket on the reactor, which is a set of readers here."""

    def setUp(self) -> None:
        self.readers: set[Any] = set()
        self.addReader = self.readers.add
        self.removeReader = self.readers.discard
        self.clock = Clock()
        self.accepted: list[socket.socket] = []

    def acceptor(self, sock: socket.socket) -> Acceptor:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        reactor: Any = self
        return Acceptor(reactor, self.clock, sock, self.accepted.append)

    def test_connections_are_given(self) -> None:
        """All that wait are taken in one turn."""
        listening = socket.socket()
        acceptor = self.acceptor(listening)
        self.addCleanup(acceptor.close)
        clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]
        acceptor.doRead()
        for sock in (*clients, *self.accepted):
            sock.close()
        self.assertEqual(len(self.accepted), 3)
        self.assertEqual(self.readers, {acceptor})

    def test_no_descriptors_left(self) -> None:
        """It pauses: a level-triggered reactor would spin; and is read again later."""
        acceptor = self.acceptor(Full())
        acceptor.doRead()
        self.assertEqual(self.readers, set())
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(self.readers, {acceptor})
        acceptor.doRead()
        acceptor.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.readers, set())
