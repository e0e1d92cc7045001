"""The process monitor: the service that keeps every app as the document wants it."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ood.background import Background
from ood.errors import NotFoundError, StartupError, UnavailableError, WorkerError
from ood.events import EventBus
from ood.interfaces import IEdge, IProcessMonitor, Refused, Upstream, Worker
from ood.model.apptypes import NODE
from ood.model.death import DeathList
from ood.model.document import App, Document
from ood.model.status import AppStatus
from ood.procmon.app import AppContainer
from ood.procmon.context import Context, LogSink
from ood.procmon.deaths.stacks import Stacks
from ood.procmon.members import guardfiles
from ood.procmon.members.hosts import hosts_of
from ood.procmon.members.roster import Roster
from ood.procmon.report import app_status, urls
from ood.procmon.roll import Rolls
from ood.procmon.system.changes import Changes
from ood.procmon.system.runtime import NodeRuntime
from ood.procmon.upkeep import Upkeep
from ood.procmon.watch import Watches
from ood.procmon.workers.resources import Resources, Versions
from ood.traffic.traffic import Traffic

STOP_SLACK_SECONDS = 10.0
"""How much longer than killTimeout a stop may take: SIGKILL, and its reaping."""


@implementer(IProcessMonitor)
class ProcessMonitor(Service):
    """Keeps every app as the document wants it.

    :param reactor: the reactor, for processes and descriptors.
    :param clock: for durations.
    :param run_directory: for sockets and the guard's copy.
    :param logs: where workers' lines go.
    :param edge: the proxy; see :meth:`set_edge`.
    :param runtime: where Node is.
    :param inherited: the environment of which workers get a part.
    :param chance: for ports and pauses.
    :param traffic: where workers' requests are counted and written down.
    :param events: told of what happens to workers.
    """

    def __init__(
        self,
        reactor: Any,
        clock: IReactorTime,
        run_directory: Path,
        logs: LogSink,
        *,
        edge: IEdge | None = None,
        runtime: NodeRuntime | None = None,
        inherited: Mapping[str, str] | None = None,
        chance: random.Random | None = None,
        traffic: Traffic | None = None,
        events: EventBus | None = None,
    ) -> None:
        self._run = run_directory
        self._document = Document()
        self._pending: Document | None = None
        self._apps: dict[str, AppContainer] = {}
        self._rolls: dict[str, Rolls] = {}
        self._rosters: dict[str, Roster] = {}
        self._extra_ports: frozenset[int] = frozenset()
        self._changes = Changes(clock)
        self._watches = Watches()
        self._versions = Versions()
        self._resources = Resources(clock, self._roots)
        self._context = Context(
            fds=reactor,
            processes=reactor,
            clock=clock,
            logs=logs,
            runtime=runtime or NodeRuntime(),
            run=run_directory,
            guard=str(run_directory / guardfiles.ENTRY),
            inherited=os.environ if inherited is None else inherited,
            chance=chance or random.Random(),  # noqa: S311 - spreads restarts, keeps no secret
            background=Background(),
            traffic=traffic or Traffic(clock),
            edge=edge,
            events=events or EventBus(),
            stacks=Stacks(reactor, clock),
        )
        self._upkeep = Upkeep(
            clock,
            self._context.background,
            self._resources,
            self._kept,
            oom=self._context.oom,
        )

    def set_edge(self, edge: IEdge) -> None:
        """Tell where connections that come back from workers go."""
        self._context.edge = edge

    def set_public_ports(self, ports: frozenset[int]) -> None:
        """Tell on which ports clients connect, beside those of the settings."""
        self._extra_ports = ports
        self._know_ports()

    def _know_ports(self) -> None:
        configured = self._document.settings.ports(root=os.getuid() == 0)
        self._context.public_ports = self._extra_ports | frozenset(configured)

    # -- service

    def startService(self) -> None:
        """Prepare the directory, and start what is to run.

        :raises StartupError: the directory can't be used.
        """
        try:
            self._run.mkdir(parents=True, exist_ok=True)
            self._run.chmod(0o711)  # apps' users reach their own directory in it
        except OSError as error:
            reason = f"can't use {self._run}: {error.strerror}"
            raise StartupError(reason, "make the home directory writable") from None
        self._context.guard = guardfiles.install(self._run)
        super().startService()  # type: ignore[no-untyped-call]
        self._upkeep.start()
        if self._pending is not None:
            document, self._pending = self._pending, None
            self.converge(document)

    def stopService(self) -> Deferred[None]:
        """Drain and end every worker; fire when nothing is left."""
        _ = super().stopService()  # type: ignore[no-untyped-call]
        self._upkeep.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        longest = max((one.app.kill_timeout for one in self._apps.values()), default=0) / 1000
        self._apply(Document(settings=self._document.settings))
        deadline = self._context.clock.seconds() + longest + STOP_SLACK_SECONDS
        await self._changes.until(lambda: not self._apps, deadline)
        await self._context.background.stop()

    # -- IProcessMonitor

    def converge(self, document: Document) -> None:
        """Make workers be what ``document`` wants; returns at once."""
        if not self.running:
            self._pending = document
            return
        self._apply(document)

    def _apply(self, document: Document) -> None:
        self._document = document
        self._know_ports()
        wanted = {name: app for name, app in document.apps.items() if app.type == NODE}
        for name in [name for name in self._apps if name not in wanted]:
            container = self._apps[name]
            stopped = msgspec.structs.replace(container.app, running=False)
            container.converge(stopped, container.hosts)
            self._forget_if_gone(name)
        hosts = {name: hosts_of(name, document) for name in wanted}
        for name, app in wanted.items():
            if name not in self._apps:
                self._add(name, AppContainer(self._context, name, app, hosts[name]))
        for name, app in wanted.items():
            self._apps[name].converge(app, hosts[name])
        self._watches.converge(self._kept())

    def _add(self, name: str, container: AppContainer) -> None:
        self._apps[name] = container
        self._rosters[name] = container.roster
        self._rolls[name] = Rolls(container)
        container.missing = lambda: self._missing(name)
        container.when_gone = lambda: self._forget_if_gone(name)

    def _missing(self, name: str) -> list[str]:
        """Return the apps that ``name`` depends on and that are started and don't answer."""
        apps = self._document.apps
        needed = apps[name].depends_on if name in apps else ()
        return [
            one
            for one in needed
            if one in apps and apps[one].type == NODE and apps[one].running
            if not self._answers(one)
        ]

    def _answers(self, name: str) -> bool:
        container = self._apps.get(name)
        return container is not None and container.app.running and container.settled

    def _forget_if_gone(self, name: str) -> None:
        app = self._document.apps.get(name)
        wanted = app is not None and app.type == NODE
        if not wanted and name in self._apps and self._apps[name].gone:
            if app is None and self.running:  # it was deleted; ood does not just stop
                self._apps[name].deaths.forget()
            del self._apps[name], self._rosters[name], self._rolls[name]
        self._changes.notify()

    def settled(self, app: str) -> Deferred[None]:
        """Fire when the app is as the last document wants it."""
        container = self._apps.get(app)
        if container is None:
            return succeed(None)
        return container.when_settled()

    def retry(self, app: str) -> None:
        """Start now what died and waits for its time, or was left stopped."""
        container = self._apps.get(app)
        if container is not None:
            container.retry()

    def restart(self, app: str, candidate: App | None = None) -> Deferred[None]:
        """Replace every worker of a running app, a new one before each old one."""
        container = self._apps.get(app)
        if container is None:
            return fail(self._unknown(app))
        if not container.app.running:
            return fail(WorkerError(f"{app} is stopped", f"start it: ood start {app}"))
        return self._rolls[app].request(candidate)

    def status(self, app: str) -> AppStatus:
        """Return the live state of ``app``.

        :raises NotFoundError: there is no such app.
        """
        container = self._apps.get(app)
        if container is None or app not in self._document.apps:
            raise self._unknown(app)
        addresses = urls(app, self._document, os.getuid() == 0)
        status = app_status(container, addresses, self._resources, self._versions)
        trouble = (*status.trouble, *self._watches.troubles(app))
        return msgspec.structs.replace(status, trouble=trouble)

    def deaths(self, app: str) -> DeathList:
        """Return the last deaths of the app's workers.

        :raises NotFoundError: there is no such app.
        """
        container = self._apps.get(app)
        if container is None:
            raise self._unknown(app)
        return container.deaths.listed()

    @staticmethod
    def _unknown(app: str) -> NotFoundError:
        return NotFoundError(f"there is no app {app}", "see: ood status")

    def _kept(self) -> list[tuple[AppContainer, Rolls]]:
        return [(container, self._rolls[name]) for name, container in self._apps.items()]

    def _roots(self) -> list[int]:
        workers = (worker for app in self._apps.values() for worker in app.workers())
        return [worker.pid for worker in workers if worker.pid is not None]

    # -- IWorkerPool

    def hand_off(
        self, app: str, sock: socket.socket, refused: Refused, key: bytes | None = None
    ) -> bool:
        """Give a client's connection to a worker of ``app``."""
        roster = self._rosters.get(app)
        return roster is not None and roster.hand_off(sock, refused, key)

    def workers(self, app: str) -> Sequence[Worker]:
        """Return the workers that can take a request."""
        roster = self._rosters.get(app)
        return () if roster is None else roster.workers()

    def choose(self, app: str, tried: Collection[Worker]) -> Worker | None:  # noqa: ARG002
        """Return None: the proxy may choose among its connections."""
        return None

    def connect(self, app: str, worker: Worker | None = None) -> Upstream | None:
        """Open a new upstream connection, to the worker with the fewest if none is named."""
        roster = self._rosters.get(app)
        return None if roster is None else roster.connect(worker)

    def takes_sockets(self, app: str, *, alone: bool) -> bool:
        """Tell whether ``app`` may get client sockets now."""
        roster = self._rosters.get(app)
        return roster is not None and roster.takes_sockets(alone=alone)

    def when_available(self, app: str) -> Deferred[None]:
        """Fire when a worker of ``app`` can take requests."""
        container = self._apps.get(app)
        if container is None:
            return fail(UnavailableError(f"there is no app {app}", "see: ood status"))
        return container.when_available()
