"""A rolling restart: a new worker answers before an old one drains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from ood.errors import OodError, WorkerError
from ood.model.document import App
from ood.procmon.changes import Changes
from ood.procmon.context import Context
from ood.procmon.core.restart import History
from ood.procmon.slot import Slot
from ood.procmon.worker import WorkerProcess

OLD_GONE_SECONDS = 5.0
"""How long the next step waits for the old worker to go, so that memory for one is enough."""
START_SLACK_SECONDS = 5.0
"""How much longer than listenTimeout a start is waited for: the worker itself says it first."""


class Rolled(Protocol):
    """The app that is restarted."""

    name: str
    app: App
    context: Context
    slots: dict[int, Slot]
    leaving: set[WorkerProcess]
    changes: Changes
    fresh: WorkerProcess | None
    fresh_failure: WorkerError | None
    failure: WorkerError | None

    @property
    def serial(self) -> int:
        """The number of the last worker that was started."""

    def launch(self, instance: int) -> WorkerProcess:
        """Start a worker."""

    def fill(self, slot: Slot) -> None:
        """Start a worker in a slot."""

    def retire(self, worker: WorkerProcess) -> None:
        """End a worker gently."""

    def drop_fresh(self, why: str) -> None:
        """End the new worker."""


class Rolls:
    """The rolling restarts of one app, one at a time.

    A second request joins the first, unless the settings changed in between: then
    another one follows.
    """

    def __init__(self, app: Rolled) -> None:
        self._app = app
        self._waiters: dict[Deferred[None], App] = {}
        self._running = False

    def request(self) -> Deferred[None]:
        """Restart every worker that runs now."""
        waiter: Deferred[None] = Deferred(self._forget)
        self._waiters[waiter] = self._app.app
        if not self._running:
            self._app.context.background.run(f"restarting {self._app.name}", self._run())
        return waiter

    def _forget(self, waiter: Deferred[None]) -> None:
        self._waiters.pop(waiter, None)

    async def _run(self) -> None:
        self._running = True
        try:
            while self._waiters:
                await self._once()
        finally:
            self._running = False

    async def _once(self) -> None:
        """Restart; tell everyone who asked for it with the settings of now."""
        settings, first = self._app.app, set(self._waiters)
        error: OodError | None = WorkerError(f"{self._app.name}: the restart was cut short")
        try:
            await self._roll()
            error = None
        except OodError as reason:
            error = reason
        finally:
            asked = self._waiters.items()
            waiters = [one for one, wish in asked if one in first or wish == settings]
            for waiter in waiters:
                self._forget(waiter)
            for waiter in waiters:
                if error is None:
                    waiter.callback(None)
                else:
                    waiter.errback(error)

    async def _roll(self) -> None:
        before = self._app.serial
        for instance in sorted(self._app.slots):
            slot = self._app.slots.get(instance)
            if slot is None or (slot.online and slot.worker and slot.worker.serial > before):
                continue
            if slot.online:
                await self._replace(slot)
            else:
                await self._start(slot)

    async def _replace(self, slot: Slot) -> None:
        """Put a new worker into ``slot`` whose old one answers."""
        app = self._app
        app.fresh_failure = None
        app.fresh = app.launch(slot.instance)
        try:
            await self._until(self._fresh_decided)
        except BaseException:
            app.drop_fresh("the restart was cut short")
            raise
        fresh = self._online_fresh()
        if fresh is None:
            app.drop_fresh("the new worker does not answer")
            raise self._why_not()
        app.fresh = None
        if app.slots.get(slot.instance) is not slot:
            app.retire(fresh)  # the app was scaled down meanwhile
            return
        await self._swap(slot, fresh)

    def _why_not(self) -> WorkerError:
        default = WorkerError(f"{self._app.name}: there is no new worker")
        return self._app.fresh_failure or default

    def _fresh_decided(self) -> bool:
        """Whether the new worker answers or is gone."""
        fresh = self._app.fresh
        return fresh is None or fresh.state == "online"

    def _online_fresh(self) -> WorkerProcess | None:
        fresh = self._app.fresh
        return fresh if fresh is not None and fresh.state == "online" else None

    async def _swap(self, slot: Slot, fresh: WorkerProcess) -> None:
        old, slot.worker = slot.worker, fresh
        slot.cancel()
        slot.history, slot.reason = History(), ""
        if old is None:
            return
        self._app.retire(old)
        deadline = self._app.context.clock.seconds() + OLD_GONE_SECONDS
        await self._app.changes.until(lambda: old not in self._app.leaving, deadline)

    async def _start(self, slot: Slot) -> None:
        """Start a worker in ``slot``, in which none answers."""
        old, slot.worker = slot.worker, None
        if old is not None:
            self._app.retire(old)
        slot.history = History()
        self._app.failure = None
        self._app.fill(slot)
        await self._until(lambda: slot.online or self._app.failure is not None)
        if not slot.online and self._app.failure is not None:
            raise self._app.failure

    async def _until(self, true: Callable[[], bool]) -> None:
        """Wait for a start; the worker's own listenTimeout ends it before this does."""
        worker_says = self._app.app.listen_timeout / 1000
        deadline = self._app.context.clock.seconds() + worker_says + START_SLACK_SECONDS
        await self._app.changes.until(true, deadline)
