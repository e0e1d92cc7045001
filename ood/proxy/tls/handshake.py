"""A connection on the HTTPS port until its first request has come."""

from __future__ import annotations

import enum
import socket
from typing import Protocol

import msgspec
from OpenSSL import SSL
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ood.net.sealed import sealed
from ood.proxy import limits
from ood.proxy.arrivals import HalfOpen
from ood.proxy.context import Context, Incoming
from ood.proxy.core.hello import (
    HANDSHAKE,
    HELLO_BYTES_MAX,
    Hello,
    HelloError,
    alert_record,
    read_hello,
)
from ood.proxy.tls import counters
from ood.proxy.tls.contexts import ACME, HTTP1
from ood.proxy.tls.counters import TlsCounters
from ood.proxy.tls.kernel import KernelHandshake, Support
from ood.proxy.tls.socket import RECORD_BYTES, TlsSocket, hold
from ood.proxy.tls.turns import Turns

_DONTWAIT = socket.MSG_DONTWAIT
_PEEK = socket.MSG_PEEK | _DONTWAIT
_NOTHING_AWAITED = "TLSv1.3"
"""Here a server's last messages are tickets for another time: no client waits for them."""


class Host(Protocol):
    """Who decides what becomes of connections.

    :ivar half_open: counts them until they have a request.
    :ivar turns: the line in which their handshakes wait.
    """

    context: Context
    half_open: HalfOpen
    turns: Turns
    counters: TlsCounters

    def greet(self, handshake: Handshake, hello: Hello) -> None:
        """Begin the handshake, or do something else with the connection."""

    def plain(self, incoming: Incoming, peeked: int) -> None:
        """Take a connection that brings no TLS."""

    def sealed(self, incoming: Incoming) -> None:
        """Take a connection whose TLS the kernel does from now on."""

    def speak(self, sock: TlsSocket, incoming: Incoming, data: bytes) -> None:
        """Take a connection with its first bytes."""

    def part(self, sock: TlsSocket) -> None:
        """Close later: the client can't be told now that nothing is missing."""


class _State(enum.Enum):
    HELLO = "its first message has not come in full"
    HANDSHAKE = "keys are being agreed on"
    READY = "it may send its first request"
    GONE = "it is somebody else's, or closed"


