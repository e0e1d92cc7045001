"""The apps whose servers somebody else runs: what the process monitor is for the others."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ood.errors import NotFoundError, UnavailableError, WorkerError
from ood.interfaces import IProcessMonitor, Refused, Upstream, Worker
from ood.model.apptypes import PROXY
from ood.model.death import DeathList
from ood.model.document import App, Document
from ood.model.status import AppStatus
from ood.model.upstreamtls import Tls
from ood.proxy.remoteapp import RemoteApp

if TYPE_CHECKING:
    from ood.proxy.tls.outgoing import Outgoing, Towards


@implementer(IProcessMonitor)
class Remotes(Service):
    """Knows which servers of apps of type proxy are well, and connects to them.

    :param reactor: for checks and look-ups.
    :param remark: ``remark(app, text)`` tells the reader of the app's log, and whoever else
        wants to know, that a server goes or comes back.
    :param lost: ``lost(app, text)`` tells the reader of the app's log of single requests.
    """

    name = "remotes"

    def __init__(
        self,
        reactor: Any,
        clock: IReactorTime,
        remark: Callable[[str, str], None],
        chance: random.Random | None = None,
        *,
        lost: Callable[[str, str], None] = lambda _app, _text: None,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._remark = remark
        self._lost = lost
        self._chance = chance or random.Random()  # noqa: S311 - spreads load, keeps no secret
        self._apps: dict[str, RemoteApp] = {}
        self._pending: Document | None = None
        self._ending: set[Deferred[None]] = set()
        self._outgoing: Outgoing | None = None

    def __contains__(self, app: str) -> bool:
        """Tell whether ``app`` is one of these."""
        return app in self._apps

    def startService(self) -> None:
        """Begin to check."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._pending is not None:
            self._apply(self._pending)

    def stopService(self) -> Deferred[None]:
        """Check no more; fire when no check is under way."""
        _ = super().stopService()  # type: ignore[no-untyped-call]
        for one in self._apps.values():
            self._end(one)
        if self._outgoing is not None:
            self._outgoing.stop()
        return DeferredList(list(self._ending)).addCallback(lambda _: None)

    def _end(self, one: RemoteApp) -> None:
        waiter: Deferred[None] = Deferred()
        self._ending.add(waiter)

        def ended(_: object) -> None:
            self._ending.discard(waiter)
            waiter.callback(None)

        _ = one.stop().addBoth(ended)

    def converge(self, document: Document) -> None:
        """Take over what ``document`` says."""
        self._pending = document
        self._apply(document)

    def _apply(self, document: Document) -> None:
        apps = {name: app for name, app in document.apps.items() if app.type == PROXY}
        for name in [name for name in self._apps if name not in apps]:
            self._end(self._apps.pop(name))
        for name, app in apps.items():
            if name not in self._apps:
                self._apps[name] = self._made(name, app)
            if self.running:
                self._apps[name].converge(app)

    def _made(self, name: str, app: App) -> RemoteApp:
        return RemoteApp(
            self._reactor,
            self._clock,
            name,
            app,
            remark=partial(self._remark, name),
            lost=partial(self._lost, name),
            chance=self._chance.random,
            towards=self._towards,
        )

    def _towards(self, tls: Tls) -> Towards:
        if self._outgoing is None:
            from ood.proxy.tls.outgoing import Outgoing  # noqa: PLC0415 - loads OpenSSL, 8 MB

            self._outgoing = Outgoing(self._clock)
        return self._outgoing.towards(tls)

    # IProcessMonitor

    def settled(self, app: str) -> Deferred[None]:
        """Fire when a server answers, or the app is stopped; fail when none answers."""
        one = self._apps.get(app)
        return succeed(None) if one is None else one.when_settled()

    def retry(self, app: str) -> None:
        """There is nothing to start: servers elsewhere are looked at all the time."""

    def restart(self, app: str, candidate: App | None = None) -> Deferred[None]:
        """There is nothing to restart: tell whether a server answers."""
        if candidate is not None:
            return fail(WorkerError(f"{app} runs elsewhere: there is nothing to deploy to"))
        return self.settled(app)

    def status(self, app: str) -> AppStatus:
        """Return the live state of ``app``.

        :raises NotFoundError: there is no such app.
        """
        one = self._apps.get(app)
        if one is None:
            raise NotFoundError(f"there is no app {app}", "see: ood status")
        return one.status()

    def deaths(self, app: str) -> DeathList:  # noqa: ARG002 whoever runs them knows
        """Return nothing: nothing of these apps runs here."""
        return DeathList()

    # IWorkerPool

    def hand_off(
        self,
        app: str,  # noqa: ARG002
        sock: socket.socket,  # noqa: ARG002
        refused: Refused,  # noqa: ARG002
        key: bytes | None = None,  # noqa: ARG002
    ) -> bool:
        """Take nothing: a socket can't leave this machine."""
        return False

    def takes_sockets(self, app: str, *, alone: bool) -> bool:  # noqa: ARG002
        """Take nothing: a socket can't leave this machine."""
        return False

    def workers(self, app: str) -> Sequence[Worker]:
        """Return the servers that can take a request."""
        one = self._apps.get(app)
        return () if one is None else one.workers()

    def choose(self, app: str, tried: Collection[Worker]) -> Worker | None:
        """Return the server that is to get the next request; None if there is none."""
        one = self._apps.get(app)
        return None if one is None else one.choose(tried)

    def connect(self, app: str, worker: Worker | None = None) -> Upstream | None:
        """Begin a connection."""
        one = self._apps.get(app)
        return None if one is None else one.connect(worker)

    def when_available(self, app: str) -> Deferred[None]:
        """Fire when a server can take requests."""
        one = self._apps.get(app)
        if one is None:
            return fail(UnavailableError(f"there is no app {app}", "see: ood status"))
        return one.when_available()
