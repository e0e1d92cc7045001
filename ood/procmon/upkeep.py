"""What is looked after while workers run: their memory, whether they hang, the calendar."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ood.background import Background
from ood.clock import wall_time
from ood.procmon.app import AppContainer
from ood.procmon.core import schedule
from ood.procmon.deaths.witness import memory
from ood.procmon.roll import Rolls
from ood.procmon.system.oomkills import OomKills
from ood.procmon.workers.resources import Resources
from ood.procmon.workers.worker import WorkerProcess

LOOK_SECONDS = 5.0
"""How often to look: as often as an idle worker gives a sign of life."""
SILENCE_SECONDS = 20.0
"""A worker that gave signs of life and none for so long hangs: four are missing."""
MEMORY_AGAIN_SECONDS = 60.0
"""How soon a worker's successor may be replaced for its memory: a limit that is too low for
the app must not keep the machine busy with restarts."""
MEBIBYTE = 1 << 20


def _hangs(worker: WorkerProcess) -> bool:
    return any(member.silent_seconds() > SILENCE_SECONDS for member in worker.joined())


class Upkeep:
    """Looks after all apps.

    :param apps: returns every app with its restarts.
    :param wall: tells the time of the calendar.
    :param oom: takes note of the kernel's kills.
    """

    def __init__(
        self,
        clock: IReactorTime,
        background: Background,
        resources: Resources,
        apps: Callable[[], Iterable[tuple[AppContainer, Rolls]]],
        wall: Callable[[], datetime] = wall_time,
        *,
        oom: OomKills | None = None,
    ) -> None:
        self._clock = clock
        self._background = background
        self._resources = resources
        self._apps = apps
        self._wall = wall
        self._oom = oom
        self._timer: IDelayedCall | None = None
        self._looked = self._awake = clock.seconds()
        self._calendar = wall()
        self._replaced: dict[tuple[str, int], float] = {}

    def start(self) -> None:
        """Look from now on."""
        self._looked = self._awake = self._clock.seconds()
        self._calendar = self._wall()
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)
        now, wall = self._clock.seconds(), self._wall()
        if now - self._looked > 2 * LOOK_SECONDS:
            self._awake = now  # ood itself stood still, and heard nothing meanwhile
        for container, rolls in list(self._apps()):
            if container.app.running:
                self._look_at(container, rolls, now)
                self._restart_if_due(container, rolls, wall)
        self._looked, self._calendar = now, wall
        if self._oom is not None:
            self._oom.look()

    def _look_at(self, container: AppContainer, rolls: Rolls, now: float) -> None:
        for slot in list(container.slots.values()):
            worker = slot.worker
            if worker is None or not slot.online:
                continue
            worker.witness.weigh(self._memory(worker))
            if now - self._awake > SILENCE_SECONDS and _hangs(worker):
                worker.hangs(f"hangs: no sign of life for {SILENCE_SECONDS:g} s")
            else:
                self._weigh(container, rolls, worker, now)

    def _memory(self, worker: WorkerProcess) -> float:
        """Return what it uses; to ask the system costs more than to have heard it."""
        return memory(worker.joined()) or self._resources.usage(worker.pid).memory_bytes

    def _weigh(
        self, container: AppContainer, rolls: Rolls, worker: WorkerProcess, now: float
    ) -> None:
        limit = container.app.max_memory_restart
        if limit is None:
            return
        memory = self._resources.usage(worker.pid).memory_bytes
        key = container.name, worker.instance
        if memory <= limit or now - self._replaced.get(key, -MEMORY_AGAIN_SECONDS) < (
            MEMORY_AGAIN_SECONDS
        ):
            return
        self._replaced = {
            one: at for one, at in self._replaced.items() if now - at < MEMORY_AGAIN_SECONDS
        }
        self._replaced[key] = now
        sizes = f"{memory // MEBIBYTE} MB, more than {limit / MEBIBYTE:g} MB"
        rolls.replace(worker.instance, f"worker {worker.instance} uses {sizes}: it is replaced")

    def _restart_if_due(self, container: AppContainer, rolls: Rolls, wall: datetime) -> None:
        expression = container.app.cron_restart
        since, now = self._calendar.astimezone(), wall.astimezone()
        if expression is None or not schedule.due(expression, since, now):
            return
        container.remark(f"cronRestart {expression}: the workers are replaced")
        name = f"cronRestart of {container.name}"
        self._background.run(name, self._restart(container, rolls))

    @staticmethod
    async def _restart(container: AppContainer, rolls: Rolls) -> None:
        await rolls.request().addErrback(
            lambda failure: container.remark(f"cronRestart: {failure.getErrorMessage()}")
        )
