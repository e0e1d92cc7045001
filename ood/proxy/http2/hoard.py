"""What all clients of HTTP/2 together have us keep."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ood.clock import Seldom
from ood.proxy import limits


class Holder(Protocol):
    """A connection that keeps bytes."""

    def reset(self) -> None:
        """Close at once; it holds nothing then."""


class Hoard:
    """Keeps the sum below a limit: the connection that holds most has to go.

    HTTP/2 bounds each connection, and a client can have many.

    :param most: bytes of all connections.
    :ivar total: bytes that are held now.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, most: int = limits.HELD_BYTES_MAX) -> None:
        self._most = most
        self._held: dict[Holder, int] = {}
        self._warning = Seldom(clock, limits.HELD_WARNING_SECONDS)
        self.total = 0

    def holds(self, holder: Holder, size: int) -> None:
        """Learn how much ``holder`` keeps now; it may be reset by that."""
        self.total += size - self._held.get(holder, 0)
        if size:
            self._held[holder] = size
        else:
            self._held.pop(holder, None)
        while self.total > self._most:
            self._relieve()

    def _relieve(self) -> None:
        greatest = max(self._held, key=self._held.__getitem__)
        size = self._held[greatest]
        if self._warning.allows():
            self.log.warn(
                "clients of HTTP/2 have {total} bytes kept for them: the one with most of it, "
                "{size}, is cut off",
                total=self.total,
                size=size,
            )
        greatest.reset()
        self.total -= self._held.pop(greatest, 0)  # even if it failed to say so
