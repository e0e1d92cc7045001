"""Several engines side by side, each with the services that it is for.

The kernel forwards nobody from outside to loopback, where ood's apps answer.
So beside the kernel's engine runs the relay, for the services that have an app
among their servers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from ood.balancer.checks import Told
from ood.balancer.engines import make_balancer
from ood.balancer.interfaces import StepFailure
from ood.balancer.service import BalancerService
from ood.errors import Fault, InvalidError
from ood.model.services import Service


class SplitBalancer(MultiService):
    """Gives each service to the balancer that can carry it.

    :param first: carries what nobody else does.
    :param relay: carries the services with apps; None if ``first`` does that, too.
    """

    def __init__(self, first: BalancerService, relay: BalancerService | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._first = first
        self._relay = relay
        for number, part in enumerate(self._parts()):
            part.setName(f"balancer-{number}")  # type: ignore[no-untyped-call]
            part.setServiceParent(self)  # type: ignore[no-untyped-call]

    def _parts(self) -> list[BalancerService]:
        return [self._first] if self._relay is None else [self._first, self._relay]

    def _shares(
        self, services: Sequence[Service]
    ) -> list[tuple[BalancerService, tuple[Service, ...]]]:
        if self._relay is None:
            return [(self._first, tuple(services))]
        return [
            (self._first, tuple(one for one in services if not has_app(one))),
            (self._relay, tuple(one for one in services if has_app(one))),
        ]

    def tell_health(self, told: Told) -> None:
        """Have ``told`` hear of each server that becomes well or unwell."""
        for part in self._parts():
            part.tell_health(told)

    @property
    def engines(self) -> tuple[str, ...]:
        """Return the names of the engines that run."""
        return tuple(part.engine.name for part in self._parts())

    @property
    def failures(self) -> tuple[StepFailure, ...]:
        """Return what could not be done in the latest passes."""
        return tuple(failure for part in self._parts() for failure in part.failures)

    def check(self, services: Sequence[Service]) -> None:
        """Raise :class:`InvalidError` with everything that the engines can't do."""
        faults: list[Fault] = []
        for part, share in self._shares(services):
            faults += part.engine.refusals(share)
        if faults:
            names = " and, for services with apps, the ".join(self.engines)
            raise InvalidError(faults, f"the balancer runs with the {names} engine")

    def configure(self, services: tuple[Service, ...]) -> Deferred[tuple[StepFailure, ...]]:
        """Make these the services; fire with what failed once all of it was applied."""
        applied = [part.configure(share) for part, share in self._shares(services)]
        return gatherResults(applied, consumeErrors=True).addCallback(_joined)

    def statistics(self) -> Deferred[dict[str, dict[str, object]]]:
        """Return what each service carries, by its id, with its servers by theirs."""
        asked = [part.statistics() for part in self._parts()]
        return gatherResults(asked, consumeErrors=True).addCallback(_merged)


def has_app(service: Service) -> bool:
    """Tell whether one of ood's apps is among the servers."""
    return any(server.app for server in service.servers)


def _joined(results: list[tuple[StepFailure, ...]]) -> tuple[StepFailure, ...]:
    return tuple(failure for failures in results for failure in failures)


def _merged(results: list[dict[str, dict[str, object]]]) -> dict[str, dict[str, object]]:
    return {name: numbers for part in results for name, numbers in part.items()}


def make_split(
    setting: str,
    reactor: object,
    clock: IReactorTime,
    record: Path,
    port_of: Callable[[str], int | None],
) -> SplitBalancer:
    """Return the balancer that the setting asks for; see :func:`make_balancer`.

    With ``auto`` on a machine whose kernel balances, the relay runs beside it.
    """
    first = make_balancer(setting, reactor, clock, record, port_of)
    if setting != "auto" or first.engine.name == "userspace":
        return SplitBalancer(first)
    relay = make_balancer("userspace", reactor, clock, record, port_of)
    return SplitBalancer(first, relay)
