"""The composition root: ``twistd ood`` puts the parts together here.

Everything that can be wrong with a start (home, document, ports) is found in
:func:`makeService`, before twistd becomes a daemon and before anything was
changed; it ends with one line on stderr and exit status 1.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.python import usage

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
from ood.descriptors import raise_descriptor_limit
from ood.errors import OodError
from ood.events import EventBus
from ood.fleet import Fleet
from ood.home import Home
from ood.interfaces import Distribution, Measure
from ood.measures import app_measures, proxy_measures, tls_measures, traffic_measures
from ood.model.document import Document, Settings
from ood.model.schema import changed_settings
from ood.net.listen import bind, bind_public, port_is_free
from ood.notify.service import Notifier
from ood.paths import BALANCER_FILE, CERTS_DIRECTORY, default_home
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


def port_option(text: str) -> int:
    """Return the port that an option names.

    :raises ValueError: it is none.
    """
    if not text.isdigit() or int(text) > 65535:
        raise ValueError("a port is a number from 0 to 65535 (0: off)")
    return int(text)


class Options(usage.Options):
    """The options of ``twistd ood``."""

    synopsis = "[options]"
    longdesc = "Runs Node.js sites. The ood command steers it: see ood help."
    optParameters = [
        ["home", None, None, "Where ood keeps its state (OOD_HOME; /var/lib/ood or ~/.ood)."],
        ["http-port", None, None, "Port for HTTP instead of the setting httpPort.", port_option],
        ["https-port", None, None, "Port for HTTPS instead of httpsPort.", port_option],
        ["api-port", None, None, "Loopback port of the API instead of apiPort.", port_option],
    ]


class OodService(MultiService):
    """All parts of one ood.

    :param home: its home, which is given back when the last part has stopped.
    :param api_port: where the API listens, for the announcement.
    :param last: called one after the other once the other parts have stopped: what
        they say and write until then is still wanted.
    """

    def __init__(
        self, home: Home, api_port: int, last: Sequence[Callable[[], Deferred[None]]]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._home = home
        self._api_port = api_port
        self._last = last

    def startService(self) -> None:
        """Start every part, then tell the ``ood`` command where to find the API."""
        super().startService()  # type: ignore[no-untyped-call]
        self._home.announce(self._api_port)

    def stopService(self) -> Deferred[None]:
        """Stop every part; fire when all they started is gone."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stopping_already)
        parts: Deferred[Any] = super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop(parts))

    async def _stop(self, parts: Deferred[Any]) -> None:
        await parts
        for stop in self._last:
            await stop()
        self._home.close()


def _stopping_already(_number: int, _frame: object) -> None:
    """Take a further signal to stop as what it is; the reactor would log a fault."""


def makeService(options: Options) -> OodService:
    """Return ood as a service for twistd.

    :raises SystemExit: it can't start here; the message is one line for stderr.
    """
    home = Home(Path(options["home"]) if options["home"] else default_home())
    open_files = raise_descriptor_limit()
    try:
        home.open()
        return _compose(home, options, open_files)
    except OodError as error:
        home.close()
        raise SystemExit(f"ood: {error}") from None


def _overrides(options: Options) -> dict[str, int]:
    """Return the settings that options take the place of, by their key."""
    names = {"httpPort": "http-port", "httpsPort": "https-port", "apiPort": "api-port"}
    chosen = {key: options[name] for key, name in names.items()}
    return {key: port for key, port in chosen.items() if port is not None}


