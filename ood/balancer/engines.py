"""Which engine runs: ``balancerEngine`` is ``auto``, ``ipvs`` or ``userspace``."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorFDSet, IReactorTime

from ood.balancer.interfaces import IEngine
from ood.balancer.kernel import KernelEngine
from ood.balancer.netlink import IpvsUnavailableError
from ood.balancer.userspace import UserspaceEngine
from ood.errors import Fault, InvalidError

CHOICES = ("auto", "ipvs", "userspace")
"""The values of the setting ``balancerEngine``."""


def choose_engine(setting: str, reactor: IReactorFDSet, clock: IReactorTime) -> IEngine:
    """Return the engine that the setting asks for.

    ``auto`` takes the kernel's IPVS where it can be configured, and relays in
    this process otherwise.
    """
    if setting not in CHOICES:
        raise InvalidError([Fault("balancerEngine", f"{setting!r} is unknown", ", ".join(CHOICES))])
    if setting == "userspace":
        return UserspaceEngine(reactor, clock)
    try:
        engine = KernelEngine(clock)
        engine.check_permission()
        return engine
    except IpvsUnavailableError:
        if setting == "ipvs":
            raise
        return UserspaceEngine(reactor, clock)
