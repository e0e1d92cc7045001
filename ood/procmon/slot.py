"""A worker's place in its app: it stays when the worker in it is replaced."""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted.internet.interfaces import IDelayedCall

from ood.procmon.core.restart import History
from ood.procmon.worker import WorkerProcess


@dataclass
class Slot:
    """One of an app's wanted workers.

    :ivar worker: who is in it now.
    :ivar timer: the next start, while it waits.
    :ivar state: its state while nobody is in it.
    :ivar restarts: how often it was replaced after a death.
    :ivar reason: what happened to the last one.
    """

    instance: int
    worker: WorkerProcess | None = None
    history: History = field(default_factory=History)
    timer: IDelayedCall | None = None
    state: str = "launching"
    restarts: int = 0
    reason: str = ""

    @property
    def online(self) -> bool:
        """Whether its worker answers."""
        return self.worker is not None and self.worker.state == "online"

    def cancel(self) -> None:
        """Don't start anybody later."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self.timer = None
