"""Health checks: every watched server is probed again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ood.background import Background
from ood.balancer.core.health import Health
from ood.model.services import Check, Server, Service

Prober = Callable[[Service, Server], Awaitable[str | None]]
"""Probes a server; None is alive, a text says why it counts as dead."""

Watched = tuple[str, str]
"""The ids of a service and of a server in it."""


class _Watch:
    """One server that is probed."""

    def __init__(self, service: Service, server: Server, check: Check) -> None:
        self.service = service
        self.server = server
        self.check = check
        self.health = Health()
        self.stopped = False


Told = Callable[[str, str, bool, str], None]
"""``told(service, server, up, reason)``: a server became well, or unwell for a reason."""


def nobody(_service: str, _server: str, _up: bool, _reason: str) -> None:
    """Hear of servers, and do nothing."""


class HealthChecker:
    """Probes the servers of services with a check, and says which are down.

    :ivar told: hears of each server that becomes well or unwell.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, prober: Prober, changed: Callable[[], None]) -> None:
        self._clock = clock
        self._prober = prober
        self._changed = changed
        self.told: Told = nobody
        self._watches: dict[Watched, _Watch] = {}
        self._background = Background()

    def watch(self, services: Iterable[Service]) -> None:
        """Watch the servers of these services, and no others.

        A server whose check stays the same keeps what is known of it.
        """
        wanted = {
            (service.id, server.id): (service, server, service.check)
            for service in services
            if service.check is not None
            for server in service.servers
        }
        for name in [name for name in self._watches if name not in wanted]:
            self._watches.pop(name).stopped = True
        for index, (name, (service, server, check)) in enumerate(wanted.items()):
            known = self._watches.get(name)
            if known is not None and known.check == check:
                known.service, known.server = service, server
                continue
            if known is not None:
                known.stopped = True
            watch = self._watches[name] = _Watch(service, server, check)
            # spread over the interval, so that not all are probed at once
            delay = check.interval * (index / len(wanted))
            self._background.run(f"check of {server.id} for {service.id}", self._run(watch, delay))

    async def _run(self, watch: _Watch, delay: float) -> None:
        await self._sleep(delay)
        while not watch.stopped:
            failure = await self._probe(watch)
            if not watch.stopped:
                self._note(watch, failure)
                await self._sleep(watch.check.interval)

    async def _probe(self, watch: _Watch) -> str | None:
        try:
            return await self._prober(watch.service, watch.server)
        except CancelledError:
            raise
        except Exception as error:
            # whatever it was: a server that is no longer probed would be the worse failure
            self.log.failure("A probe of {server} failed", server=watch.server.id)
            return f"the probe failed: {error}"

    def _note(self, watch: _Watch, failure: str | None) -> None:
        before = watch.health
        watch.health = before.observe(failure, watch.check.retries, watch.check.rise)
        if watch.health.up == before.up:
            return
        self.log.warn(
            "{server} of {service} is {state}{reason}",
            server=watch.server.id,
            service=watch.service.id,
            state="up again" if watch.health.up else "down",
            reason=f": {failure}" if failure else "",
        )
        self.told(watch.service.id, watch.server.id, watch.health.up, failure or "")
        self._changed()

    async def _sleep(self, seconds: float) -> None:
        waiting: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self._clock.callLater(seconds, waiting.callback, None)
        await waiting

    def down(self) -> frozenset[Watched]:
        """Return the servers that count as dead."""
        return frozenset(name for name, watch in self._watches.items() if not watch.health.up)

    def health(self, service_id: str, server_id: str) -> Health | None:
        """Return what is known of a server, if it is watched."""
        watch = self._watches.get((service_id, server_id))
        return None if watch is None else watch.health

    def stop(self) -> Deferred[None]:
        """Stop probing; fire when no probe runs any more."""
        for watch in self._watches.values():
            watch.stopped = True
        self._watches.clear()
        return self._background.stop()
