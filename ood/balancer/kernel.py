"""The kernel engine: Linux IPVS over generic netlink."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ood.balancer.core import ipvs
from ood.balancer.core.netlink import DUMP
from ood.balancer.core.plan import (
    AddServer,
    AddService,
    EditServer,
    EditService,
    RemoveServer,
    RemoveService,
    Step,
)
from ood.balancer.core.state import Actual, ActualService, VirtualKey
from ood.balancer.interfaces import IEngine, StepFailure
from ood.balancer.netlink import Channel, IpvsUnavailableError, Transport, open_transport
from ood.errors import Fault
from ood.model.services import Service

STEPS_PER_TURN = 1000
"""Steps before the reactor gets a turn: some ten milliseconds of work."""

SERVICES_PER_TURN = 200
"""Services read before the reactor gets a turn, for the same time."""

_REASONS = {
    errno.EEXIST: "it exists already",
    errno.ESRCH: "there is no such service",
    errno.ENOENT: "there is no such server, or the kernel lacks the scheduler",
    errno.ERANGE: "a number is out of range",
    errno.EINVAL: "the kernel refuses the values",
    errno.EPERM: "only root may configure IPVS",
}


@implementer(IEngine)
class KernelEngine:
    """Services in the kernel's IPVS table."""

    name = "ipvs"

    def __init__(
        self, clock: IReactorTime, transport: Callable[[], Transport] = open_transport
    ) -> None:
        self._clock = clock
        self._channel = Channel(transport(), ipvs.FAMILY_NAME)

    def refusals(self, services: Sequence[Service]) -> list[Fault]:
        """Return which servers are apps: the kernel sends nobody from outside to loopback."""
        return [
            Fault(
                f"{service.id}.{server.id}.app",
                "the kernel does not forward to this machine's loopback, where apps answer",
                "another server, or balancerEngine auto or userspace",
            )
            for service in services
            for server in service.servers
            if server.app
        ]

    def read(self) -> Deferred[Actual]:
        """Return the whole table."""
        return Deferred.fromCoroutine(self._read())

    async def _read(self) -> Actual:
        answers = self._channel.ask(ipvs.GET_SERVICE, DUMP)
        actual: Actual = {}
        for count, answer in enumerate(answers, 1):
            record = ipvs.read_service(answer.payload)
            actual[record.key] = self._with_servers(record)
            if count % SERVICES_PER_TURN == 0:
                await self._turn()
        return actual

    def _with_servers(self, record: ipvs.ServiceRecord) -> ActualService:
        try:
            answers = self._channel.ask(ipvs.GET_DEST, DUMP, ipvs.service_id(record.key))
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise
            answers = []  # somebody removed the service since it was listed
        records = (ipvs.read_server(answer.payload, record.key.family) for answer in answers)
        return ActualService(record.settings, dict(records), record.traffic)

    def execute(self, steps: Sequence[Step]) -> Deferred[tuple[StepFailure, ...]]:
        """Do the steps, many in a datagram."""
        return Deferred.fromCoroutine(self._execute(steps))

    async def _execute(self, steps: Sequence[Step]) -> tuple[StepFailure, ...]:
        failures: list[StepFailure] = []
        for begin in range(0, len(steps), STEPS_PER_TURN):
            if begin:
                await self._turn()
            part = steps[begin : begin + STEPS_PER_TURN]
            outcomes = self._channel.change(_commands(part))
            failures += [
                StepFailure(step, reason(outcome))
                for step, outcome in zip(part, outcomes, strict=True)
                if outcome and not _done_anyway(step, outcome)
            ]
        return tuple(failures)

    async def _turn(self) -> None:
        """Let the reactor do something else."""
        waiting: Deferred[None] = Deferred()
        self._clock.callLater(0, waiting.callback, None)
        await waiting

    def check_permission(self) -> None:
        """Raise :class:`IpvsUnavailableError` when this process may not configure IPVS."""
        try:
            self.info()
        except OSError as error:
            self._channel.close()
            raise IpvsUnavailableError(
                f"IPVS can't be configured: {error.strerror}",
                "run as root or with CAP_NET_ADMIN, or set balancerEngine to userspace",
            ) from error

    def timeouts(self) -> ipvs.Timeouts:
        """Return how long the kernel keeps idle connections."""
        return ipvs.read_timeouts(self._channel.ask(ipvs.GET_CONFIG)[0].payload)

    def set_timeouts(self, timeouts: ipvs.Timeouts) -> None:
        """Change how long the kernel keeps idle connections; 0 leaves a value alone."""
        self._simple(ipvs.SET_CONFIG, ipvs.timeout_fields(timeouts))

    def info(self) -> ipvs.Info:
        """Return what the kernel says about its IPVS."""
        return ipvs.read_info(self._channel.ask(ipvs.GET_INFO)[0].payload)

    def zero(self, service: VirtualKey | None = None) -> None:
        """Set the statistics of one service, or of all, to zero."""
        self._simple(ipvs.ZERO, ipvs.service_id(service) if service else b"")

    def flush(self) -> None:
        """Remove every service, whoever made it."""
        self._simple(ipvs.FLUSH, b"")

    def _simple(self, command: int, payload: bytes) -> None:
        (outcome,) = self._channel.change([(command, payload)])
        if outcome:
            raise OSError(outcome, reason(outcome))

    def close(self) -> Deferred[None]:
        """Close the socket; the kernel keeps what it has."""
        self._channel.close()
        return succeed(None)


def reason(error: int) -> str:
    """Return what an errno of IPVS means."""
    return _REASONS.get(error, os.strerror(error))


def _done_anyway(step: Step, error: int) -> bool:
    """Say whether a removal found that there is nothing left to remove."""
    if isinstance(step, RemoveService):
        return error == errno.ESRCH
    return isinstance(step, RemoveServer) and error in {errno.ESRCH, errno.ENOENT}


def _commands(steps: Sequence[Step]) -> list[tuple[int, bytes]]:
    ids: dict[VirtualKey, bytes] = {}
    for step in steps:
        if step.service not in ids:
            ids[step.service] = ipvs.service_id(step.service)
    return [_command(step, ids[step.service]) for step in steps]


def _command(step: Step, service: bytes) -> tuple[int, bytes]:
    match step:
        case AddService(key, settings):
            return ipvs.NEW_SERVICE, ipvs.service_fields(key, settings)
        case EditService(key, settings):
            return ipvs.SET_SERVICE, ipvs.service_fields(key, settings)
        case RemoveService():
            return ipvs.DEL_SERVICE, service
        case AddServer(_, server, server_settings):
            return ipvs.NEW_DEST, service + ipvs.server_fields(server, server_settings)
        case EditServer(_, server, server_settings):
            return ipvs.SET_DEST, service + ipvs.server_fields(server, server_settings)
        case RemoveServer(_, server):
            return ipvs.DEL_DEST, service + ipvs.server_id(server)
