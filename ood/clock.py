"""Time: a monotonic clock for durations, wall-clock time for stamps.

``reactor.seconds()`` is wall-clock time: it jumps when an administrator or NTP
sets the clock.  Everything in ood that measures a duration takes an
:class:`~twisted.internet.interfaces.IReactorTime` and is given a
:class:`MonotonicClock` by the composition root, or a
:class:`twisted.internet.task.Clock` by a test.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer


@implementer(IReactorTime)
class MonotonicClock:
    """The reactor's timers with ``seconds()`` from the monotonic clock.

    A delayed call's ``getTime()`` is still in the reactor's own time; use
    ``seconds()`` of this object for everything that is compared.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor

    def seconds(self) -> float:
        """Return seconds since an arbitrary point; it never goes back."""
        return time.monotonic()

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> IDelayedCall:
        """Call ``callable`` after ``delay`` seconds."""
        return self._reactor.callLater(delay, callable, *args, **kwargs)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """Return the reactor's pending calls."""
        return self._reactor.getDelayedCalls()


class Seldom:
    """Lets something that may repeat at any rate, such as a warning, through now and then.

    :ivar missed: how often it was not let through since the last time it was.
    """

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._next: float | None = None
        self.missed = 0

    def allows(self) -> bool:
        """Return whether it may happen now; if so, not again before the seconds are over."""
        now = self._clock.seconds()
        if self._next is not None and now < self._next:
            self.missed += 1
            return False
        self._next = now + self._seconds
        self.missed = 0
        return True


def wall_time() -> datetime:
    """Return the present in UTC, for stamps that people read."""
    return datetime.now(timezone.utc)


def stamp(moment: datetime) -> str:
    """Return ``moment`` as RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
