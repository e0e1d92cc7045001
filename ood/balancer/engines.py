"""Which engine runs, and the service over it.

The setting ``balancerEngine`` is ``auto``, ``ipvs`` or ``userspace``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from twisted.internet.interfaces import IReactorFDSet, IReactorTime

from ood.balancer.interfaces import IEngine
from ood.balancer.kernel import KernelEngine
from ood.balancer.netlink import IpvsUnavailableError
from ood.balancer.ownership import FileOwnership, MemoryOwnership, Ownership
from ood.balancer.probes import probe
from ood.balancer.service import BalancerService
from ood.balancer.userspace import UserspaceEngine
from ood.errors import Fault, InvalidError
from ood.model.services import Server, Service

CHOICES = ("auto", "ipvs", "userspace")
"""The values of the setting ``balancerEngine``."""


def choose_engine(setting: str, reactor: object, clock: IReactorTime) -> IEngine:
    """Return the engine that the setting asks for.

    ``auto`` takes the kernel's IPVS where it can be configured, and relays in
    this process otherwise.
    """
    if setting not in CHOICES:
        raise InvalidError([Fault("balancerEngine", f"{setting!r} is unknown", ", ".join(CHOICES))])
    if setting == "userspace":
        return UserspaceEngine(cast(IReactorFDSet, reactor), clock)
    try:
        engine = KernelEngine(clock)
        engine.check_permission()
    except IpvsUnavailableError:
        if setting == "ipvs":
            raise
        return UserspaceEngine(cast(IReactorFDSet, reactor), clock)
    return engine


def make_balancer(
    setting: str,
    reactor: object,
    clock: IReactorTime,
    record: Path,
    port_of: Callable[[str], int | None] = lambda _: None,
) -> BalancerService:
    """Return the balancer's service over the engine that the setting asks for.

    :param record: the file that remembers which of the kernel's services are ours.
    :param port_of: returns the loopback port of one of ood's apps that runs.
    """
    engine = choose_engine(setting, reactor, clock)
    lasting = isinstance(engine, KernelEngine)
    ownership: Ownership = FileOwnership(record) if lasting else MemoryOwnership()

    async def prober(service: Service, server: Server) -> str | None:
        return await probe(reactor, clock, service, server)

    return BalancerService(engine, clock, ownership, prober, port_of)
