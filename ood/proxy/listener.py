"""Accepting connections."""

from __future__ import annotations

import errno
import os
import socket
from typing import Protocol, cast

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ood.clock import Seldom
from ood.net.listen import RawSocket
from ood.proxy import limits
from ood.proxy.context import Entry, Incoming

_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Receiver(Protocol):
    """Who takes connections that were accepted.

    :ivar entries: where connections come in, by local port.
    """

    entries: dict[int, Entry]

    def accepted(self, incoming: Incoming) -> None:
        """Take one."""


class _Accepting(Protocol):
    def _accept(self) -> tuple[int, tuple[str, int]]: ...


@implementer(IReadDescriptor)
class Listener:
    """A listening socket.

    :param receiver: takes its connections.
    :param ceiling: a connection whose descriptor is not below it is the last one for a
        while; descriptors are given out from the lowest, so it tells how many are in use.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        receiver: Receiver,
        sock: socket.socket,
        entry: Entry,
        *,
        ceiling: int,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._receiver = receiver
        self._sock = sock
        self._fd = sock.fileno()
        self._family = int(sock.family)
        self._pause: IDelayedCall | None = None
        self._ceiling = ceiling
        self._warning = Seldom(clock, limits.ACCEPT_WARNING_SECONDS)
        self.entry = entry

    def start(self) -> None:
        """Accept from now on."""
        self._receiver.entries[self.entry.port] = self.entry
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Accept no more, and close."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._reactor.removeReader(self)
        self._sock.close()
        self._receiver.entries.pop(self.entry.port, None)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def logPrefix(self) -> str:
        """Return the name under which the reactor logs."""
        return "Listener"

    def connectionLost(self, reason: Failure) -> None:
        """Log what the reactor found wrong with the socket: it accepts no more."""
        self._reactor.removeReader(self)
        self.log.error("port {port}: {reason}", port=self.entry.port, reason=reason.value)

    def doRead(self) -> None:
        """Accept a batch.

        The socket's own ``_accept`` gives a plain descriptor; a listening socket has a
        time-out of 0, and so has no accepted one: all calls on it say MSG_DONTWAIT.
        """
        accept = cast(_Accepting, self._sock)._accept
        accepted = self._receiver.accepted
        for _ in range(limits.ACCEPT_BATCH):
            try:
                descriptor, address = accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._accept_failed(error)
                return
            sock = RawSocket(self._family, socket.SOCK_STREAM, 0, descriptor)
            try:
                accepted(Incoming(sock, address[:2], self.entry))
            except Exception:  # the reactor would take the listening socket for broken
                self.log.failure("port {port}: a connection failed", port=self.entry.port)
                sock.close()
            if descriptor >= self._ceiling:
                self._rest("few descriptors are left")
                return

    def _accept_failed(self, error: OSError) -> None:
        """Pause when the system has no more descriptors; other errors concern one client."""
        if error.errno in _EXHAUSTED and self._pause is None:
            self._rest(os.strerror(error.errno))

    def _rest(self, why: str) -> None:
        """Accept nothing for a while; what comes waits in the kernel."""
        if self._warning.allows():
            self.log.warn(
                "port {port}: can't accept connections: {why}; raise the limit of open files",
                port=self.entry.port,
                why=why,
            )
        self._reactor.removeReader(self)
        self._pause = self._clock.callLater(limits.ACCEPT_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        if self._scarce():
            self._pause = self._clock.callLater(limits.ACCEPT_PAUSE_SECONDS, self._resume)
            return
        self._pause = None
        self._reactor.addReader(self)

    def _scarce(self) -> bool:
        """Return whether the next descriptor would be one of those that are kept back."""
        try:
            probe = os.dup(self._fd)
        except OSError:
            return True
        os.close(probe)
        return probe >= self._ceiling
