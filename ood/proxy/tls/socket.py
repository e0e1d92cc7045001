"""A TLS connection with the methods of a socket.

OpenSSL reads and writes the descriptor itself; nothing is copied through
Python in between.  Whoever runs on a plain socket runs on this one: what would
block raises BlockingIOError, what is broken another OSError, and the peer's end
is an empty read.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import cast

from OpenSSL import SSL

from ood.net.listen import RawSocket
from ood.net.stream import WriteFirstError
from ood.proxy.core.trust import OPENSSL

RECORD_BYTES = 16_384
"""A record has no more: one read takes one whole, so that none is left where no reactor sees it."""

_PEEK = int(socket.MSG_PEEK)  # the enumeration's own operators take a microsecond
_MORE = int(socket.MSG_MORE)

# pyOpenSSL's own methods to read and write take as long again as OpenSSL: they allocate a buffer,
# and ask for an error, each time.  What is not well is left to them.
_library = SSL._lib  # type: ignore[attr-defined]
_ffi = SSL._ffi  # type: ignore[attr-defined]
_OPENED = _ffi.new("unsigned char[]", RECORD_BYTES)
"""What was read last, by whichever connection."""


def hold(sock: RawSocket, *, back: bool) -> None:
    """Have the kernel hold back what fills no packet, or send what it has.

    It holds nothing back for longer than 0.2 s.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, back)


class TlsSocket:
    """A TLS connection whose handshake is done.

    :param connection: OpenSSL's, on ``sock``.
    :param unsaid: called instead of closing when the end can't be told to the peer yet,
        because the kernel takes nothing; it calls :meth:`try_to_end` and :meth:`abandon`.
    :param held: the kernel holds back what was written so far: see :func:`hold`.
    :ivar protocol: what both sides agreed to speak (ALPN); empty if that was left open.
    """

    __slots__ = (
        "_connection",
        "_fd",
        "_held",
        "_mute",
        "_partial",
        "_sock",
        "_ssl",
        "_unsaid",
        "protocol",
    )

    def __init__(
        self,
        connection: SSL.Connection,
        sock: RawSocket,
        unsaid: Callable[[TlsSocket], None],
        *,
        held: bool = False,
    ) -> None:
        self._connection = connection
        self._ssl = connection._ssl
        self._held = held
        self._sock = sock
        self._fd = sock.fileno()
        self._unsaid = unsaid
        self._partial = False  # OpenSSL holds a record of which the kernel took only a part
        self._mute = False  # nothing more may be said: it was said, or the connection is broken
        self.protocol: bytes = connection.get_alpn_proto_negotiated()

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return up to ``size`` bytes; empty at the peer's end.

        :raises WriteFirstError: OpenSSL owes the peer an answer that the kernel does not take.
        """
        size = min(size, RECORD_BYTES)
        try:
            if flags & _PEEK:
                return self._connection.recv(size, flags)
            read = _library.SSL_read(self._ssl, _OPENED, size)
            if read > 0:
                return cast(bytes, _ffi.buffer(_OPENED, read)[:])
            self._connection._raise_ssl_error(self._ssl, read)
            return b""  # not reached
        except SSL.WantReadError:
            raise BlockingIOError(errno.EAGAIN, "no record has come") from None
        except SSL.WantWriteError:
            raise WriteFirstError(errno.EAGAIN, "an answer has to be sent first") from None
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as error:
            raise self._broken(error) from None

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """Send what the kernel takes of ``data``; return how much that was.

        :param flags: with ``MSG_MORE`` the end is to come in the same packet.
        """
        more = bool(flags & _MORE)
        if more and not self._held:
            self._hold(back=True)
        sent = self._send_records(data)
        if self._held and not more:
            self._hold(back=False)
        return sent

    def _hold(self, *, back: bool) -> None:
        hold(self._sock, back=back)
        self._held = back

    def _send_records(self, data: bytes | memoryview) -> int:
        size = len(data)
        if size <= RECORD_BYTES:
            return self._send_record(data)
        rest, sent = memoryview(data), 0
        while sent < size:
            try:
                sent += self._send_record(rest[sent : sent + RECORD_BYTES])
            except BlockingIOError:
                if sent:
                    break
                raise
        return sent

    def _send_record(self, data: bytes | memoryview) -> int:
        try:
            sent: int = _library.SSL_write(self._ssl, _ffi.from_buffer(data), len(data))
            if sent <= 0:
                self._connection._raise_ssl_error(self._ssl, sent)
        except SSL.WantWriteError:
            self._partial = True
            raise BlockingIOError(errno.EAGAIN, "the kernel takes no more") from None
        except SSL.Error as error:
            raise self._broken(error) from None
        self._partial = False
        return sent

    def _broken(self, error: SSL.Error) -> OSError:
        """Return what the error is for whoever runs on sockets."""
        self._mute = True
        if isinstance(error, SSL.SysCallError) and error.args[0] > 0:
            return OSError(error.args[0], os.strerror(error.args[0]))
        return OSError(errno.EPROTO, f"{OPENSSL}{explain(error)}")

    def shutdown(self, how: int) -> None:
        """Tell the peer, in TLS and then in TCP, that no more will come.

        :raises BlockingIOError: the kernel takes nothing now; it has to be done again.
        """
        if not self._mute and how != socket.SHUT_RD:
            self._say_end()
        self._sock.shutdown(how)

    def _say_end(self) -> None:
        try:
            self._connection.shutdown()
        except SSL.WantWriteError:
            raise BlockingIOError(errno.EAGAIN, "the kernel takes no more") from None
        except SSL.Error:
            pass  # the peer is gone, and will not miss it
        self._mute = True

    def close(self) -> None:
        """Close; the peer learns that nothing is missing, if that is so, if need be later."""
        if self._mute or self._partial:
            self._sock.close()
            return
        try:
            self._say_end()
        except BlockingIOError:
            self._unsaid(self)
        else:
            self._sock.close()

    def try_to_end(self) -> bool:
        """Say the end, and close; false if the kernel still takes nothing."""
        try:
            self._say_end()
        except BlockingIOError:
            return False
        self._sock.close()
        return True

    def abandon(self) -> None:
        """Close so that the peer sees that something is missing."""
        self._mute = True
        self._sock.close()

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Set an option of the socket below.

        A reset on close is not preceded by the orderly end of TLS: it is there to show
        that something is missing.
        """
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self._mute = True
        self._sock.setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int, *size: int) -> int | bytes:
        """Return an option of the socket below."""
        found: int | bytes = self._sock.getsockopt(level, option, *size)
        return found

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def getpeername(self) -> tuple[str, int]:
        """Return the peer's address."""
        address = self._sock.getpeername()
        return address[0], address[1]

    def getsockname(self) -> tuple[str, int]:
        """Return the address here."""
        address = self._sock.getsockname()
        return address[0], address[1]


def explain(error: SSL.Error) -> str:
    """Return OpenSSL's reason, in its own words."""
    if isinstance(error, SSL.SysCallError):
        return str(error.args[1]) if len(error.args) > 1 else "the connection broke"
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return str(reasons[-1][-1]) if reasons else "unknown error"
