"""What an engine is, and what the API needs of the balancer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from zope.interface import Attribute, Interface

from ood.balancer.core.plan import Step
from ood.balancer.core.state import Actual
from ood.errors import Fault
from ood.model.services import Service


class StepFailure(NamedTuple):
    """A step that an engine could not do, and why."""

    step: Step
    reason: str


class IEngine(Interface):
    """Something that spreads connections: the kernel's IPVS or a relay of our own."""

    name: str = Attribute("how the engine is named in settings and messages")

    def refusals(services: Sequence[Service]) -> list[Fault]:
        """Return what this engine can't do of ``services``, with the reasons."""

    def read() -> Deferred[Actual]:
        """Return everything the engine has, with counts and statistics.

        Services that somebody else configured are among them.
        """

    def execute(steps: Sequence[Step]) -> Deferred[tuple[StepFailure, ...]]:
        """Do the steps in order; one that fails does not keep the others from being done."""

    def close() -> Deferred[None]:
        """Let go of everything held here; fire when it is gone.

        What the kernel has stays in the kernel.
        """


class IBalancer(Protocol):
    """What brings engines to the services that are wanted."""

    @property
    def failures(self) -> tuple[StepFailure, ...]:
        """Return what could not be done in the latest pass."""

    def check(self, services: Sequence[Service]) -> None:
        """Raise :class:`~ood.errors.InvalidError` when the engine can't do what is asked."""

    def configure(self, services: tuple[Service, ...]) -> Deferred[tuple[StepFailure, ...]]:
        """Make these the services; fire with what failed once it was applied."""

    def statistics(self) -> Deferred[dict[str, dict[str, object]]]:
        """Return what each service carries, by its id, with its servers by theirs."""


class IEngineMaker(Interface):
    """A plugin that makes an engine; see :mod:`ood.registry`."""

    name: str = Attribute("how the engine is named in the setting balancerEngine")
    lasting: bool = Attribute("whether what the engine does goes on when ood ends")

    def make(reactor: IReactorFDSet, clock: IReactorTime) -> IEngine:
        """Return a new engine.

        Raises :class:`~ood.errors.UnavailableError`, with the reason, where it can't work.
        """


class ILayer4(Interface):
    """The L4 services of this installation, as the API sees them."""

    def services() -> tuple[Service, ...]:
        """Return the services as they stand, in order."""

    def replace(services: tuple[Service, ...]) -> Deferred[None]:
        """Make these the services: all of them or, with an error, none.

        It fires when the change is kept safely, and before it is applied to
        every connection.
        """

    def statistics() -> Deferred[dict[str, dict[str, object]]]:
        """Return what each service carries, by its id; each has its ``servers`` by id."""
