"""A listening socket on the reactor, for connections that are given away as they are."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

BACKLOG_CONNECTIONS = 511
"""Connections that wait in the kernel: as many as Node itself would let wait."""
ACCEPTS_PER_TURN = 64
"""Connections taken before others get their turn."""
PAUSE_SECONDS = 0.5
"""Without descriptors left the reactor would call again at once, and for ever."""
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


@implementer(IReadDescriptor)
class Acceptor:
    """Accepts connections on a bound socket and gives each away.

    :param sock: a bound stream socket; it is the acceptor's from now on.
    :param accepted: takes each connection.
    :param name: what the reactor calls this in its log.
    :raises OSError: the socket can't listen; it is closed then.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        sock: socket.socket,
        accepted: Callable[[socket.socket], object],
        name: str,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._pause: IDelayedCall | None = None
        self._sock = sock
        self._accepted = accepted
        self._name = name
        try:
            sock.setblocking(False)
            sock.listen(BACKLOG_CONNECTIONS)
        except OSError:
            sock.close()
            raise
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return the descriptor the reactor watches."""
        return self._sock.fileno()

    def logPrefix(self) -> str:
        """Return what the reactor calls this in its log."""
        return self._name

    def doRead(self) -> None:
        """Accept; called by the reactor."""
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, _ = self._sock.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._reactor.removeReader(self)
                    self._pause = self._clock.callLater(PAUSE_SECONDS, self._resume)
                return
            self._accepted(sock)

    def _resume(self) -> None:
        self._pause = None
        self._reactor.addReader(self)

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - the reactor's signature
        """Close; called by the reactor when the descriptor failed."""
        self.close()

    def close(self) -> None:
        """Accept no more."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._sock.fileno() >= 0:
            self._reactor.removeReader(self)
            self._sock.close()
