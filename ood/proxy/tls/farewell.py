"""Ends that could not be said at once."""

from __future__ import annotations

from twisted.internet.interfaces import IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ood.proxy import limits
from ood.proxy.context import Context
from ood.proxy.tls.socket import TlsSocket


@implementer(IWriteDescriptor)
class Farewell:
    """A TLS connection that is to be closed when its client has read enough to be told.

    The kernel delivers a plain connection's last bytes after it is closed; that of TLS's
    end is still to be written.

    :ivar deadline: when it is closed in any case.
    """

    __slots__ = ("_context", "_sock", "deadline")

    def __init__(self, context: Context, sock: TlsSocket) -> None:
        self._context = context
        self._sock = sock
        self.deadline = context.live.now + limits.BODY_IDLE_SECONDS

    def start(self) -> None:
        """Wait for the kernel to take something."""
        self._context.live.add(self)
        self._context.reactor.addWriter(self)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    def logPrefix(self) -> str:
        """Return the name under which the reactor logs."""
        return "Farewell"

    def doWrite(self) -> None:
        """Try again."""
        self._context.reactor.removeWriter(self)
        if self._sock.try_to_end():
            self._context.live.discard(self)
        else:
            self._context.reactor.addWriter(self)

    def connectionLost(self, _reason: Failure) -> None:
        """Take the reactor's word that the connection is lost."""
        self.reset()

    def expired(self) -> None:
        """Close: the client does not read."""
        self.reset()

    def drain(self) -> None:
        """Go on: the client gets its end."""

    def reset(self) -> None:
        """Close at once."""
        self._context.reactor.removeWriter(self)
        self._context.live.discard(self)
        self._sock.abandon()
