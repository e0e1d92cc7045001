"""The L4 services of an installation: what is kept, and what the engine does, together."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ood.balancer.interfaces import IBalancer, ILayer4, StepFailure
from ood.balancer.report import describe
from ood.errors import ConflictError
from ood.model.services import Service

SHOWN_FAILURES = 5
"""How many reasons an answer repeats; the log has all."""


@implementer(ILayer4)
class Layer4:
    """Changes that are kept and applied, or neither.

    :param balancer: the service that applies them.
    :param kept: returns the services that the store has.
    :param commit: makes these the services in the store.
    """

    def __init__(
        self,
        balancer: IBalancer,
        kept: Callable[[], tuple[Service, ...]],
        commit: Callable[[tuple[Service, ...]], Deferred[None]],
    ) -> None:
        self._balancer = balancer
        self._kept = kept
        self._commit = commit

    def services(self) -> tuple[Service, ...]:
        """Return the services as they stand, in order."""
        return self._kept()

    def replace(self, services: tuple[Service, ...]) -> Deferred[None]:
        """Keep and apply; what can't be applied is not kept either."""
        return Deferred.fromCoroutine(self._replace(services))

    async def _replace(self, services: tuple[Service, ...]) -> None:
        self._balancer.check(services)
        before = self._kept()
        known = {failure.step for failure in self._balancer.failures}
        await self._commit(services)
        failures = await self._balancer.configure(services)
        # what failed before is not this change's fault, and must not keep it from being made
        fresh = [failure for failure in failures if failure.step not in known]
        if fresh:
            await self._commit(before)
            await self._balancer.configure(before)
            raise ConflictError(f"nothing was changed: {_reasons(fresh)}")

    def statistics(self) -> Deferred[dict[str, dict[str, object]]]:
        """Return what each service carries, by its id; each has its ``servers`` by id."""
        return self._balancer.statistics()


def _reasons(failures: list[StepFailure]) -> str:
    shown = [f"{describe(step)}: {reason}" for step, reason in failures[:SHOWN_FAILURES]]
    if len(failures) > SHOWN_FAILURES:
        shown.append(f"and {len(failures) - SHOWN_FAILURES} more")
    return "; ".join(shown)
