"""A hot spare: a worker that is up and gets no requests, until another one dies."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall

from ood.errors import OodError
from ood.model.document import App
from ood.procmon.context import Context
from ood.procmon.workers.settings import needs_new_workers
from ood.procmon.workers.slot import Slot
from ood.procmon.workers.worker import WorkerProcess

TRY_AGAIN_SECONDS = 15.0
"""Pause before the next try after a spare has died: nobody waits for it."""

NEXT_SECONDS = 0.25
"""Pause before the next one is started once a spare was needed: a start takes the processor
from those who wait for the answer of the first."""


class Spared(Protocol):
    """The app that has a spare."""

    name: str
    app: App
    context: Context
    slots: dict[int, Slot]
    leaving: set[WorkerProcess]
    fresh: WorkerProcess | None

    @property
    def settled(self) -> bool:
        """Whether everything is as wanted."""

    def launch(self, instance: int, app: App, *, held: bool = False) -> WorkerProcess:
        """Start a worker."""

    def retire(self, worker: WorkerProcess) -> None:
        """End a worker gently."""

    def remark(self, text: str) -> None:
        """Tell the person who reads the app's log."""


class Spare:
    """The spare of one app.

    :ivar worker: it, from its start on.
    """

    def __init__(self, app: Spared) -> None:
        self._app = app
        self._timer: IDelayedCall | None = None
        self._looking = False
        self.worker: WorkerProcess | None = None

    def look(self) -> None:
        """Have a spare, if one is wanted and nothing else is under way."""
        if self._looking:
            return  # a start or an end of ours tells the app, which looks again
        self._looking = True
        try:
            self._look()
        finally:
            self._looking = False

    def _look(self) -> None:
        app = self._app
        if not app.app.spare or not app.app.running:
            self.drop()
            return
        first = app.slots.get(0)
        if first is None or not app.settled:
            return
        target = first.settings(app.app)
        if self.worker is not None and needs_new_workers(self.worker.plan.app, target):
            self.drop()
        busy = app.leaving or app.fresh is not None or self._timer is not None
        if self.worker is None and not busy:
            self._start(target)

    def _start(self, target: App) -> None:
        workers = (slot.worker for slot in self._app.slots.values())
        taken = {worker.number for worker in workers if worker is not None}
        number = len(self._app.slots)
        while number in taken:
            number += 1
        try:
            self.worker = self._app.launch(number, target, held=True)
        except OodError as error:
            self._try_later(str(error))

    def _try_later(self, why: str) -> None:
        self._app.remark(f"there is no spare: {why}")
        self._timer = self._app.context.clock.callLater(TRY_AGAIN_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._timer = None
        self.look()

    def take(self, slot: Slot) -> bool:
        """Put the spare into ``slot`` if it is up; return whether it was."""
        worker = self.worker
        if worker is None or worker.state != "online":
            return False
        self.worker = None
        self._timer = self._app.context.clock.callLater(NEXT_SECONDS, self._try_again)
        worker.instance = slot.instance
        slot.put(worker)
        worker.serve()
        return True

    def lost(self, worker: WorkerProcess, why: str) -> None:
        """A worker died: if it was the spare, there shall be another one."""
        if worker is self.worker:
            self.worker = None
            self._try_later(why)

    def drop(self) -> None:
        """End the spare: it runs what is of the past, or is not wanted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        worker, self.worker = self.worker, None
        if worker is not None:
            self._app.retire(worker)
