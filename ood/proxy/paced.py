"""A client's connection that is cut off if too little of what it asked for is taken."""

from __future__ import annotations

from ood.net.listen import RawSocket
from ood.net.stream import Stream
from ood.proxy.context import Context
from ood.proxy.core.pace import Pace


class PacedStream(Stream):
    """Looks at how fast a client takes what waits for it.

    :ivar live: where deadlines are kept.
    :ivar deadline: when its ``expired`` is called.
    """

    __slots__ = ("_context", "_delivered", "_pace", "deadline", "live")

    def __init__(self, context: Context, sock: RawSocket, seconds: float) -> None:
        super().__init__(context.reactor, sock)
        self._context = context
        self._pace: Pace | None = None
        self._delivered = 0
        self.live = context.live
        self.deadline = self.live.now + seconds

    def backed_up(self) -> None:
        """Begin to look at how fast the client takes what it asked for."""
        self._pace = Pace(self.live.now)
        self._delivered = self.queued_bytes - self.undelivered()

    def keeps_up(self) -> bool:
        """Look, as some of the backlog was sent; false if the client takes it too slowly."""
        pace = self._pace
        if not self.backlog:
            self._pace = None
            return True
        return pace is None or pace.until > self.live.now or not self.too_slow()

    def too_slow(self) -> bool:
        """Tell whether the client's backlog has shrunk too little; else it gets more time.

        The kernel tells of room in its buffer only when much of it is free again, which
        with a slow client takes minutes: so it is asked what was acknowledged.
        """
        if self._pace is None:
            return True
        before, self._delivered = self._delivered, self.queued_bytes - self.undelivered()
        if self._pace.slow(self._delivered - before, self.live.now):
            return True
        self.deadline = self._pace.until
        return False
