"""A process monitor without processes, for tests of what stands above it."""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ood.errors import UnavailableError, WorkerError
from ood.interfaces import IProcessMonitor, Refused, Upstream, Worker
from ood.model.death import DeathList
from ood.model.document import App, Document
from ood.model.status import AppStatus, WorkerStatus


@implementer(IProcessMonitor)
class MemoryMonitor:
    """Remembers what it was told; workers come up at once, or never.

    :ivar broken: names of apps whose workers can't come up.
    :ivar restarted: names of the apps that were restarted, in order.
    :ivar candidates: what those restarts were to run, None for the document.
    :ivar bad_directories: directories that no worker comes up in.
    """

    def __init__(self) -> None:
        self.document = Document()
        self.broken: set[str] = set()
        self.restarted: list[str] = []
        self.retried: list[str] = []
        self.candidates: list[App | None] = []
        self.bad_directories: set[str] = set()

    def converge(self, document: Document) -> None:
        """Take ``document`` over."""
        self.document = document

    def settled(self, app: str) -> Deferred[None]:
        """Fire at once, or fail at once for a running app that is broken."""
        one = self.document.apps.get(app)
        if one is not None and one.running and app in self.broken:
            return fail(WorkerError(f"{app} exited with status 1", log=("boom",)))
        return succeed(None)

    def retry(self, app: str) -> None:
        """Note it."""
        self.retried.append(app)

    def restart(self, app: str, candidate: App | None = None) -> Deferred[None]:
        """Note the restart."""
        self.restarted.append(app)
        self.candidates.append(candidate)
        if candidate is not None and candidate.cwd in self.bad_directories:
            return fail(WorkerError(f"{app} exited with status 1", log=("bad release",)))
        return self.settled(app)

    def deaths(self, app: str) -> DeathList:
        """Return nothing: nobody dies here."""
        assert app in self.document.apps
        return DeathList()

    def status(self, app: str) -> AppStatus:
        """Return what would be true if every worker came up."""
        one = self.document.apps[app]
        state = "errored" if app in self.broken else "online"
        count = one.worker_count() if one.running else 0
        return AppStatus(
            name=app,
            state=state if one.running else "stopped",
            running=one.running,
            wanted=one.worker_count(),
            port=one.port,
            user=one.user or "",
            cwd=one.cwd,
            release=one.release or "",
            workers=tuple(self._worker(number, one, state) for number in range(count)),
        )

    @staticmethod
    def _worker(number: int, app: App, state: str) -> WorkerStatus:
        return WorkerStatus(instance=number, pid=app.port * 10 + number, state=state)

    def hand_off(
        self, app: str, sock: socket.socket, refused: Refused, key: bytes | None = None
    ) -> bool:
        """Take nothing: there is no process."""
        return False

    def workers(self, app: str) -> Sequence[Worker]:
        """Return none: there is no process."""
        return ()

    def choose(self, app: str, tried: Collection[Worker]) -> Worker | None:
        """Return none: there is no process."""
        return None

    def connect(self, app: str, worker: Worker | None = None) -> Upstream | None:
        """Return nothing: there is no process."""
        return None

    def takes_sockets(self, app: str, *, alone: bool) -> bool:
        """Take nothing: there is no process."""
        return False

    def when_available(self, app: str) -> Deferred[None]:
        """Fail: there is no process."""
        return fail(UnavailableError(f"{app} has no worker"))
