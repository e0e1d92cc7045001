"""Client connections whose next request has not come in full: parked, not read.

The socket's bytes stay in the kernel, so that it can still be handed to a
worker.  A level-triggered reactor would call us for them again and again; the
low-water mark (``SO_RCVLOWAT``) says how many more than now we wait for.
"""

from __future__ import annotations

import socket
from collections import Counter
from typing import Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ood.proxy import limits
from ood.proxy.context import Context, Incoming
from ood.proxy.core.grammar import HEAD_BYTES_MAX, MalformedError
from ood.proxy.core.head import Preface, classify
from ood.proxy.core.request import Request

Head = Request | Preface | MalformedError
"""What a connection's first bytes are."""

_PEEK = socket.MSG_PEEK | socket.MSG_DONTWAIT


def look(context: Context, data: bytes) -> Head:
    """Tell what ``data`` begins; what is to be refused is returned as the error."""
    context.live.wake()  # a head that is handed off at once is to be forgotten, too
    try:
        return classify(data, context.heads.request)
    except MalformedError as error:
        return error


class Taker(Protocol):
    """Who takes a connection as soon as it is clear what it brings."""

    def take(self, incoming: Incoming, head: Head, peeked: int) -> None:
        """Take the connection.

        :param head: what its first bytes are, or why they are to be refused.
        :param peeked: how many unread bytes have been looked at.
        """


class Newcomer(Protocol):
    """A connection without a complete request."""

    @property
    def address(self) -> str:
        """The client's address."""

    def reset(self) -> None:
        """Close."""


class HalfOpen:
    """Counts connections without a complete request, per client address and overall."""

    def __init__(self) -> None:
        self._arrivals: dict[Newcomer, None] = {}
        self._per_client: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._arrivals)

    def add(self, arrival: Newcomer) -> bool:
        """Count ``arrival``; false if its client has too many.  The oldest one makes room."""
        address = arrival.address
        if self._per_client[address] >= limits.HALF_OPEN_PER_CLIENT_MAX:
            return False
        if len(self._arrivals) >= limits.HALF_OPEN_MAX:
            next(iter(self._arrivals)).reset()
        self._arrivals[arrival] = None
        self._per_client[address] += 1
        return True

    def discard(self, arrival: Newcomer) -> None:
        """Count ``arrival`` no more."""
        if arrival in self._arrivals:
            del self._arrivals[arrival]
            address = arrival.address
            self._per_client[address] -= 1
            if not self._per_client[address]:
                del self._per_client[address]


@implementer(IReadDescriptor)
class Arrival:
    """A parked connection.

    :ivar deadline: when it is given up.
    """

    __slots__ = ("_context", "_fd", "_half_open", "_incoming", "_peeked", "_taker", "deadline")

    def __init__(
        self, context: Context, half_open: HalfOpen, taker: Taker, incoming: Incoming
    ) -> None:
        self._context = context
        self._half_open = half_open
        self._taker = taker
        self._incoming = incoming
        self._fd = incoming.sock.fileno()
        self._peeked = 0
        self.deadline = context.live.now + limits.HEAD_DEADLINE_SECONDS

    @property
    def address(self) -> str:
        """The client's address."""
        return self._incoming.address[0]

    def wait(self, peeked: int) -> None:
        """Wait for a new connection's head, of which ``peeked`` bytes are there."""
        if self._half_open.add(self):
            self._park()
            self._expect_more_than(peeked)
        else:
            self._incoming.sock.close()

    def wait_idle(self) -> None:
        """Wait for a kept-alive connection's next request."""
        self.deadline = self._context.live.now + limits.KEEP_ALIVE_IDLE_SECONDS
        self._park()

    def _park(self) -> None:
        self._context.live.add(self)
        self._context.reactor.addReader(self)

    def _expect_more_than(self, peeked: int) -> None:
        if peeked != self._peeked:
            self._peeked = peeked
            self._incoming.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, peeked + 1)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def logPrefix(self) -> str:
        """Return the name under which the reactor logs."""
        return "Arrival"

    def doRead(self) -> None:
        """Look at what is there now."""
        data = self._peek()
        if data is not None:
            self._looked(data)

    def _peek(self) -> bytes | None:
        """Return the unread bytes if there are more than before; close if there will be none."""
        try:
            data = self._incoming.sock.recv(HEAD_BYTES_MAX, _PEEK)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if len(data) <= self._peeked:
            # woken without what was waited for: the client ended or reset its side
            self.reset()
            return None
        return data

    def _looked(self, data: bytes) -> None:
        head = look(self._context, data)
        if head is not Preface.INCOMPLETE or self._incoming.entry.scheme == b"https":
            self._give(head, len(data))
        elif self._peeked or self._begin_head():
            self._expect_more_than(len(data))

    def _begin_head(self) -> bool:
        """Count a connection whose first bytes came, like a new one; false if it was closed."""
        self.deadline = self._context.live.now + limits.HEAD_DEADLINE_SECONDS
        if self._half_open.add(self):
            return True
        self.reset()
        return False

    def _give(self, head: Head, peeked: int) -> None:
        self._leave()
        self._expect_more_than(0)
        self._taker.take(self._incoming, head, peeked)

    def connectionLost(self, _reason: Failure) -> None:
        """Take the reactor's word that the connection is lost."""
        self.reset()

    def _leave(self) -> None:
        self._context.reactor.removeReader(self)
        self._context.live.discard(self)
        self._half_open.discard(self)

    def expired(self) -> None:
        """Tell a client that began a request that it was too slow; drop a silent one."""
        if self._peeked:
            late = MalformedError(408, "its head did not come in time")
            self._give(late, self._peeked)
        else:
            self.reset()

    def drain(self) -> None:
        """Close what has not begun a request."""
        if not self._peeked:
            self.reset()

    def reset(self) -> None:
        """Close."""
        self._leave()
        self._incoming.sock.close()
