"""A rolling restart: a new worker answers before an old one drains."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred

from ood.errors import OodError, WorkerError
from ood.model.document import App
from ood.procmon.context import Context
from ood.procmon.system.changes import Changes
from ood.procmon.telling import Teller
from ood.procmon.workers.settings import RUNTIME_KEYS, needs_new_workers, with_limits
from ood.procmon.workers.slot import Slot
from ood.procmon.workers.spare import Spare
from ood.procmon.workers.worker import WorkerProcess

OLD_GONE_SECONDS = 5.0
"""How long the next step waits for the old worker to go, so that memory for one is enough."""
SETTLE_FIRST_SECONDS = 3.0
"""How long the first new worker of a roll has to stay up before an old one drains: what dies
late dies of a connection that was refused or a file that is missing, within a few seconds."""
SETTLE_SECONDS_MAX = 10.0
"""Longest time that any new worker is watched, however long minUptime is."""
PROVEN_MAX = 8
"""Settings that are remembered as good: more than releases are kept."""
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
    spare: Spare
    teller: Teller

    @property
    def serial(self) -> int:
        """The number of the last worker that was started."""

    def launch(self, instance: int, app: App, *, held: bool = False) -> WorkerProcess:
        """Start a worker that runs as ``app`` says."""

    def adopt(self, app: App) -> None:
        """Want what the workers run already."""

    def retire(self, worker: WorkerProcess) -> None:
        """End a worker gently."""

    def drop_fresh(self, why: str) -> None:
        """End the new worker."""

    def remark(self, text: str) -> None:
        """Tell the person who reads the app's log."""


@dataclass(frozen=True)
class _Wish:
    """What a request asked for.

    :ivar candidate: what to run; None: what is wanted anyway.
    :ivar app: what was wanted when it was asked.
    :ivar joins: whether a restart that is under way is enough.
    """

    candidate: App | None
    app: App
    joins: bool


