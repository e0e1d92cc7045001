"""What a worker expects of the app it belongs to."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

from ood.model.document import App
from ood.procmon.deaths.record import Death
from ood.procmon.members.cluster import SharedServers
from ood.procmon.members.roster import Roster
from ood.procmon.telling import Teller

if TYPE_CHECKING:
    from ood.procmon.workers.worker import WorkerProcess


class Crew(Protocol):
    """The app a worker belongs to.

    :ivar app: its settings as they are now.
    :ivar teller: told of each state.
    """

    app: App
    roster: Roster
    shared: SharedServers
    teller: Teller

    def worker_online(self, worker: WorkerProcess) -> None:
        """It answers."""

    def worker_changed(self, worker: WorkerProcess) -> None:
        """Its state or its servers changed."""

    def worker_failed(self, worker: WorkerProcess, death: Death) -> None:
        """It died, or can't be used any more; it is being ended."""

    def worker_fell(self, worker: WorkerProcess, death: Death) -> None:
        """It died of something else while it was being stopped."""

    def worker_gone(self, worker: WorkerProcess) -> None:
        """Nothing of it is left."""

    def worker_unfit(self, worker: WorkerProcess, why: str) -> None:
        """The guard can't work in it."""

    def came_back(self, sock: socket.socket) -> None:
        """A client's idle connection came back from a draining worker."""
