"""What all parts of the proxy share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

import msgspec
from twisted.internet.interfaces import IReactorTime

from ood.background import Background
from ood.interfaces import IWorkerPool
from ood.net.listen import RawSocket
from ood.net.poller import Poller
from ood.proxy.core.familiar import Heads
from ood.proxy.core.repeats import Repeats
from ood.proxy.core.route import Table
from ood.proxy.http2.hoard import Hoard
from ood.proxy.live import Live
from ood.proxy.secured import Secured
from ood.proxy.sites import Sites
from ood.proxy.static.answers import StaticSite
from ood.proxy.sticky import Stickiness
from ood.proxy.upstream import Upstreams
from ood.traffic.traffic import Traffic


class Counters:
    """What happened since the start, for metrics.

    :ivar connections: client connections accepted.
    :ivar handed_off: connections given to workers.
    :ivar proxied: requests forwarded.
    :ivar tunnels: connections that became WebSockets on the proxied path.
    :ivar in_flight: requests being forwarded now.
    :ivar statuses: final responses on the proxied path by status.
    """

    __slots__ = ("connections", "handed_off", "in_flight", "proxied", "statuses", "tunnels")

    def __init__(self) -> None:
        self.connections = 0
        self.handed_off = 0
        self.proxied = 0
        self.tunnels = 0
        self.in_flight = 0
        self.statuses: Counter[int] = Counter()


@dataclass(frozen=True)
class Entry:
    """Where connections come in.

    :ivar port: the local port.
    :ivar app: the app whose own port it is; None where Host decides.
    :ivar scheme: ``http`` or ``https``, as the client sees it.
    :ivar told: requests come from a worker's guard, which tells the client's address.
    """

    port: int
    app: str | None = None
    scheme: bytes = b"http"
    told: bool = False


class Incoming(msgspec.Struct, frozen=True):
    """A client's connection whose request is still unread.

    :ivar address: the client's address and port.
    :ivar proxied: a proxy in front of ood tells whose requests come, so ood must see them.
    """

    sock: RawSocket
    address: tuple[str, int]
    entry: Entry
    proxied: bool = False


@dataclass(eq=False)
class Context:
    """What all parts of the proxy share.

    :ivar traffic: counts requests, and writes them down.
    :ivar sites: the rules of each app.
    :ivar heads: what was made of the heads of this moment.
    :ivar routes: which app answers to which Host; replaced as a whole.
    :ivar statics: the apps that are just files.
    :ivar compressing: the apps whose answers are compressed.
    :ivar direct: the apps whose requests go, as they come, to any of their workers, and whose
        answers come back so.
    :ivar one_app: there is just one app, so no connection can bring another one's request.
    :ivar sticky: which apps' clients stay with their workers.
    :ivar repeats: which requests are given to a second worker.
    :ivar secured: what HTTPS makes of plain requests; None without HTTPS.
    :ivar hoard: what all HTTP/2 connections keep.
    :ivar draining: the service ends: answers close their connections.
    """

    reactor: Poller
    clock: IReactorTime
    pool: IWorkerPool
    live: Live
    upstreams: Upstreams
    traffic: Traffic
    sites: Sites
    heads: Heads
    background: Background = field(default_factory=Background)
    counters: Counters = field(default_factory=Counters)
    routes: Table = field(default_factory=lambda: Table({}))
    repeats: Repeats = field(default_factory=Repeats)
    sticky: Stickiness = field(default_factory=Stickiness)
    statics: Mapping[str, StaticSite] = field(default_factory=dict)
    compressing: Set[str] = frozenset()
    direct: Set[str] = frozenset()
    one_app: bool = False
    draining: bool = False
    secured: Secured | None = None
    hoard: Hoard = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing kept."""
        self.hoard = Hoard(self.clock)
