"""A worker pool without processes: what the proxy needs of a process monitor."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ood.errors import UnavailableError
from ood.interfaces import IWorkerPool, Refused, Upstream, Worker

Address = tuple[str, int] | str
"""Where a backend listens: host and port, or the path of a unix socket."""


@dataclass(eq=False)
class Backend:
    """A worker that is really a server listening somewhere.

    :ivar address: where it listens; a unix socket counts as a pipe into the worker.
    """

    worker: Worker
    address: Address


@dataclass(eq=False)
class FakeApp:
    """What the pool knows of an app.

    :ivar backends: its workers; one is taken if it accepts.
    :ivar sockets: called with a client's socket and says whether it was taken; None
        where the app's connections may only be proxied.
    :ivar choose: which worker is to get a request, after those that were tried; None where
        the proxy may choose.
    :ivar guarded: workers check Host themselves, so they may get any connection.
    :ivar why_none: why there is no worker; waiting fails with it.  None lets callers
        wait until :meth:`FakeWorkerPool.wake`.
    """

    backends: list[Backend] = field(default_factory=list)
    sockets: Callable[[socket.socket, Refused], bool] | None = None
    choose: Callable[[Collection[Worker]], Worker | None] | None = None
    guarded: bool = True
    why_none: str | None = "the app is stopped"
    waiting: list[Deferred[None]] = field(default_factory=list)


@implementer(IWorkerPool)
class FakeWorkerPool:
    """Hands out connections to backends that a test runs.

    :ivar apps: what it knows, by name.
    :ivar connects: how many upstream connections were opened.
    :ivar keys: the keys of connections that were to be handed off.
    """

    def __init__(self) -> None:
        self.apps: dict[str, FakeApp] = {}
        self.connects = 0
        self.keys: list[bytes | None] = []

    def add(self, name: str, *addresses: Address) -> FakeApp:
        """Add an app with a worker at each address."""
        backends = [
            Backend(Worker(name, number), address) for number, address in enumerate(addresses)
        ]
        app = self.apps[name] = FakeApp(backends)
        return app

    def wake(self, name: str) -> None:
        """Fire for all who wait for a worker of the app."""
        app = self.apps[name]
        waiting, app.waiting = app.waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def hand_off(
        self, app: str, sock: socket.socket, refused: Refused, key: bytes | None = None
    ) -> bool:
        """Offer the socket to the app's ``sockets``; note the key."""
        self.keys.append(key)
        known = self.apps.get(app)
        return known is not None and known.sockets is not None and known.sockets(sock, refused)

    def workers(self, app: str) -> Sequence[Worker]:
        """Return the workers of all backends."""
        known = self.apps.get(app)
        return [one.worker for one in known.backends] if known else []

    def choose(self, app: str, tried: Collection[Worker]) -> Worker | None:
        """Return what the app's ``choose`` says."""
        known = self.apps.get(app)
        return None if known is None or known.choose is None else known.choose(tried)

    def connect(self, app: str, worker: Worker | None = None) -> Upstream | None:
        """Connect to a worker, or else to the accepting backend with the fewest connections."""
        known = self.apps.get(app)
        there = known.backends if known else []
        if worker is None:
            ready = [one for one in there if one.worker.accepting]
        else:
            ready = [one for one in there if one.worker is worker]
        if not ready:
            return None
        self.connects += 1
        backend = min(ready, key=lambda one: one.worker.pipes)
        address = backend.address
        pipe = isinstance(address, str)
        sock = socket.socket(socket.AF_UNIX if pipe else socket.AF_INET)
        sock.setblocking(False)
        sock.connect_ex(address)
        return Upstream(sock, backend.worker, pipe)

    def takes_sockets(self, app: str, *, alone: bool) -> bool:
        """Tell whether the app has ``sockets`` and may get this one."""
        known = self.apps.get(app)
        return known is not None and known.sockets is not None and (known.guarded or alone)

    def when_available(self, app: str) -> Deferred[None]:
        """Fire at once if there is a worker, else as ``why_none`` says."""
        known = self.apps.get(app)
        if known is None:
            return fail(UnavailableError(f"there is no app {app}"))
        if any(one.worker.accepting for one in known.backends):
            return succeed(None)
        if known.why_none is not None:
            return fail(UnavailableError(known.why_none, f"ood start {app}"))
        waiter: Deferred[None] = Deferred()
        known.waiting.append(waiter)
        return waiter
