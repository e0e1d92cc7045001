"""A worker's place in its app: it stays when the worker in it is replaced."""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted.internet.interfaces import IDelayedCall

from ood.model.document import App
from ood.procmon.core.restart import History
from ood.procmon.workers.settings import with_limits
from ood.procmon.workers.worker import WorkerProcess


@dataclass
class Slot:
    """One of an app's wanted workers.

    :ivar worker: who is in it now.
    :ivar timer: the next start, while it waits.
    :ivar state: its state while nobody is in it.
    :ivar restarts: how often it was replaced after a death.
    :ivar reason: what happened to the last one.
    :ivar patience: until when its first worker waits for other apps; None: not waiting.
    :ivar proven: the settings with which a worker answered here last; None: none did yet.
    """

    instance: int
    worker: WorkerProcess | None = None
    history: History = field(default_factory=History)
    timer: IDelayedCall | None = None
    state: str = "launching"
    restarts: int = 0
    reason: str = ""
    patience: float | None = None
    proven: App | None = None

    @property
    def online(self) -> bool:
        """Whether its worker answers."""
        return self.worker is not None and self.worker.state == "online"

    def settings(self, newest: App) -> App:
        """Return what the next worker here runs, ``newest`` being what is wanted.

        Who replaces a worker that ran well runs like that one: changed settings wait
        for a roll.  A worker that dies again and again can only win by new ones.
        """
        if self.proven is None or self.history.young:
            return newest
        return with_limits(self.proven, newest)

    def put(self, worker: WorkerProcess) -> None:
        """Let ``worker``, which answers, take this place."""
        self.cancel()
        self.worker, self.proven = worker, worker.plan.app
        self.history, self.reason = History(), ""

    def cancel(self) -> None:
        """Don't start anybody later."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self.timer = None
