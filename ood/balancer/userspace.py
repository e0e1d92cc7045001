"""The userspace engine: relays of our own, for machines without IPVS or root.

It schedules by the same rules as the kernel, but it is a relay: servers see
this machine's address as their client's (as behind any proxy), it only
masquerades, and its connections end with the process.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime
from zope.interface import implementer

from ood.balancer.core.meter import SAMPLE_SECONDS
from ood.balancer.core.plan import (
    AddServer,
    AddService,
    EditServer,
    EditService,
    RemoveServer,
    RemoveService,
    Step,
)
from ood.balancer.core.state import MASQUERADE, PROTOCOLS, Actual, VirtualKey
from ood.balancer.interfaces import IEngine, StepFailure
from ood.balancer.poller import Poller
from ood.balancer.relay import Relay, RelayContext, Timeouts
from ood.balancer.relay_tcp import TcpRelay
from ood.balancer.relay_udp import UdpRelay
from ood.errors import ConflictError, Fault, NotFoundError, OodError
from ood.model.services import FORWARDERS, Service

SWEEP_SECONDS = 1
"""How often idle connections are looked for."""

_RELAYS: dict[int, type[Relay]] = {PROTOCOLS["tcp"]: TcpRelay, PROTOCOLS["udp"]: UdpRelay}


@implementer(IEngine)
class UserspaceEngine:
    """Services as relays in this process."""

    name = "userspace"

    def __init__(
        self, reactor: IReactorFDSet, clock: IReactorTime, timeouts: Timeouts | None = None
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._timeouts = timeouts or Timeouts()
        self._context: RelayContext | None = None
        self._relays: dict[VirtualKey, Relay] = {}
        self._timers: dict[str, IDelayedCall] = {}

    def _running(self) -> RelayContext:
        """Return what relays need; it begins with the first of them."""
        if self._context is None:
            poller = Poller(self._reactor, self._clock)
            self._context = RelayContext(poller, self._clock, self._timeouts)
            self._sweep()
            self._sample()
        return self._context

    def _sweep(self) -> None:
        for relay in self._relays.values():
            relay.sweep(self._clock.seconds())
        self._timers["sweep"] = self._clock.callLater(SWEEP_SECONDS, self._sweep)

    def _sample(self) -> None:
        for relay in self._relays.values():
            relay.sample()
        self._timers["sample"] = self._clock.callLater(SAMPLE_SECONDS, self._sample)

    def refusals(self, services: Sequence[Service]) -> list[Fault]:
        """Return what only the kernel can do."""
        return [fault for service in services for fault in refused(service)]

    def read(self) -> Deferred[Actual]:
        """Return what runs."""
        return succeed({key: relay.actual() for key, relay in self._relays.items()})

    def execute(self, steps: Sequence[Step]) -> Deferred[tuple[StepFailure, ...]]:
        """Do the steps one by one."""
        failures = []
        for step in steps:
            reason = self._attempt(step)
            if reason:
                failures.append(StepFailure(step, reason))
        return succeed(tuple(failures))

    def _attempt(self, step: Step) -> str:
        """Do a step; return why it failed, or nothing."""
        try:
            self._do(step)
        except OodError as error:
            return str(error)
        return ""

    def _do(self, step: Step) -> None:
        match step:
            case AddService(key, settings):
                if key in self._relays:
                    raise ConflictError("it exists already")
                if key.protocol not in _RELAYS:
                    raise ConflictError(_MARK_REASON)
                self._relays[key] = _RELAYS[key.protocol](key, settings, self._running())
            case EditService(key, settings):
                self._relay(key).edit(settings)
            case RemoveService(key):
                if key in self._relays:
                    self._relays.pop(key).close()
            case _:
                self._do_server(step)

    def _do_server(self, step: AddServer | EditServer | RemoveServer) -> None:
        relay = self._relay(step.service)
        present = step.server in relay.pool
        match step:
            case AddServer(_, server, settings):
                if present:
                    raise ConflictError("it exists already")
                if settings.forwarder != MASQUERADE:
                    raise ConflictError(_FORWARDER_REASON)
                relay.add_server(server, settings)
            case EditServer(_, server, settings):
                if not present:
                    raise NotFoundError("there is no such server")
                relay.edit_server(server, settings)
            case RemoveServer(_, server):
                if present:
                    relay.remove_server(server)

    def _relay(self, key: VirtualKey) -> Relay:
        if key not in self._relays:
            raise NotFoundError("there is no such service")
        return self._relays[key]

    def close(self) -> Deferred[None]:
        """End every relay with its connections."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for relay in self._relays.values():
            relay.close()
        self._relays.clear()
        if self._context is not None:
            self._context.poller.stop()
            self._context = None
        return succeed(None)


_FORWARDER_REASON = "only the kernel can forward without masquerading"
_MARK_REASON = "only the kernel sees firewall marks"


def refused(service: Service) -> list[Fault]:
    """Return why a service, or a server of it, can't be relayed."""
    if service.type == "fwmark":
        return [Fault(f"{service.id}.type", _MARK_REASON, "tcp, udp, or balancerEngine ipvs")]
    return [
        Fault(
            f"{service.id}.{server.id}.forwarder",
            f"{server.forwarder} ({FORWARDERS[server.forwarder]}): {_FORWARDER_REASON}",
            "m, or balancerEngine ipvs",
        )
        for server in service.servers
        if server.forwarder != "m"
    ]
