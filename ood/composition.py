"""The composition root: the parts of one ood, made in order and connected.

Each part is given those that it asks; none finds another by itself.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

import ood
from ood.api.guard import Mount
from ood.api.metrics import MetricsResource
from ood.api.service import ApiService
from ood.api.site import ApiSite, make_site
from ood.api.token import load_or_create_token
from ood.balancer.part import BalancerPart
from ood.certs.part import CertificatesPart
from ood.clock import MonotonicClock
from ood.configured import Configured
from ood.controller import Controller
from ood.errors import OodError
from ood.events import EventBus
from ood.fleet import Fleet
from ood.home import Home
from ood.interfaces import Distribution, Measure
from ood.measures import app_measures, proxy_measures, tls_measures, traffic_measures
from ood.model.document import Document, Settings
from ood.model.schema import changed_settings
from ood.net.listen import bind, bind_public, port_is_free
from ood.net.supervisor import Supervisor
from ood.notify.service import Notifier
from ood.paths import BALANCER_FILE, CERTS_DIRECTORY
from ood.procmon.hooks import Hooks
from ood.procmon.logs import Logs
from ood.procmon.monitor import ProcessMonitor
from ood.procmon.releases.library import Releases
from ood.proxy.edge import ReverseProxy
from ood.proxy.remotes import Remotes
from ood.store.file import FileStore
from ood.traffic.access import AccessLogs
from ood.traffic.traffic import Traffic

if TYPE_CHECKING:
    from ood.api.tls import ClientsWithCertificates

LOOPBACK = "127.0.0.1"


class OodService(MultiService):
    """All parts of one ood.

    :param home: its home, which is given back when the last part has stopped.
    :param settings: those in force; the API's port among them is announced.
    :param supervisor: is told when it has started, and when it is about to end.
    :param first: called before the parts are stopped, while all of them still work.
    :param last: called one after the other once the other parts have stopped: what
        they say and write until then is still wanted.
    """

    log = Logger(namespace="ood")

    def __init__(
        self,
        home: Home,
        settings: Settings,
        supervisor: Supervisor,
        *,
        first: Sequence[Callable[[], Awaitable[None]]] = (),
        last: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._home = home
        self._settings = settings
        self._supervisor = supervisor
        self._first = first
        self._last = last

    def startService(self) -> None:
        """Start every part, then tell the ``ood`` command where to find the API.

        :raises SystemExit: a part can't be started; the message is one line, not a traceback.
        """
        try:
            super().startService()  # type: ignore[no-untyped-call]
        except OodError as error:
            raise SystemExit(f"ood: {error}") from None
        self._home.announce(self._settings.api_port)
        self._supervisor.ready()
        http, https = self._settings.ports(root=os.geteuid() == 0)
        self.log.info(
            "ood {version} is ready: HTTP on port {http}, HTTPS on port {https}, home {home}",
            version=ood.__version__,
            http=http or "none",
            https=https or "none",
            home=self._home.path,
        )

    def stopService(self) -> Deferred[None]:
        """Stop every part; fire when all they started is gone."""
        self._supervisor.stopping()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stopping_already)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for prepare in self._first:
            await prepare()
        await super().stopService()  # type: ignore[no-untyped-call]
        for stop in self._last:
            await stop()
        self._home.close()


def _stopping_already(_number: int, _frame: object) -> None:
    """Take a further signal to stop as what it is; the reactor would log a fault."""


@dataclass(frozen=True)
class Listening:
    """The sockets that ood listens on, bound before anything else is done.

    :ivar http: one for each address family, none if the port is 0; https the same.
    :ivar api: the API's on loopback.
    :ivar api_tls: the API's for other machines with the certificates it asks for; None if it
        is not wanted.
    """

    http: list[socket.socket]
    https: list[socket.socket]
    api: socket.socket
    api_tls: tuple[socket.socket, ClientsWithCertificates] | None


def bind_ports(settings: Settings, supervisor: Supervisor) -> Listening:
    """Bind every port of ``settings``.

    :param supervisor: keeps the public ones over a restart.
    :raises StartupError: one of them, or a file that it needs, can't be used.
    """
    http, https = settings.ports(root=os.geteuid() == 0)
    public = partial(bind_public, supervisor=supervisor)
    listening = Listening(
        api_tls=_bind_api_tls(settings),
        api=bind(LOOPBACK, settings.api_port, what="the API (apiPort)"),
        http=public(http, what="HTTP (httpPort)") if http else [],
        https=public(https, what="HTTPS (httpsPort)") if https else [],
    )
    supervisor.release_rest()
    return listening


def _bind_api_tls(settings: Settings) -> tuple[socket.socket, ClientsWithCertificates] | None:
    wanted = settings.api_tls
    if wanted is None:
        return None
    from ood.api.tls import ClientsWithCertificates  # noqa: PLC0415 - OpenSSL costs memory

    context = ClientsWithCertificates(wanted)
    return bind(wanted.host, wanted.port, what="the API (apiTls)"), context


class Composition:
    """The parts of one ood.

    :param reactor: what they all run on.
    :param home: its home, opened.
    :param overrides: settings that options take the place of, by their key.
    :param open_files: how many descriptors this process may have.
    :param supervisor: who started it.
    :raises OodError: the document can't be read, or a port can't be had.
    """

    def __init__(
        self,
        reactor: Any,
        home: Home,
        overrides: Mapping[str, int],
        open_files: int,
        supervisor: Supervisor,
    ) -> None:
        self._reactor = reactor
        self._supervisor = supervisor
        self._clock = clock = MonotonicClock(reactor)
        self._home = home
        self._overrides = overrides
        self._store = FileStore(home.path, deferToThread)
        self._settings = changed_settings(self._store.document.settings, overrides)
        self._listening = bind_ports(self._settings, supervisor)
        self._token = load_or_create_token(home.path)
        self._events = EventBus()

        self._logs = Logs(home.logs, clock, deferToThread)
        self._access = AccessLogs(home.logs, clock, deferToThread)
        self._traffic = Traffic(clock, self._access)
        self._monitor = ProcessMonitor(
            reactor, clock, home.run, self._logs, events=self._events, traffic=self._traffic
        )
        self._releases = Releases(reactor, clock, home.apps)
        self._remotes = Remotes(reactor, clock, self._tell_upstream, lost=self._logs.remark)
        self._fleet = Fleet(self._monitor, self._remotes, self._traffic)
        self._notifier = Notifier(clock, self._events, Hooks(reactor, clock, os.environ).run)
        self._certificates = self._make_certificates()
        self._proxy = self._make_proxy(open_files)
        self._monitor.set_edge(self._proxy)
        self._controller = self._make_controller()
        self._balancer = self._make_balancer()

    # -- the parts that are given much

    def _make_certificates(self) -> CertificatesPart:
        return CertificatesPart(
            self._home.path / CERTS_DIRECTORY,
            self._reactor,
            self._clock,
            root=os.geteuid() == 0,
            publish=self._events.publish,
        )

    def _make_proxy(self, open_files: int) -> ReverseProxy:
        return ReverseProxy(
            self._reactor,
            self._clock,
            self._fleet,
            self._listening.http,
            lambda app, error: self._logs.remark(app, str(error)),
            open_files=open_files,
            traffic=self._traffic,
            secret=hashlib.sha256(b"ood-worker " + self._token.encode()).digest(),
            https=self._listening.https,
            certificates=self._certificates,
        )

    def _make_controller(self) -> Controller:
        return Controller(
            self._store,
            self._fleet,
            self._logs,
            access=self._access,
            releases=self._releases,
            clock=self._clock,
            overrides=self._overrides,
            port_is_free=port_is_free,
            trouble=self._proxy.trouble,
            events=self._events,
            notifier=self._notifier,
            certificate=self._certificates.app_certificate,
        )

    def _make_balancer(self) -> BalancerPart:
        engine, record = self._settings.balancer_engine, self._home.path / BALANCER_FILE
        return BalancerPart(
            self._store, engine, self._reactor, self._clock, record, events=self._events
        )

    # -- the whole

    def service(self) -> OodService:
        """Return all parts as one service, each as the document wants it."""
        last = (self._notifier.stopService, self._access.close)
        service = OodService(
            self._home, self._settings, self._supervisor, first=(self._proxy.settle,), last=last
        )
        parts = (self._logs, self._monitor, self._remotes, self._releases)
        edges = (self._certificates, self._proxy, self._balancer)
        for part in (*parts, *edges, *self._make_apis()):
            part.setServiceParent(service)  # type: ignore[no-untyped-call]
        self._store.subscribe(Configured(self._events, self._store.document))
        self._store.subscribe(self._converge)
        self._converge(self._store.document)
        return service

    def _make_apis(self) -> list[ApiService]:
        tls = self._listening.api_tls
        site = make_site(
            self._controller,
            self._token,
            mounts=self._make_mounts(),
            certificates=self._certificates,
            reactor=self._clock,
            events=self._events,
            tls_hosts=tls[1].hosts() if tls else frozenset(),
        )
        apis = [ApiService(site, self._listening.api, self._reactor, self._clock)]
        if tls:
            tls_site = ApiSite(site.api, self._clock)
            apis.append(ApiService(tls_site, tls[0], self._reactor, self._clock, tls=tls[1]))
        return apis

    def _make_mounts(self) -> dict[str, Mount]:
        services = self._balancer.resource(self._token, self._own_listeners)
        metrics = MetricsResource(self._measure)
        return {
            "services": Mount(services, "X-AUTH-TOKEN", checks_token=True),
            "metrics": Mount(
                metrics, is_open=lambda: self._store.document.settings.metrics_access == "loopback"
            ),
        }

    def _converge(self, document: Document) -> None:
        in_force = self._in_force(document)
        for part in (
            self._traffic,
            self._certificates,
            self._proxy,
            self._fleet,
            self._balancer,
            self._notifier,
        ):
            part.converge(in_force)

    def _in_force(self, document: Document) -> Document:
        """Return the document with the ports of the options, and each app where its release is."""
        settings = changed_settings(document.settings, self._overrides)
        apps = {name: self._releases.placed(name, app) for name, app in document.apps.items()}
        return msgspec.structs.replace(document, settings=settings, apps=apps)

    # -- what parts ask of the whole

    def _tell_upstream(self, app: str, text: str) -> None:
        """Tell of an upstream that became well or unwell."""
        self._logs.remark(app, text)
        self._events.publish("health", f"{app}: {text}", app)

    async def _measure(self) -> list[Measure | Distribution]:
        """Return everything that is measured now."""
        return [
            *app_measures(self._controller.status(None)),
            *proxy_measures(self._proxy.counters),
            *tls_measures(self._proxy.tls_counters),
            *traffic_measures(self._traffic),
            *self._certificates.measures(),
            *await self._balancer.measures(),
        ]

    def _own_listeners(self) -> list[tuple[str, int]]:
        """Return where ood itself listens for TCP; the empty host is every address."""
        ports = self._settings.ports(root=os.geteuid() == 0)
        apps = self._store.document.apps.values()
        own = [self._settings.api_port, *(app.port for app in apps)]
        return [*(("", port) for port in ports if port), *((LOOPBACK, port) for port in own)]
