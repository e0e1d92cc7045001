"""Everything that holds a socket: swept for deadlines, waited for at the end.

One coarse timer for all instead of a delayed call for each: setting a deadline
is one assignment, and it is kept to within a tick.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

TICK_SECONDS = 0.5
"""Deadlines are this exact; a sweep costs 0.1 us for each connection."""
NEVER = math.inf
"""The deadline of what may take any time."""


class Member(Protocol):
    """Something with a socket.

    :ivar deadline: by :attr:`Live.now`, when :meth:`expired` is to be called.
    """

    deadline: float

    def expired(self) -> None:
        """Act on the deadline: set another one, or close."""

    def drain(self) -> None:
        """End as soon as what is under way is done; take nothing new."""

    def reset(self) -> None:
        """Close at once."""


class Live:
    """The set of members, and the time as of the last tick.

    :param each_tick: is called at each tick, at the last one before nothing ticks, too.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, each_tick: Callable[[], None] | None = None) -> None:
        self._clock = clock
        self._each_tick = each_tick
        self._members: set[Member] = set()
        self._timer: IDelayedCall | None = None
        self._empty: Deferred[None] | None = None
        self._now = clock.seconds()

    @property
    def now(self) -> float:
        """Seconds on the clock, at most one tick old."""
        if self._timer is None:  # without members nothing ticks
            self._now = self._clock.seconds()
        return self._now

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: Member) -> None:
        """Sweep ``member`` from now on."""
        self._members.add(member)
        if self._timer is None:
            self._now = self._clock.seconds()
            self._timer = self._clock.callLater(TICK_SECONDS, self._tick)

    def discard(self, member: Member) -> None:
        """Forget ``member``, whose socket is gone."""
        self._members.discard(member)
        if not self._members and self._empty is not None:
            self._stop_timer()
            waiting, self._empty = self._empty, None
            waiting.callback(None)

    def drain(self) -> Deferred[None]:
        """Tell all members to end; fire when none is left."""
        for member in list(self._members):
            member.drain()
        self._empty = Deferred()
        waiting = self._empty
        if not self._members:
            self._stop_timer()
            self._empty = None
            waiting.callback(None)
        return waiting

    def reset(self) -> None:
        """Close all members at once."""
        for member in list(self._members):
            member.reset()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        self._now = now = self._clock.seconds()
        if self._each_tick is not None:
            self._each_tick()
        for member in [one for one in self._members if one.deadline <= now]:
            if member in self._members:
                self._expire(member)
        if self._members:
            self._timer = self._clock.callLater(TICK_SECONDS, self._tick)

    def _expire(self, member: Member) -> None:
        try:
            member.expired()
        except Exception:
            self.log.failure("{member} failed at its deadline", member=member)
            member.reset()
