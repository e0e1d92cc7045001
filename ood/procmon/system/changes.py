"""Waiting for something to become true."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class Changes:
    """Tells coroutines that something may have changed, so that they look again.

    :ivar clock: by which they wait.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._waiters: list[Deferred[None]] = []

    def notify(self) -> None:
        """Make everyone who waits look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    async def until(
        self,
        true: Callable[[], bool],
        deadline: float,
        look_again_seconds: float | None = None,
    ) -> bool:
        """Wait until ``true()`` holds; return False if ``deadline`` comes before.

        :param look_again_seconds: for what nobody announces: look this often.
        """
        while not true():
            left = deadline - self.clock.seconds()
            if left <= 0:
                return False
            await self._wait(left if look_again_seconds is None else min(left, look_again_seconds))
        return True

    async def _wait(self, seconds: float) -> None:
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        timer = self.clock.callLater(seconds, self._wake, waiter)
        try:
            await waiter
        finally:
            if timer.active():
                timer.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _wake(self, waiter: Deferred[None]) -> None:
        self._waiters.remove(waiter)
        waiter.callback(None)
