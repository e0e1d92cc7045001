"""All apps, whoever runs them: each question goes to the part that knows the app."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Sequence

import msgspec
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ood.interfaces import IProcessMonitor, Refused, Upstream, Worker
from ood.model.apptypes import NODE, PROXY, STATIC
from ood.model.death import DeathList
from ood.model.document import App, Document
from ood.model.status import AppStatus
from ood.procmon.monitor import ProcessMonitor
from ood.procmon.report import urls
from ood.proxy.remotes import Remotes
from ood.traffic.traffic import Traffic


@implementer(IProcessMonitor)
class Fleet:
    """The process monitor's apps, and those whose servers are elsewhere."""

    def __init__(self, monitor: ProcessMonitor, remotes: Remotes, traffic: Traffic) -> None:
        self._monitor = monitor
        self._traffic = traffic
        self._remotes = remotes
        self._document = Document()

    def _of(self, app: str) -> ProcessMonitor | Remotes:
        return self._remotes if app in self._remotes else self._monitor

    def converge(self, document: Document) -> None:
        """Make both parts be what ``document`` wants."""
        self._document = document
        self._remotes.converge(document)
        self._monitor.converge(document)

    def settled(self, app: str) -> Deferred[None]:
        """Fire when the app is as the last document wants it."""
        return self._of(app).settled(app)

    def retry(self, app: str) -> None:
        """Start now what died and waits for its time."""
        self._of(app).retry(app)

    def restart(self, app: str, candidate: App | None = None) -> Deferred[None]:
        """Replace every worker of a running app."""
        wanted = self._document.apps.get(app)
        if wanted is not None and wanted.type == STATIC:
            return succeed(None)  # files are what they are
        return self._of(app).restart(app, candidate)

    def deaths(self, app: str) -> DeathList:
        """Return the last deaths of the app's workers."""
        wanted = self._document.apps.get(app)
        if wanted is not None and wanted.type != NODE:
            return DeathList()
        return self._monitor.deaths(app)

    def status(self, app: str) -> AppStatus:
        """Return the live state of ``app``.

        :raises NotFoundError: there is no such app.
        """
        wanted = self._document.apps.get(app)
        if wanted is None or wanted.type == NODE:
            return self._monitor.status(app)
        status = self._remotes.status(app) if wanted.type == PROXY else _files(app, wanted)
        addresses = urls(app, self._document, os.getuid() == 0)
        recent = self._traffic.of(app).lately(self._traffic.now())
        return msgspec.structs.replace(
            status,
            urls=addresses,
            requests_per_second=recent.requests_per_second,
            errors_per_second=recent.errors_per_second,
            latency_p50_ms=recent.p50_ms,
            latency_p95_ms=recent.p95_ms,
            latency_p99_ms=recent.p99_ms,
        )

    def hand_off(
        self, app: str, sock: socket.socket, refused: Refused, key: bytes | None = None
    ) -> bool:
        """Give a client's connection to a worker of ``app``."""
        return self._monitor.hand_off(app, sock, refused, key)

    def takes_sockets(self, app: str, *, alone: bool) -> bool:
        """Tell whether ``app`` may get client sockets now."""
        return self._monitor.takes_sockets(app, alone=alone)

    def workers(self, app: str) -> Sequence[Worker]:
        """Return the workers that can take a request."""
        return self._of(app).workers(app)

    def choose(self, app: str, tried: Collection[Worker]) -> Worker | None:
        """Return the worker that is to get the next request; None if any may."""
        return self._remotes.choose(app, tried)

    def connect(self, app: str, worker: Worker | None = None) -> Upstream | None:
        """Open a new upstream connection."""
        return self._of(app).connect(app, worker)

    def when_available(self, app: str) -> Deferred[None]:
        """Fire when a worker of ``app`` can take requests."""
        return self._of(app).when_available(app)


def _files(name: str, app: App) -> AppStatus:
    """Return the state of an app that is just files: its directory is there, or not."""
    there = os.access(app.cwd, os.R_OK | os.X_OK) and os.path.isdir(app.cwd)
    state = ("online" if there else "errored") if app.running else "stopped"
    return AppStatus(
        name=name,
        type=app.type,
        state=state,
        running=app.running,
        wanted=0,
        port=app.port,
        user="",
        cwd=app.cwd,
        release=app.release or "",
        trouble=() if there else (f"cwd: {app.cwd} is no directory that can be read",),
    )
