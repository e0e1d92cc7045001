"""A client's connection that is cut off if too little of what it asked for is taken."""

from __future__ import annotations

import socket
import struct

from ood.net.listen import RawSocket
from ood.net.stream import Stream
from ood.proxy.context import Context
from ood.proxy.core.pace import Appetite

_ACKNOWLEDGED = struct.Struct("120xQ")
"""Where the kernel's ``struct tcp_info`` has the bytes that the peer acknowledged."""


class PacedStream(Stream):
    """Looks at how fast a client takes what waits for it.

    :ivar live: where deadlines are kept.
    :ivar deadline: when its ``expired`` is called.
    """

    __slots__ = ("_acknowledged", "_appetite", "_behind", "_context", "deadline", "live")

    def __init__(self, context: Context, sock: RawSocket, seconds: float) -> None:
        super().__init__(context.reactor, sock)
        self._context = context
        self._behind = False
        self._appetite: Appetite | None = None
        self._acknowledged = 0
        self.live = context.live
        self.deadline = self.live.now + seconds

    def backed_up(self) -> None:
        """Begin to look at how fast the client takes what it asked for."""
        self._behind = True
        if self._appetite is None:
            self._appetite = Appetite(self.live.now)
        self._look(self._appetite)
        self._appetite.begin(self.live.now)

    def keeps_up(self) -> bool:
        """Look, as some of the backlog was sent; false if the client takes it too slowly."""
        if not self.backlog:
            self._behind = False
        appetite = self._appetite
        if not self._behind or appetite is None or appetite.until > self.live.now:
            return True
        return not self.too_slow()

    def too_slow(self) -> bool:
        """Tell whether the client has taken too little for too long; else it gets more time.

        The kernel tells of room in its buffer only when much of it is free again, which
        with a slow client takes minutes: so it is asked what was acknowledged.  A program
        that reads slowly out of a large buffer is not heard of for minutes, either: what it
        took at once counts for that long.
        """
        if not self._behind or self._appetite is None:
            return True
        self._look(self._appetite)
        self.deadline = self._appetite.until
        return self.deadline <= self.live.now

    def _look(self, appetite: Appetite) -> None:
        before, self._acknowledged = self._acknowledged, self._count()
        appetite.took(self._acknowledged - before, self.live.now)

    def _count(self) -> int:
        try:
            info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size)
        except OSError:
            return self._acknowledged
        whole = len(info) == _ACKNOWLEDGED.size  # an old kernel tells less, another socket nothing
        return int(_ACKNOWLEDGED.unpack(info)[0]) if whole else self._acknowledged
