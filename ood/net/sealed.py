"""Sockets whose TLS the kernel does (kTLS): who holds one reads and writes plain text."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress

from ood.net.listen import RawSocket

SOL_TLS = 282
TLS_SET_RECORD_TYPE = 1
_ALERT = b"\x15"
_CLOSE_NOTIFY = b"\x01\x00"


class SealedSocket(RawSocket):
    """Such a socket.

    It is closed like any other: who gave it away must not tell the peer that all is over.
    """

    __slots__ = ()


def sealed(sock: RawSocket) -> SealedSocket:
    """Return the same connection as a :class:`SealedSocket`; ``sock`` is empty then."""
    family, kind, protocol = int(sock.family), int(sock.type), sock.proto
    return SealedSocket(family, kind, protocol, sock.detach())


def say_end(sock: RawSocket) -> None:
    """Tell the peer in TLS that nothing more will come (close_notify).

    :raises OSError: it can't be said now, or not any more.
    """
    record_type = (SOL_TLS, TLS_SET_RECORD_TYPE, _ALERT)
    sock.sendmsg([_CLOSE_NOTIFY], [record_type], socket.MSG_DONTWAIT)


class SealedEnd:
    """A :class:`SealedSocket` of whose connection this process is the end.

    What is no data (the peer's end, a warning, new keys) reads as an input/output error: it is
    the end, as far as anything can be read.
    """

    __slots__ = ("_mute", "_sock")

    def __init__(self, sock: RawSocket) -> None:
        self._sock = sock
        self._mute = False

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return up to ``size`` bytes; empty at the peer's end."""
        try:
            return self._sock.recv(size, flags)
        except OSError as error:
            if error.errno == errno.EIO:
                return b""
            raise

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """Send what the kernel takes of ``data``; return how much that was."""
        return self._sock.send(data, flags)

    def shutdown(self, how: int) -> None:
        """Tell the peer, in TLS and then in TCP, that no more will come."""
        self._say_end()
        self._sock.shutdown(how)

    def close(self) -> None:
        """Close; the peer learns that nothing is missing."""
        self._say_end()
        self._sock.close()

    def _say_end(self) -> None:
        if not self._mute:
            self._mute = True
            with suppress(OSError):  # the peer is gone, or reads nothing
                say_end(self._sock)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Set an option; a reset on close is not preceded by an orderly end."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self._mute = True
        self._sock.setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int, *size: int) -> int | bytes:
        """Return an option."""
        found: int | bytes = self._sock.getsockopt(level, option, *size)
        return found

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()
