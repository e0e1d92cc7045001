"""What happens to an app's workers, as events; each in one place, in the same words."""

from __future__ import annotations

from typing import Protocol

from ood.events import EventBus
from ood.procmon.deaths.record import Death, signal_name


class Told(Protocol):
    """A worker of which is told."""

    @property
    def pid(self) -> int | None:
        """Its process id."""

    @property
    def instance(self) -> int:
        """Its place among the app's workers."""

    @property
    def state(self) -> str:
        """Its state."""


class Teller:
    """Tells of one app.

    :ivar is_errored: whether it was told that the app is errored, and nothing better since.
    """

    def __init__(self, events: EventBus, app: str) -> None:
        self._events = events
        self._app = app
        self.is_errored = False

    def worker(self, worker: Told) -> None:
        """Tell that a worker, or the place of one, has a new state."""
        if worker.pid is None and worker.state in {"launching", "stopped"}:
            return  # there was no process that anybody saw
        text = f"worker {worker.instance} of {self._app} is {worker.state}"
        self._tell("worker", text, instance=worker.instance, pid=worker.pid, state=worker.state)

    def death(self, death: Death) -> None:
        """Tell that a worker died, or could not be started."""
        self._tell(
            "death",
            f"worker {death.instance} of {self._app} {death.reason}",
            instance=death.instance,
            pid=death.pid,
            code=death.code,
            signal=None if death.signal is None else signal_name(death.signal),
            uptimeMs=round(death.uptime_seconds * 1000),
            reason=death.reason,
        )

    def waits(self, instance: int, state: str, seconds: float) -> None:
        """Tell that nobody is in a worker's place for a while."""
        text = f"worker {instance} of {self._app} is {state}"
        delay_ms = round(seconds * 1000)
        self._tell("worker", text, instance=instance, pid=None, state=state, delayMs=delay_ms)

    def errored(self, reason: str, young: int) -> None:
        """Tell, once, that the app's workers die young again and again."""
        if self.is_errored:
            return
        self.is_errored = True
        text = f"{self._app} is errored: its workers died young {young} times in a row"
        self._tell("errored", text, reason=reason, deaths=young)

    def recovered(self) -> None:
        """Tell that it answers again."""
        self.is_errored = False
        self._tell("recovered", f"{self._app} answers again")

    def stopped(self) -> None:
        """Forget what was told: the app is not wanted any more."""
        self.is_errored = False

    def restart(self, phase: str, *, done: int, workers: int, reason: str = "") -> None:
        """Tell how a rolling restart goes.

        :param phase: ``begun``, ``progress``, ``ended`` or ``failed``.
        """
        text = {
            "begun": "is being restarted",
            "progress": f"is being restarted: {done} of {workers} done",
            "ended": "was restarted",
            "failed": f"could not be restarted: {reason}",
        }[phase]
        text = f"{self._app} {text}"
        self._tell("restart", text, phase=phase, done=done, workers=workers, reason=reason)

    def _tell(self, kind: str, text: str, **data: object) -> None:
        self._events.publish(kind, text, self._app, **data)
