"""An app whose servers somebody else runs: which are well, and who gets the next request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ood.background import Background
from ood.errors import UnavailableError, WorkerError
from ood.interfaces import Upstream, Worker
from ood.model.document import App
from ood.model.status import AppStatus
from ood.model.upstreamtls import Tls
from ood.proxy.checks import CheckError, check
from ood.proxy.core import balance
from ood.proxy.names import look_up
from ood.proxy.remote import RemoteServer

if TYPE_CHECKING:
    from ood.proxy.tls.outgoing import Towards

LOOK_UP_SECONDS = 30.0
"""How often a name is looked up again: what most providers of cloud services advise."""
UNKNOWN_SECONDS = 5.0
"""How long a request waits for the first look-up of a name."""
WAITERS_MAX = 1024
"""Requests that may wait at once: each holds a connection."""


class RemoteApp:
    """One app of type proxy.

    :ivar app: its settings.
    :ivar clock: for durations.
    :param reactor: for checks and look-ups.
    :param remark: tells the reader of the app's log that a server goes or comes back.
    :param lost: tells that reader of single requests.
    :param chance: returns a random number from 0 to 1.
    :param towards: returns how TLS is spoken to a server.
    """

    def __init__(
        self,
        reactor: Any,
        clock: IReactorTime,
        name: str,
        app: App,
        *,
        remark: Callable[[str], None],
        lost: Callable[[str], None],
        chance: Callable[[], float],
        towards: Callable[[Tls], Towards],
    ) -> None:
        self.clock = clock
        self.name = name
        self.app = app
        self._reactor = reactor
        self._remark = remark
        self._tell_lost = lost
        self._chance = chance
        self._towards = towards
        self._background = Background()
        self._servers: dict[str, RemoteServer] = {}
        self._timers: dict[RemoteServer, IDelayedCall] = {}
        self._settled: list[Deferred[None]] = []
        self._waiting: dict[Deferred[None], IDelayedCall] = {}

    def converge(self, app: App) -> None:
        """Become what ``app`` wants."""
        before, self.app = self.app, app
        wanted = {one.address: one for one in app.upstreams} if app.running else {}
        for address in [one for one in self._servers if one not in wanted]:
            self._forget(self._servers.pop(address))
        for instance, (address, server) in enumerate(wanted.items()):
            present = self._servers.get(address)
            if present is not None and present.server.tls() != server.tls():
                self._forget(present)  # with its connections, which trusted somebody else
                present = None
            if present is None:
                tls = server.tls()
                towards = None if tls is None else self._towards(tls)
                present = self._servers[address] = RemoteServer(self, instance, server, towards)
                self._begin(present)
            elif before.health_interval != app.health_interval:
                self._check_soon(present)
            present.configured(instance, server)
            present.look()
        self._servers = {address: self._servers[address] for address in wanted}
        self._tell()

    def stop(self) -> Deferred[None]:
        """Forget all servers; fire when no check is under way any more."""
        self.app = msgspec.structs.replace(self.app, running=False)
        for server in self._servers.values():
            self._forget(server)
        self._servers.clear()
        self._tell()
        return self._background.stop()

    def _forget(self, server: RemoteServer) -> None:
        server.stop()
        timer = self._timers.pop(server, None)
        if timer is not None and timer.active():
            timer.cancel()

    # Checks and look-ups.

    def _begin(self, server: RemoteServer) -> None:
        if not server.addresses:
            self._background.run("looking a name up", self._look_up(server))
        elif self.app.health_interval:
            self._background.run("checking an upstream", self._check(server))
        else:
            server.checked(None)

    def _here(self, server: RemoteServer) -> bool:
        return self._servers.get(server.server.address) is server

    async def _look_up(self, server: RemoteServer) -> None:
        first = not server.addresses
        server.resolved(await look_up(self._reactor, server.where))
        if not self._here(server):
            return
        if server.addresses and first:
            self._begin(server)
        self._background.run("waiting", self._look_up_later(server))

    async def _look_up_later(self, server: RemoteServer) -> None:
        waiting: Deferred[None] = Deferred()
        timer = self.clock.callLater(LOOK_UP_SECONDS, waiting.callback, None)
        try:
            await waiting
        finally:
            if timer.active():
                timer.cancel()
        if self._here(server):
            await self._look_up(server)

    async def _check(self, server: RemoteServer) -> None:
        app = self.app
        ask = (app.hosts(self.name)[0].replace("*.", ""), app.health_path)
        asked = (ask[0], ask[1]) if ask[1] is not None else None
        seconds = app.health_timeout / 1000
        failure = None
        try:
            await check(self._reactor, self.clock, server, asked, seconds)
        except CheckError as error:
            failure = str(error)
        if self._here(server):
            server.checked(failure)
            self._check_later(server)

    def _check_later(self, server: RemoteServer) -> None:
        if self.app.health_interval:
            seconds = self.app.health_interval / 1000
            self._timers[server] = self.clock.callLater(seconds, self._check_now, server)

    def _check_soon(self, server: RemoteServer) -> None:
        """Begin anew, with another interval."""
        timer = self._timers.pop(server, None)
        if timer is not None and timer.active():
            timer.cancel()
            self._begin(server)

    def _check_now(self, server: RemoteServer) -> None:
        self._timers.pop(server, None)
        self._background.run("checking an upstream", self._check(server))

    def changed(self, server: RemoteServer) -> None:
        """Learn that more is known of a server; tell the log when it goes and comes back."""
        where, why = server.server.address, server.wellness.reason
        if server.accepting and server.missed:
            server.missed = False
            self._remark(f"upstream {where} gets requests again")
        elif not server.accepting and why and not server.missed:
            server.missed = True
            self._remark(f"upstream {where} gets no requests: {why}")
        self._tell()

    def lost(self, server: RemoteServer, why: str) -> None:
        """Tell the log why clients see a 502 although the server is well."""
        self._tell_lost(f"upstream {server.server.address} lost a request: {why}")

    # What the proxy asks.

    def workers(self) -> Sequence[Worker]:
        """Return the servers that can take a request."""
        return self._candidates(())

    def _candidates(self, tried: Collection[Worker]) -> list[RemoteServer]:
        """Return who may get the next request: backups only if nobody else can.

        When all were taken out because requests failed, and none because of its checks, the
        cause may be the requests: all of them are tried again, rather than none.
        """
        there = [one for one in self._servers.values() if one.addresses]
        left = [one for one in there if one not in tried] or there
        ready = [one for one in left if one.accepting]
        if not ready:
            ready = [one for one in left if one.wellness.checked is not False]
        return [one for one in ready if not one.server.backup] or ready

    def choose(self, tried: Collection[Worker]) -> RemoteServer | None:
        """Return the server that is to get the next request."""
        ready = self._candidates(tried)
        if len(ready) < 2:
            return ready[0] if ready else None
        if self.app.balance == "roundRobin":
            return balance.round_robin(ready)
        if self.app.balance == "random":
            return balance.of_two(ready, self._chance(), self._chance())
        return balance.least_busy(ready)

    def connect(self, worker: Worker | None) -> Upstream | None:
        """Begin a connection."""
        server = worker if isinstance(worker, RemoteServer) else self.choose(())
        return None if server is None else server.connect()

    def when_available(self) -> Deferred[None]:
        """Fire when a server can take requests."""
        waiter: Deferred[None] = Deferred(self._give_up)
        if self._candidates(()):
            waiter.callback(None)
        elif not self._unknown() or len(self._waiting) >= WAITERS_MAX:
            waiter.errback(self._unavailable())
        else:
            timer = self.clock.callLater(UNKNOWN_SECONDS, self._timed_out, waiter)
            self._waiting[waiter] = timer
        return waiter

    def _unavailable(self) -> UnavailableError:
        if not self.app.running:
            return UnavailableError(f"{self.name} is stopped", f"start it: ood start {self.name}")
        return UnavailableError("the site's servers do not answer", f"see: ood status {self.name}")

    def _give_up(self, waiter: Deferred[None]) -> None:
        timer = self._waiting.pop(waiter, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _timed_out(self, waiter: Deferred[None]) -> None:
        del self._waiting[waiter]
        waiter.errback(self._unavailable())

    # What the controller asks.

    def _unknown(self) -> bool:
        return any(one.state == "launching" for one in self._servers.values())

    @property
    def state(self) -> str:
        """Whether it answers, for people."""
        if not self.app.running:
            return "stopped"
        states = {one.state for one in self._servers.values()}
        return next(one for one in ("online", "launching", "errored") if one in states)

    def when_settled(self) -> Deferred[None]:
        """Fire when each server was asked, or it is stopped; fail when no server answers."""
        waiter: Deferred[None] = Deferred(self._settled.remove)
        self._settled.append(waiter)
        self._tell()
        return waiter

    def _tell(self) -> None:
        """Tell everyone who waits what they waited for, if it is known by now."""
        if self._candidates(()):
            for waiter in list(self._waiting):
                self._give_up(waiter)
                waiter.callback(None)
        elif self._waiting and not self._unknown():
            for waiter in list(self._waiting):
                self._give_up(waiter)
                waiter.errback(self._unavailable())
        if self._settled and not self._unknown():
            settled, self._settled = self._settled, []
            for waiter in settled:
                if self.state == "errored":
                    waiter.errback(self._error())
                else:
                    waiter.callback(None)

    def _error(self) -> WorkerError:
        message = "; ".join(self.troubles()) or "it has no upstreams"
        return WorkerError(f"{self.name}: {message}", f"ood status {self.name}")

    def troubles(self) -> tuple[str, ...]:
        """Return what is wrong with servers, for people."""
        return tuple(
            f"upstream {one.address} gets no requests: {one.reason}"
            for one in (server.status() for server in self._servers.values())
            if one.state == "errored"
        )

    def status(self) -> AppStatus:
        """Return the live state."""
        return AppStatus(
            name=self.name,
            type=self.app.type,
            state=self.state,
            running=self.app.running,
            wanted=0,
            port=self.app.port,
            user="",
            trouble=self.troubles(),
            upstreams=tuple(one.status() for one in self._servers.values()),
        )
