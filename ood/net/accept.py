"""Accepting connections where there are few of them: doors of apps, further ports."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

ACCEPTS_PER_TURN = 64
"""Connections taken in one turn of the reactor: others want theirs, too."""
PAUSE_SECONDS = 0.5
"""Without descriptors left the reactor would call again at once, and for ever."""

EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""Errors of the system's, not of one connection."""


@implementer(IReadDescriptor)
class Acceptor:
    """A listening socket on the reactor.

    :param sock: listens already; it belongs to the acceptor.
    :param accepted: called with each connection, which belongs to the callee.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        sock: socket.socket,
        accepted: Callable[[socket.socket], None],
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._sock = sock
        self._accepted = accepted
        self._pause: IDelayedCall | None = None
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    def logPrefix(self) -> str:
        """Return the name under which the reactor logs."""
        return "acceptor"

    def doRead(self) -> None:
        """Take what waits."""
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, _ = self._sock.accept()
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._reactor.removeReader(self)
                    self._pause = self._clock.callLater(PAUSE_SECONDS, self._resume)
                return
            self._accepted(sock)

    def _resume(self) -> None:
        self._pause = None
        self._reactor.addReader(self)

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - the reactor's signature
        """Close."""
        self.close()

    def close(self) -> None:
        """Accept no more."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._sock.fileno() >= 0:
            self._reactor.removeReader(self)
            self._sock.close()
