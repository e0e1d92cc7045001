"""Which engine runs, and the service over it.

The setting ``balancerEngine`` is ``auto`` or the name of an engine: those that
come with ood are in ``ood/plugins/ood_engines.py``, others are found beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from twisted.internet.interfaces import IReactorFDSet, IReactorTime

from ood.balancer.interfaces import IEngine, IEngineMaker
from ood.balancer.ownership import FileOwnership, MemoryOwnership, Ownership
from ood.balancer.probes import probe
from ood.balancer.service import BalancerService
from ood.errors import Fault, InvalidError, UnavailableError
from ood.model.services import Server, Service
from ood.registry import plugins

AUTO = ("ipvs", "userspace")
"""What ``auto`` tries, in this order."""


def choose_maker(setting: str) -> Sequence[IEngineMaker]:
    """Return the makers of engines to try, in order, for a value of ``balancerEngine``.

    :raises InvalidError: there is no such engine.
    """
    makers = plugins(IEngineMaker)
    names = AUTO if setting == "auto" else (setting,)
    if any(name not in makers for name in names):
        allowed = ", ".join(("auto", *sorted(makers)))
        raise InvalidError([Fault("balancerEngine", f"{setting!r} is unknown", allowed)])
    return [makers[name] for name in names]


def choose_engine(
    setting: str, reactor: object, clock: IReactorTime
) -> tuple[IEngine, IEngineMaker]:
    """Return the engine that the setting asks for, and what made it.

    ``auto`` takes the kernel's IPVS where it can be configured, and relays in
    this process otherwise.
    """
    makers = choose_maker(setting)
    for maker in makers[:-1]:
        with suppress(UnavailableError):
            return maker.make(cast(IReactorFDSet, reactor), clock), maker
    return makers[-1].make(cast(IReactorFDSet, reactor), clock), makers[-1]


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
    engine, maker = choose_engine(setting, reactor, clock)
    ownership: Ownership = FileOwnership(record) if maker.lasting else MemoryOwnership()

    async def prober(service: Service, server: Server) -> str | None:
        return await probe(reactor, clock, service, server)

    return BalancerService(engine, clock, ownership, prober, port_of)
