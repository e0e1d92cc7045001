"""Processes that have no file descriptor left for a connection that was handed to them.

The kernel drops a descriptor that can't be received and delivers the bytes that came with
it; so the process can tell that it lost one, and ood still has its own copy.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ood.clock import Seldom

REST_SECONDS = 1.0
"""A process that had no descriptor gets nothing for so long: some connections end meanwhile."""
REMARK_SECONDS = 60.0
"""An app that leaks descriptors is short of them for good; its log tells of it this often."""


class Owner(Protocol):
    """The worker that such a process belongs to."""

    def member_changed(self) -> None:
        """A member takes connections, or does not, unlike before."""

    def remark(self, text: str) -> None:
        """Tell the person who reads the app's log."""


class Descriptors:
    """Whether one process has descriptors for connections.

    :ivar lacking: it had none a moment ago.
    :ivar dropped: how many connections it could not receive.
    """

    def __init__(self, clock: IReactorTime, owner: Owner, instance: int) -> None:
        self._clock = clock
        self._owner = owner
        self._instance = instance
        self._remarks = Seldom(clock, REMARK_SECONDS)
        self._rest: IDelayedCall | None = None
        self.dropped = 0

    @property
    def lacking(self) -> bool:
        """Whether it is to be left alone."""
        return self._rest is not None

    def lacked(self) -> None:
        """Note that a connection could not be received: others get it, and the next ones."""
        self.dropped += 1
        if self._rest is not None:
            return
        self._rest = self._clock.callLater(REST_SECONDS, self._rested)
        if self._remarks.allows():
            self._owner.remark(
                f"worker {self._instance} has no file descriptor left for connections: others get "
                "them; see what it does not close, or raise its limit of open files (ulimit -n)"
            )
        self._owner.member_changed()

    def _rested(self) -> None:
        self._rest = None
        self._owner.member_changed()

    def close(self) -> None:
        """Have nothing more to do with it."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
