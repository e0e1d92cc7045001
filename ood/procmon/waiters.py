"""Those who wait for an app: until it is as wanted, or until it can take requests."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ood.errors import UnavailableError, WorkerError
from ood.model.document import App
from ood.procmon.members.roster import Roster
from ood.procmon.workers.slot import Slot

AVAILABLE_SECONDS = 10.0
"""How long a request may wait for a worker: a client's patience, and most apps' start."""
AVAILABLE_WAITERS_MAX = 1024
"""Requests that may wait at once for one app: each holds a connection."""


class Waited(Protocol):
    """The app that is waited for."""

    name: str
    app: App
    roster: Roster
    slots: dict[int, Slot]
    failure: WorkerError | None

    @property
    def settled(self) -> bool:
        """Whether everything is as wanted."""


class Waiters:
    """Everyone who waits for one app."""

    def __init__(self, clock: IReactorTime, app: Waited) -> None:
        self._clock = clock
        self._app = app
        self._settled: list[Deferred[None]] = []
        self._available: dict[Deferred[None], IDelayedCall] = {}

    def when_settled(self) -> Deferred[None]:
        """Fire when everything is as wanted, fail when a new worker can't come up."""
        waiter: Deferred[None] = Deferred(self._settled.remove)
        self._settled.append(waiter)
        if not self._app.settled and self._app.failure is not None:
            self.fail(self._app.failure)
        else:
            self.look()
        return waiter

    def when_available(self) -> Deferred[None]:
        """Fire when a worker can take requests."""
        waiter: Deferred[None] = Deferred(self._forget)
        obstacle = self._hopeless()
        if obstacle is None and len(self._available) >= AVAILABLE_WAITERS_MAX:
            obstacle = f"too many requests wait for {self._app.name}"
        if self._app.roster.streams:
            waiter.callback(None)
        elif obstacle is not None:
            waiter.errback(UnavailableError(obstacle, f"see: ood status {self._app.name}"))
        else:
            timer = self._clock.callLater(AVAILABLE_SECONDS, self._timed_out, waiter)
            self._available[waiter] = timer
        return waiter

    def _hopeless(self) -> str | None:
        """Return why it makes no sense to wait."""
        name, slots = self._app.name, self._app.slots.values()
        if not self._app.app.running:
            return f"{name} is stopped"
        if slots and all(slot.state in ("errored", "stopped") for slot in slots):
            worst = next(iter(slots))
            return f"{name} does not come up: its worker {worst.reason}"
        return None

    def look(self) -> None:
        """Something has changed: see for whom it is time."""
        if self._app.roster.streams:
            for waiter in list(self._available):
                self._forget(waiter)
                waiter.callback(None)
        elif self._available:
            self._give_up()
        if self._app.settled:
            waiters, self._settled = self._settled, []
            for waiter in waiters:
                waiter.callback(None)

    def _give_up(self) -> None:
        obstacle = self._hopeless()
        for waiter in list(self._available) if obstacle is not None else ():
            self._forget(waiter)
            waiter.errback(UnavailableError(str(obstacle)))

    def fail(self, error: WorkerError) -> None:
        """A worker that was to come up can't."""
        waiters, self._settled = self._settled, []
        for waiter in waiters:
            waiter.errback(error)

    def _forget(self, waiter: Deferred[None]) -> None:
        timer = self._available.pop(waiter, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _timed_out(self, waiter: Deferred[None]) -> None:
        self._available.pop(waiter, None)
        error = f"{self._app.name} has no worker that answers"
        waiter.errback(UnavailableError(error, f"see: ood status {self._app.name}"))
