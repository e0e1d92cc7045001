"""The balancer's service: keeps an engine at what the user asked for.

Whoever holds the configuration calls :meth:`BalancerService.configure`; from
then on the engine is brought there and kept there: servers that leave are
drained, dead ones are taken out, and what somebody else changed of ours in the
kernel is put right and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.application.service import Service as TwistedService
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ood.background import Background
from ood.balancer.checks import HealthChecker, Prober, Told, Watched
from ood.balancer.core.plan import Place, Plan, RemoveService, Step, make_plan
from ood.balancer.core.state import Actual, Desired, VirtualKey, desired_state
from ood.balancer.interfaces import IEngine, StepFailure
from ood.balancer.ownership import Ownership
from ood.balancer.report import describe, service_statistics
from ood.errors import InvalidError
from ood.model.services import Service

DRIFT_SECONDS = 5.0
"""How often the engine is compared with what it shall have."""

IDLE_FACTOR = 50.0
"""Comparing takes at most a fiftieth of the time, however large the table is."""

DRAIN_SECONDS = 1.0
"""How often a server that drains is looked at."""

RETRY_SECONDS = 5.0
"""When a step that failed is tried again."""


class BalancerService(TwistedService):
    """Converges an engine to the configured services.

    :param port_of: returns the loopback port of one of ood's apps, or None
        when it does not run; call :meth:`wake` when one starts or stops.

    :ivar failures: what could not be done in the latest pass.
    :ivar drift: how many steps were needed so far to undo what others changed.
    """

    log = Logger()
    name = "balancer"

    def __init__(
        self,
        engine: IEngine,
        clock: IReactorTime,
        ownership: Ownership,
        prober: Prober,
        port_of: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        self.engine = engine
        self.failures: tuple[StepFailure, ...] = ()
        self.drift = 0
        self._clock = clock
        self._ownership = ownership
        self._port_of = port_of
        self._checker = HealthChecker(clock, prober, self.wake)
        self._background = Background()
        self._services: tuple[Service, ...] | None = None
        self._owned: dict[VirtualKey, int] = {}
        self._draining: dict[Place, float] = {}
        self._settled: Desired | None = None
        self._waiters: list[Deferred[tuple[StepFailure, ...]]] = []
        self._timer: IDelayedCall | None = None
        self._passing = False
        self._again = False

    def tell_health(self, told: Told) -> None:
        """Have ``told`` hear of each server that becomes well or unwell."""
        self._checker.told = told

    def startService(self) -> None:
        """Learn what is ours; begin when there is a configuration."""
        super().startService()  # type: ignore[no-untyped-call]
        self._owned = self._ownership.load()
        self.wake()

    def check(self, services: Sequence[Service]) -> None:
        """Raise :class:`InvalidError` when the engine can't do what is asked.

        To be called before a configuration is kept.
        """
        faults = self.engine.refusals(services)
        if faults:
            raise InvalidError(faults, f"the balancer runs with the {self.engine.name} engine")

    def configure(self, services: tuple[Service, ...]) -> Deferred[tuple[StepFailure, ...]]:
        """Make these the services; fire with what failed once it was applied."""
        self._services = services
        waiter: Deferred[tuple[StepFailure, ...]] = Deferred()
        self._waiters.append(waiter)
        self.wake()
        return waiter

    def wake(self) -> None:
        """Compare and apply now, or right after the pass that runs."""
        if not self.running or self._services is None:
            return
        if self._passing:
            self._again = True
            return
        self._cancel_timer()
        self._passing = True
        self._background.run("the balancer", self._passes())

    async def _passes(self) -> None:
        self._again = True
        began = 0.0
        healthy = True
        while self._again:
            self._again = False
            began = self._clock.seconds()
            healthy = await self._attempt(len(self._waiters))
        self._passing = False
        if self.running:
            self._sleep(began, healthy=healthy)

    async def _attempt(self, waiting: int) -> bool:
        """Make a pass and tell the first ``waiting`` who wait for it; return whether it worked."""
        problem: Exception | None = None
        try:
            await self._pass()
        except CancelledError:
            raise
        except Exception as error:
            # whatever it was: a balancer that gives up would be the worse failure
            self.log.failure("The {engine} engine failed", engine=self.engine.name)
            problem = error
        served, self._waiters = self._waiters[:waiting], self._waiters[waiting:]
        for waiter in served:
            if problem is None:
                waiter.callback(self.failures)
            else:
                waiter.errback(problem)
        return problem is None

    def _sleep(self, began: float, *, healthy: bool) -> None:
        if self.failures or not healthy:
            delay = RETRY_SECONDS
        elif self._draining:
            delay = DRAIN_SECONDS
        else:
            delay = max(DRIFT_SECONDS, (self._clock.seconds() - began) * IDLE_FACTOR)
        self._timer = self._clock.callLater(delay, self._wake_up)

    def _wake_up(self) -> None:
        self._timer = None
        self.wake()

    def _resolved(self) -> tuple[Service, ...]:
        return tuple(service.resolved(self._port_of) for service in self._services or ())

    async def _pass(self) -> None:
        """Read, compare, apply."""
        services = self._resolved()
        self._checker.watch(services)
        desired = desired_state(services, self._checker.down())
        actual = await self.engine.read()
        self._own(desired, actual)
        now = self._clock.seconds()
        plan = make_plan(desired, actual, self._owned, self._draining, now)
        self._report_drift(desired, plan)
        self.failures = await self.engine.execute(plan.steps) if plan.steps else ()
        self._draining = dict(plan.draining)
        self._settled = None if self.failures or self._draining else desired
        self._report_failures()
        self._disown(desired, plan.steps)

    def _own(self, desired: Desired, actual: Actual) -> None:
        """Record what will be ours before it is made."""
        wanted = {key: service.drain for key, service in desired.items()}
        for key in wanted.keys() - self._owned.keys():
            if key in actual:
                self.log.warn(
                    "{service} stood in the kernel already and is taken over", service=key
                )
        standing = {key: drain for key, drain in self._owned.items() if key in actual}
        self._keep({**standing, **wanted})

    def _disown(self, desired: Desired, steps: Sequence[Step]) -> None:
        failed = {failure.step for failure in self.failures}
        gone = {
            step.service for step in steps if isinstance(step, RemoveService) and step not in failed
        }
        self._keep(
            {key: drain for key, drain in self._owned.items() if key in desired or key not in gone}
        )

    def _keep(self, owned: dict[VirtualKey, int]) -> None:
        if owned != self._owned:
            self._owned = owned
            self._ownership.save(owned)

    def _report_drift(self, desired: Desired, plan: Plan) -> None:
        if plan.steps and desired == self._settled:
            self.drift += len(plan.steps)
            self.log.warn(
                "{engine} had been changed from outside; {count} steps put it right: {steps}",
                engine=self.engine.name,
                count=len(plan.steps),
                steps="; ".join(describe(step) for step in plan.steps[:10]),
            )

    def _report_failures(self) -> None:
        for failure in self.failures:
            self.log.error(
                "{step} failed: {reason}", step=describe(failure.step), reason=failure.reason
            )

    def statistics(self) -> Deferred[dict[str, dict[str, object]]]:
        """Return what each service carries, by its id, with its servers by theirs."""
        return Deferred.fromCoroutine(self._statistics())

    async def _statistics(self) -> dict[str, dict[str, object]]:
        actual = await self.engine.read()
        return service_statistics(self._resolved(), actual, self._checker.health)

    def down(self) -> frozenset[Watched]:
        """Return the ids of services and servers whose checks fail."""
        return self._checker.down()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stopService(self) -> Deferred[None]:
        """Stop comparing and probing, and let go of the engine."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._cancel_timer()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._background.stop()
        for waiter in self._waiters:
            waiter.cancel()
        await self._checker.stop()
        await self.engine.close()
