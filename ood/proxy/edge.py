"""The reverse proxy as a service."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from ood.background import Background
from ood.errors import StartupError
from ood.interfaces import ICertificates, IEdge, IWorkerPool
from ood.model.apptypes import NODE
from ood.model.document import App, Document
from ood.net.listen import bind
from ood.net.poller import Poller
from ood.proxy import limits
from ood.proxy.client import Client
from ood.proxy.context import Context, Counters, Entry, Incoming
from ood.proxy.core.familiar import Heads
from ood.proxy.core.route import Table
from ood.proxy.dispatch import Dispatcher
from ood.proxy.https import Https
from ood.proxy.listener import Listener
from ood.proxy.live import Live
from ood.proxy.sites import Sites
from ood.proxy.static.answers import statics
from ood.proxy.sticky import Stickiness
from ood.proxy.tls.counters import TlsCounters
from ood.proxy.upstream import Upstreams
from ood.traffic.traffic import Traffic

LOOPBACK = "127.0.0.1"
"""Where each app also answers, on its own port."""

PortTrouble = Callable[[str, StartupError], None]
"""``trouble(app, error)``: the app's own port can't be bound."""


@implementer(IEdge)
class ReverseProxy(Service):
    """Takes clients' connections and sends each to the app whose Host it names.

    :param http: listening sockets for HTTP; they are closed at the end.
    :param trouble: is called when an app's own loopback port can't be bound.
    :param https: listening sockets for HTTPS; they need ``certificates``.
    :param open_files: how many descriptors this process may have; clients get not quite all.
    :param traffic: where requests are counted and written down.
    :param secret: makes cookies by which clients stay with workers; by chance if absent.
    """

    name = "proxy"
    log = Logger()

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        pool: IWorkerPool,
        http: Sequence[socket.socket] = (),
        trouble: PortTrouble | None = None,
        *,
        https: Sequence[socket.socket] = (),
        certificates: ICertificates | None = None,
        open_files: int = sys.maxsize,
        traffic: Traffic | None = None,
        secret: bytes | None = None,
    ) -> None:
        self._ceiling = max(open_files - limits.DESCRIPTORS_KEPT_BACK, open_files // 2)
        heads = Heads()
        live = Live(clock, heads.forget)
        self._poller = Poller(reactor)
        self._upstreams = Upstreams(self._poller, live, pool)
        background = Background()
        self._sites = Sites(clock, background)
        self._context = Context(
            reactor=self._poller,
            clock=clock,
            pool=pool,
            live=live,
            upstreams=self._upstreams,
            traffic=traffic or Traffic(clock),
            sites=self._sites,
            heads=heads,
            background=background,
            sticky=Stickiness(secret),
        )
        self._dispatcher = Dispatcher(self._context)
        self._listeners = [self._listener(sock, Entry(sock.getsockname()[1])) for sock in http]
        self._https: Https | None = None
        if certificates is not None:
            ports = self._http_port(), https[0].getsockname()[1] if https else 0
            self._https = Https(self._context, certificates, self._dispatcher, *ports)
            self._listeners += [self._https_listener(self._https, sock) for sock in https]
        self._apps: dict[str, Listener] = {}
        self._strangers: dict[str, set[Client]] = {}
        self._trouble = trouble
        self._ports: dict[str, int] = {}
        self._occupied: dict[str, StartupError] = {}
        self._retry: IDelayedCall | None = None
        self._accepts = True

    @property
    def counters(self) -> Counters:
        """What happened since the start."""
        return self._context.counters

    @property
    def tls_counters(self) -> TlsCounters:
        """What happened on the HTTPS port since the start."""
        return TlsCounters() if self._https is None else self._https.counters

    def startService(self) -> None:
        """Accept connections."""
        super().startService()  # type: ignore[no-untyped-call]
        self._poller.start()
        for listener in (*self._listeners, *self._apps.values()):
            listener.start()
        self._open_ports()

    async def settle(self) -> None:
        """Accept no more; return when those who came before have sent what they came for.

        While it waits, everything goes on for them as ever: what they send may still need an
        app's workers.  Who sends nothing for :data:`~ood.proxy.limits.SETTLE_SECONDS`, as
        browsers that connect on suspicion, is not waited for.
        """
        self._close_ports()
        clock = self._context.clock
        latest = clock.seconds() + limits.SETTLE_SECONDS
        while self._awaited() and clock.seconds() < latest:
            await deferLater(clock, limits.SETTLE_LOOK_SECONDS, lambda: None)

    def _awaited(self) -> int:
        return self._dispatcher.awaited + (0 if self._https is None else self._https.awaited)

    def _close_ports(self) -> None:
        self._accepts = False
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for listener in (*self._listeners, *self._apps.values()):
            listener.stop()
        self._listeners, self._apps = [], {}

    def stopService(self) -> Deferred[None]:
        """Accept no more; fire when all exchanges are done or were ended at the drain limit."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._close_ports()
        self._context.draining = self._upstreams.draining = True
        if self._https is not None:
            self._https.stop()
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        limit = self._context.clock.callLater(limits.DRAIN_SECONDS, self._context.live.reset)
        await self._context.live.drain()
        if limit.active():
            limit.cancel()
        await self._context.background.stop()
        self._poller.stop()

    def converge(self, document: Document) -> None:
        """Route as ``document`` says, and listen on each app's own port."""
        self._context.routes = Table(document.apps)
        self._context.statics = statics(document)
        self._context.compressing = {name for name, app in document.apps.items() if app.compress}
        self._sites.converge(document)
        self._context.sticky.converge(document.apps)
        self._context.direct = {name for name, app in document.apps.items() if _is_direct(app)}
        self._context.one_app = len(document.apps) == 1
        if self._https is not None:
            self._https.converge(document)
        self._strangers = {name: self._strangers.get(name, set()) for name in document.apps}
        self._ports = {name: app.port for name, app in document.apps.items()}
        for name, listener in list(self._apps.items()):
            if self._ports.get(name) != listener.entry.port:
                del self._apps[name]
                listener.stop()
        self._open_ports()

    def trouble(self, app: str) -> tuple[str, ...]:
        """Return why the app's own port does not answer, if so, and what is wrong with rules."""
        error = self._occupied.get(app)
        texts = () if error is None else (str(error),)
        return (*texts, *self._sites.trouble(app))

    def _open_ports(self) -> None:
        """Listen on every app's port that is still missing; try again later if one is taken."""
        before, self._occupied = self._occupied, {}
        for name, port in self._ports.items() if self._accepts else ():
            if name not in self._apps:
                self._open(name, port, before.get(name))
        if self._occupied and self.running and self._retry is None:
            self._retry = self._context.clock.callLater(limits.PORT_RETRY_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._open_ports()

    def _open(self, name: str, port: int, before: StartupError | None) -> None:
        try:
            sock = bind(LOOPBACK, port, what=f"app {name} (port)")
        except StartupError as error:
            self._occupied[name] = error
            if str(error) != str(before):  # the log tells it once
                self._report(name, error)
            return
        listener = self._apps[name] = self._listener(sock, Entry(port, name))
        if self.running:
            listener.start()

    def _report(self, name: str, error: StartupError) -> None:
        self.log.error("{error}", error=str(error))
        if self._trouble is not None:
            self._trouble(name, error)

    def _listener(self, sock: socket.socket, entry: Entry) -> Listener:
        context = self._context
        return Listener(
            self._poller, context.clock, self._dispatcher, sock, entry, ceiling=self._ceiling
        )

    def _https_listener(self, https: Https, sock: socket.socket) -> Listener:
        entry = Entry(sock.getsockname()[1], scheme=b"https")
        clock = self._context.clock
        return Listener(self._poller, clock, https, sock, entry, ceiling=self._ceiling)

    def adopt(self, app: str, sock: socket.socket) -> None:  # noqa: ARG002 its next request decides
        """Take a client's idle connection back from a worker that drains."""
        if self._context.draining:
            sock.close()
        else:
            self._dispatcher.adopt(sock)

    def strangers(self, app: str, sock: socket.socket) -> None:
        """Serve requests that a worker of ``app`` got for other hosts."""
        present = {one for one in self._strangers.get(app, ()) if not one.closed}
        if self._context.draining or len(present) >= limits.STRANGERS_PER_APP_MAX:
            sock.close()
            return
        entry = Entry(self._http_port(), told=True)
        client = Client(self._context, Incoming(sock, ("", 0), entry))
        self._strangers[app] = present | {client}
        client.resume_reading()

    def _http_port(self) -> int:
        plain = (one.entry.port for one in self._listeners if one.entry.scheme == b"http")
        return next(plain, 0)


def _is_direct(app: App) -> bool:
    """Tell whether any worker may have the app's requests, as they come, and answer so."""
    return (
        app.type == NODE
        and app.stickiness() == "off"
        and not app.compress
        and not app.proxied_because()
    )
