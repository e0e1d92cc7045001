"""How much of each turn of the reactor handshakes may take.

A handshake costs as much as twenty requests.  A flood of them must not keep
connections that stand from being served: steps of handshakes wait in a line,
and between two looks at all other sockets only some are taken.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ood.agreement import Steps

TURN_SECONDS = 0.002
"""Handshakes stop for this turn once they took that long: requests then wait no longer for them
than they would for one another."""
STEPS_PER_TURN_MAX = 16
"""The same by number, whatever the clock says."""


class Turns:
    """A line of steps."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._line: deque[Steps] = deque()
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._line)

    def add(self, step: Steps) -> None:
        """Have ``step`` done when it is its turn."""
        self._line.append(step)
        if self._timer is None:
            self._timer = self._clock.callLater(0, self._turn)

    def stop(self) -> None:
        """Forget what waits."""
        self._line.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def hurry(self) -> None:
        """Do now what waits now."""
        for _ in range(len(self._line)):
            self._do(self._line.popleft())
        if not self._line:
            self.stop()

    def _turn(self) -> None:
        self._timer = None
        enough = self._clock.seconds() + TURN_SECONDS
        for _ in range(min(STEPS_PER_TURN_MAX, len(self._line))):
            self._do(self._line.popleft())
            if self._clock.seconds() >= enough:
                break
        if self._line and self._timer is None:
            self._timer = self._clock.callLater(0, self._turn)

    def _do(self, step: Steps) -> None:
        try:
            step.step()
        except Exception:  # the others must not wait for ever
            self.log.failure("a handshake failed")
            step.give_up()