def _compose(home: Home, options: Options, open_files: int) -> OodService:
    """Bind the ports and connect the parts."""
    from twisted.internet import reactor  # noqa: PLC0415 - the one place that chooses it

    any_reactor: Any = reactor
    clock = MonotonicClock(any_reactor)
    overrides = _overrides(options)
    store = FileStore(home.path, deferToThread)
    settings = changed_settings(store.document.settings, overrides)
    http_port, https_port = settings.ports(root=os.geteuid() == 0)
    tls = _listen_tls(settings)
    api_socket = bind(LOOPBACK, settings.api_port, what="the API (apiPort)")
    http_sockets = bind_public(http_port, what="HTTP (httpPort)") if http_port else []
    https_sockets = bind_public(https_port, what="HTTPS (httpsPort)") if https_port else []
    token = load_or_create_token(home.path)
    events = EventBus()

    logs = Logs(home.logs, clock)
    access = AccessLogs(home.logs, clock, any_reactor)
    traffic = Traffic(clock, access)
    monitor = ProcessMonitor(any_reactor, clock, home.run, logs, events=events, traffic=traffic)
    releases = Releases(any_reactor, clock, home.apps)
    remotes = Remotes(any_reactor, clock, partial(_tell_upstream, logs, events))
    fleet = Fleet(monitor, remotes, traffic)
    notifier = Notifier(clock, events, Hooks(any_reactor, clock, os.environ).run)
    certificates = CertificatesPart(
        home.path / CERTS_DIRECTORY,
        any_reactor,
        clock,
        root=os.geteuid() == 0,
        publish=events.publish,
    )
    proxy = ReverseProxy(
        any_reactor,
        clock,
        fleet,
        http_sockets,
        lambda app, error: logs.remark(app, str(error)),
        open_files=open_files,
        traffic=traffic,
        secret=hashlib.sha256(b"ood-worker " + token.encode()).digest(),
        https=https_sockets,
        certificates=certificates,
    )
    monitor.set_edge(proxy)
    controller = Controller(
        store,
        fleet,
        logs,
        access=access,
        releases=releases,
        clock=clock,
        overrides=overrides,
        port_is_free=port_is_free,
        trouble=proxy.trouble,
        events=events,
        notifier=notifier,
        certificate=certificates.app_certificate,
    )
    record = home.path / BALANCER_FILE
    balancer = BalancerPart(
        store, settings.balancer_engine, any_reactor, clock, record, events=events
    )
    l4_routes = balancer.resource(token, lambda: _listeners(store.document, settings))

    mounts = {
        "services": Mount(l4_routes, "X-AUTH-TOKEN", checks_token=True),
        "metrics": Mount(
            MetricsResource(lambda: _measure(controller, proxy, balancer, traffic, certificates)),
            is_open=lambda: store.document.settings.metrics_access == "loopback",
        ),
    }
    site = make_site(
        controller,
        token,
        mounts=mounts,
        certificates=certificates,
        reactor=clock,
        events=events,
        tls_hosts=tls[1].hosts() if tls else frozenset(),
    )

    service = OodService(home, settings.api_port, (notifier.stopService, access.close))
    apis = [ApiService(site, api_socket, any_reactor, clock)]
    if tls:
        apis.append(ApiService(ApiSite(site.api, clock), tls[0], any_reactor, clock, tls=tls[1]))
    for part in (logs, monitor, remotes, releases, certificates, proxy, balancer, *apis):
        part.setServiceParent(service)  # type: ignore[no-untyped-call]

    def converge(document: Document) -> None:
        in_force = _in_force(document, overrides, releases)
        for part in (traffic, certificates, proxy, fleet, balancer, notifier):
            part.converge(in_force)

    store.subscribe(Configured(events, store.document))
    store.subscribe(converge)
    converge(store.document)
    return service


def _tell_upstream(logs: Logs, events: EventBus, app: str, text: str) -> None:
    """Tell of an upstream that became well or unwell."""
    logs.remark(app, text)
    events.publish("health", f"{app}: {text}", app)


def _listen_tls(settings: Settings) -> tuple[socket.socket, ClientsWithCertificates] | None:
    """Bind the API's port for other machines, if there is to be one.

    :raises StartupError: its address or its files can't be used.
    """
    wanted = settings.api_tls
    if wanted is None:
        return None
    from ood.api.tls import ClientsWithCertificates  # noqa: PLC0415 - OpenSSL costs memory

    context = ClientsWithCertificates(wanted)
    return bind(wanted.host, wanted.port, what="the API (apiTls)"), context


async def _measure(
    controller: Controller,
    proxy: ReverseProxy,
    balancer: BalancerPart,
    traffic: Traffic,
    certificates: CertificatesPart,
) -> list[Measure | Distribution]:
    """Return everything that is measured now."""
    apps, own = app_measures(controller.status(None)), proxy_measures(proxy.counters)
    rest = [*tls_measures(proxy.tls_counters), *traffic_measures(traffic), *certificates.measures()]
    return [*apps, *own, *rest, *await balancer.measures()]


def _in_force(document: Document, overrides: Mapping[str, int], releases: Releases) -> Document:
    """Return the document with the ports of the options, and each app where its release is."""
    settings = changed_settings(document.settings, overrides)
    apps = {name: releases.placed(name, app) for name, app in document.apps.items()}
    return msgspec.structs.replace(document, settings=settings, apps=apps)


def _listeners(document: Document, settings: Settings) -> list[tuple[str, int]]:
    """Return where ood itself listens for TCP; the empty host is every address."""
    public = [("", port) for port in settings.ports(root=os.geteuid() == 0) if port]
    own = [settings.api_port, *(app.port for app in document.apps.values())]
    return [*public, *((LOOPBACK, port) for port in own)]