class Rolls:
    """The rolling restarts of one app, one at a time.

    A second request joins the first, unless it asks for something else, or the
    settings changed in between: then another one follows.
    """

    def __init__(self, app: Rolled) -> None:
        self._app = app
        self._waiters: dict[Deferred[None], _Wish] = {}
        self._running = False
        self._proven: list[App] = []

    def request(self, candidate: App | None = None, *, join: bool = True) -> Deferred[None]:
        """Restart every worker that runs now; run ``candidate`` if there is one.

        :param join: whether a restart that is under way will do; not if files changed
            since it began.
        """
        waiter: Deferred[None] = Deferred(self._forget)
        self._waiters[waiter] = _Wish(candidate, self._app.app, join)
        if not self._running:
            self._app.context.background.run(f"restarting {self._app.name}", self._run())
        return waiter

    def replace(self, instance: int, why: str) -> None:
        """Replace one worker gently; a restart that is under way does so anyway."""
        if not self._running:
            self._app.remark(why)
            name = f"replacing worker {instance} of {self._app.name}"
            self._app.context.background.run(name, self._run_one(instance))

    async def _run_one(self, instance: int) -> None:
        self._running = True
        try:
            slot = self._app.slots.get(instance)
            if slot is not None and slot.online:
                await self._replace(slot, slot.settings(self._app.app), 0)
        except OodError as error:
            self._app.remark(f"worker {instance} could not be replaced: {error.message}")
        finally:
            self._running = False
        await self._run()  # who asked meanwhile

    def _forget(self, waiter: Deferred[None]) -> None:
        self._waiters.pop(waiter, None)

    async def _run(self) -> None:
        self._running = True
        try:
            while self._waiters:
                await self._once(next(iter(self._waiters.values())).candidate)
        finally:
            self._running = False

    async def _once(self, candidate: App | None) -> None:
        """Restart; tell everyone who asked for just this."""
        wanted = self._app.app
        first = {one for one, wish in self._waiters.items() if wish.candidate == candidate}
        error: OodError | None = WorkerError(f"{self._app.name}: the restart was cut short")
        self._app.teller.restart("begun", done=0, workers=len(self._app.slots))
        try:
            await self._roll(candidate or wanted)
            if candidate is not None:
                self._adopt(candidate, wanted)
            error = None
        except OodError as reason:
            error = reason
        finally:
            self._told_end(error)
            same = (candidate,) if error else (candidate, None)
            late = {
                one
                for one, wish in self._waiters.items()
                if wish.joins and wish.candidate in same and wish.app == wanted
            }
            self._tell(first | late, error)

    def _told_end(self, error: OodError | None) -> None:
        count, phase = len(self._app.slots), "failed" if error else "ended"
        reason = error.message if error else ""
        self._app.teller.restart(phase, done=0 if error else count, workers=count, reason=reason)

    def _adopt(self, candidate: App, before: App) -> None:
        """Make ``candidate`` what is wanted, without undoing what was changed meanwhile."""
        now = self._app.app
        changed = {
            key: getattr(now, key)
            for key in RUNTIME_KEYS
            if key == "running" or getattr(now, key) != getattr(before, key)
        }
        self._app.adopt(msgspec.structs.replace(candidate, **changed))

    def _tell(self, waiters: set[Deferred[None]], error: OodError | None) -> None:
        told = [one for one in self._waiters if one in waiters]
        for waiter in told:
            self._forget(waiter)
        for waiter in told:
            if error is None:
                waiter.callback(None)
            else:
                waiter.errback(error)

    async def _roll(self, target: App) -> None:
        """Have every worker run ``target``; after a failure all run what they ran before."""
        before, known = self._app.serial, self._is_known(target)
        done: dict[int, App] = {}
        try:
            slot = self._next(before, done, target)
            while slot is not None:
                old = slot.proven or self._app.app
                await self._replace(slot, target, 0 if known else self._settle_seconds(done))
                done[slot.instance] = old
                self._app.teller.restart("progress", done=len(done), workers=len(self._app.slots))
                slot = self._next(before, done, target)
            self._app.spare.drop()  # its files may be those of before
            for app in (*done.values(), target):
                self._remember(app)
        except OodError:
            await self._undo(done)
            raise

    def _is_known(self, target: App) -> bool:
        """Whether this is a way back: other workers ran so before, and served well.

        What runs now is not known: its files may have changed since.
        """
        running = [slot.proven for slot in self._app.slots.values() if slot.proven is not None]
        if not all(needs_new_workers(one, target) for one in running):
            return False
        return any(not needs_new_workers(one, target) for one in self._proven)

    def _remember(self, app: App) -> None:
        others = [one for one in self._proven if needs_new_workers(one, app)]
        self._proven = [*others, app][-PROVEN_MAX:]

    def _settle_seconds(self, done: Collection[int]) -> float:
        """Return how long the next new worker is watched before an old one goes."""
        if not any(slot.online for slot in self._app.slots.values()):
            return 0  # nobody serves: there is nothing to lose
        least = 0 if done else SETTLE_FIRST_SECONDS
        return min(max(self._app.app.min_uptime / 1000, least), SETTLE_SECONDS_MAX)

    def _next(self, before: int, done: Collection[int], target: App) -> Slot | None:
        """Return the first slot that still has to get a worker.

        :param before: number of the last worker from before the roll.
        :param done: instances that got one.
        :raises WorkerError: one that got one has lost it again.
        """
        for instance, slot in sorted(self._app.slots.items()):
            worker = slot.worker if slot.online else None
            if instance in done:
                self._check_stayed(slot)
            elif worker is None or worker.serial <= before:
                return slot
            elif needs_new_workers(worker.plan.app, target):
                return slot  # it took a dead one's place
        return None

    def _check_stayed(self, slot: Slot) -> None:
        if slot.history.young:
            problem = f"{self._app.name}: the new worker {slot.instance} {slot.reason}"
            raise WorkerError(f"{problem} soon after it came up", f"see: ood log {self._app.name}")

    async def _undo(self, done: dict[int, App]) -> None:
        """Put workers that were replaced back to what they ran: newest first."""
        for instance, old in sorted(done.items(), reverse=True):
            slot = self._app.slots.get(instance)
            if slot is None or not self._differs(slot, old):
                continue
            try:
                await self._replace(slot, with_limits(old, self._app.app), 0)
            except OodError as error:
                slot.proven = old  # who replaces the one that serves on runs this again
                self._app.remark(f"worker {instance} could not be put back: {error.message}")

    @staticmethod
    def _differs(slot: Slot, old: App) -> bool:
        worker = slot.worker
        return worker is None or needs_new_workers(worker.plan.app, old)

    async def _replace(self, slot: Slot, target: App, settle: float) -> None:
        """Put a new worker, which runs ``target``, into ``slot``.

        :param settle: seconds that it has to stay up before it gets requests.
        """
        app = self._app
        app.fresh_failure = None
        app.fresh = app.launch(slot.instance, target, held=True)
        try:
            await self._until_up(target)
            await self._until_settled(settle)
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
        old = slot.worker
        slot.put(fresh)
        fresh.serve()
        if old is None:
            return
        self._app.retire(old)
        deadline = self._app.context.clock.seconds() + OLD_GONE_SECONDS
        await self._app.changes.until(lambda: old not in self._app.leaving, deadline)

    async def _until_up(self, target: App) -> None:
        """Wait for a start; the worker's own limits end it before this does."""
        worker_says = (target.listen_timeout + target.health_timeout) / 1000
        deadline = self._app.context.clock.seconds() + worker_says + START_SLACK_SECONDS
        await self._app.changes.until(self._fresh_decided, deadline)

    async def _until_settled(self, seconds: float) -> None:
        """Give the new worker time to die."""
        deadline = self._app.context.clock.seconds() + seconds
        await self._app.changes.until(lambda: self._online_fresh() is None, deadline)
