"""The engines of the L4 balancer that come with ood."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from twisted.plugin import IPlugin
from zope.interface import implementer

from ood.balancer.interfaces import IEngine, IEngineMaker
from ood.balancer.kernel import KernelEngine
from ood.balancer.userspace import UserspaceEngine


@implementer(IPlugin, IEngineMaker)
class KernelMaker:
    """Makes the engine that configures the kernel's IPVS."""

    name = "ipvs"
    lasting = True

    def make(self, reactor: IReactorFDSet, clock: IReactorTime) -> IEngine:  # noqa: ARG002
        """Return the engine, if this process may configure IPVS."""
        engine = KernelEngine(clock)
        engine.check_permission()
        return engine


@implementer(IPlugin, IEngineMaker)
class RelayMaker:
    """Makes the engine that relays in this process."""

    name = "userspace"
    lasting = False

    def make(self, reactor: IReactorFDSet, clock: IReactorTime) -> IEngine:
        """Return the engine."""
        return UserspaceEngine(reactor, clock)


ipvs = KernelMaker()
userspace = RelayMaker()