@implementer(IReadWriteDescriptor)
class Handshake:
    """One connection.

    :ivar incoming: the connection and where it came from.
    :ivar deadline: when it is given up.
    """

    __slots__ = (
        "_answered",
        "_connection",
        "_fd",
        "_held",
        "_host",
        "_kernel",
        "_peeked",
        "_sock",
        "_state",
        "_tls",
        "deadline",
        "incoming",
    )

    def __init__(self, host: Host, incoming: Incoming) -> None:
        self._host = host
        self._sock = incoming.sock
        self._fd = incoming.sock.fileno()
        self._state = _State.HELLO
        self._peeked = 0
        self._answered = False  # the client has our first message
        self._held = False  # what was written is held back in the kernel
        self._connection: SSL.Connection | None = None
        self._kernel: KernelHandshake | None = None
        self._tls: TlsSocket | None = None
        self.incoming = incoming
        self.deadline = host.context.live.now + limits.HANDSHAKE_SECONDS

    @property
    def address(self) -> str:
        """The client's address."""
        return self.incoming.address[0]

    def start(self) -> None:
        """Look at what is there already; it is counted from now on."""
        if not self._host.half_open.add(self):
            self._sock.close()
            return
        self._host.context.live.add(self)
        self._look()
        if self._state is _State.HELLO:  # most first messages are there already
            self._host.context.reactor.addReader(self)

    # The first message.

    def _look(self) -> None:
        try:
            data = self._sock.recv(HELLO_BYTES_MAX, _PEEK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if len(data) <= self._peeked:
            self._lose(counters.LOST)
        elif data[0] != HANDSHAKE:
            self._expect_more_than(0)
            self.release()
            self._host.plain(self.incoming, len(data))
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            hello = read_hello(data)
        except HelloError as error:
            self.refuse(error.alert, counters.MALFORMED)
            return
        if hello is None:
            self._expect_more_than(len(data))
        else:
            self._expect_more_than(0)
            self._host.greet(self, hello)

    def _expect_more_than(self, peeked: int) -> None:
        """Have the reactor call when more than that has come, not for what is there already."""
        if peeked != self._peeked:
            self._peeked = peeked
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, peeked + 1)

    def refuse(self, alert: int, why: str) -> None:
        """Answer the first message with an alert.

        It is read first: closing with unread bytes resets the connection, and the client
        would not see the alert.
        """
        try:
            self._sock.recv(HELLO_BYTES_MAX, _DONTWAIT)
            self._sock.send(alert_record(alert), _DONTWAIT)
        except OSError:
            pass  # it is gone
        self._lose(why)

    def release(self) -> None:
        """Let go of the connection: it is the caller's, and nothing of it was read."""
        context = self._host.context
        context.reactor.removeReader(self)
        context.reactor.removeWriter(self)
        context.live.discard(self)
        self._host.half_open.discard(self)
        self._state = _State.GONE

    # The handshake.

    def begin(self, settings: SSL.Context, kernel: Support | None = None) -> None:
        """Have OpenSSL do the handshake, which begins with the first message that was looked at.

        :param kernel: who is to go on afterwards, if it can.
        """
        if kernel is None:
            self._sock.setblocking(False)  # OpenSSL can't say MSG_DONTWAIT with each call
            self._connection = SSL.Connection(settings, self._sock)
            self._connection.set_accept_state()
        else:
            self._kernel = KernelHandshake(settings, self._sock, kernel)
            self._connection = self._kernel.connection
        self._state = _State.HANDSHAKE
        self._queue()

    def _queue(self) -> None:
        self._host.context.reactor.removeReader(self)
        self._host.context.reactor.removeWriter(self)
        self._host.turns.add(self)

    def step(self) -> None:
        """Go on as far as what has come allows."""
        connection = self._connection
        if self._state is not _State.HANDSHAKE or connection is None:
            return
        try:
            if self._kernel is None:
                self._shake(connection)
            else:
                self._kernel.step()
        except SSL.WantReadError:
            self._host.context.reactor.addReader(self)
        except SSL.WantWriteError:
            self._host.context.reactor.addWriter(self)
        except SSL.SysCallError:
            self._lose(counters.LOST)
        except SSL.Error:
            self._lose(counters.FAILED)  # OpenSSL has sent the alert
        else:
            version = connection.get_protocol_version_name()
            self._host.counters.handshakes[version] += 1
            if not self._seal(connection):
                self._agreed(connection, version)

    def _shake(self, connection: SSL.Connection) -> None:
        """Let OpenSSL go on; its last messages are to come together with the first answer."""
        if self._answered:
            self._hold(back=True)
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            self._answered = True
            self._hold(back=False)
            raise

    def _hold(self, *, back: bool) -> None:
        if self._held != back:
            self._held = back
            hold(self._sock, back=back)

    def _seal(self, connection: SSL.Connection) -> bool:
        """Let the kernel go on; return false if OpenSSL has to."""
        kernel, self._kernel = self._kernel, None
        if kernel is None:
            return False
        if connection.get_alpn_proto_negotiated() not in (b"", HTTP1):
            kernel.stay()
            return False
        try:
            if not kernel.install():
                return False
        except (OSError, SSL.Error):
            self._lose(counters.FAILED)
            return True
        self.release()
        self._host.counters.sealed += 1
        incoming = msgspec.structs.replace(self.incoming, sock=sealed(self._sock))
        self._host.sealed(incoming)
        return True

    def _agreed(self, connection: SSL.Connection, version: str) -> None:
        host = self._host
        if version != _NOTHING_AWAITED:
            self._hold(back=False)
        self._tls = TlsSocket(connection, self._sock, host.part, held=self._held)
        self._state = _State.READY
        if self._tls.protocol == ACME:
            self.reset()
            return
        self.deadline = host.context.live.now + limits.HEAD_DEADLINE_SECONDS
        self._first_bytes()

    def _first_bytes(self) -> None:
        tls = self._tls
        assert tls is not None
        try:
            data = tls.recv(RECORD_BYTES)
        except BlockingIOError:
            self._host.context.reactor.addReader(self)
            return
        except OSError:
            data = b""
        if data:
            self.release()
            self._host.speak(tls, self.incoming, data)
        else:
            self.reset()

    # The reactor's side.

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def logPrefix(self) -> str:
        """Return the name under which the reactor logs."""
        return "Handshake"

    def doRead(self) -> None:
        """Go on."""
        if self._state is _State.HELLO:
            self._look()
        elif self._state is _State.READY:
            self._first_bytes()
        else:
            self._queue()

    def doWrite(self) -> None:
        """Go on with the handshake."""
        self._queue()

    def connectionLost(self, _reason: Failure) -> None:
        """Take the reactor's word that the connection is lost."""
        self._lose(counters.LOST)

    def expired(self) -> None:
        """Give up."""
        if self._state is _State.READY:
            self.reset()
        else:
            self._lose(counters.LATE)

    def give_up(self) -> None:
        """Close: a step failed in a way that nobody thought of."""
        self._lose(counters.FAILED)

    def drain(self) -> None:
        """Close: it has not begun a request."""
        self.reset()

    def _lose(self, why: str) -> None:
        self._host.counters.refused[why] += 1
        self.reset()

    def reset(self) -> None:
        """Close, unless it is somebody else's."""
        if self._state is _State.GONE:
            return
        self.release()
        if self._tls is not None:
            self._tls.close()
        else:
            self._sock.close()
