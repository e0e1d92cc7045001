"""The schedulers that count: round robin and least connections, as the kernel has them.

A scheduler sees its service's targets as one list, newest first, and ties go to
the first in it.  It is told when a target joins, leaves or changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd

from ood.balancer.core.targets import Flow, Target

ACTIVE_COST = 256
"""How much more an established connection weighs than one that is over."""


class Scheduler:
    """What every scheduler is; on its own it picks nothing.

    :ivar targets: the service's targets, newest first; shared, not copied.
    :ivar flags: the names of the service's flags.
    """

    flags: frozenset[str] = frozenset()

    def __init__(self, targets: list[Target]) -> None:
        self.targets = targets
        self.changed()

    def changed(self) -> None:
        """Take note that a target joined or was edited."""

    def removed(self, _target: Target, _index: int) -> None:
        """Take note that a target, which stood at the index, has left the list."""
        self.changed()

    def pick(self, flow: Flow) -> Target | None:
        """Return who takes the connection; None refuses it."""
        raise AssertionError(f"{type(self).__name__} does not schedule {flow}")


class RoundRobin(Scheduler):
    """rr: the next usable one in the list."""

    last: Target | None = None

    def removed(self, target: Target, index: int) -> None:
        """Step back when the one chosen last has left."""
        if target is self.last:
            self.last = self.targets[index - 1] if index else None

    def pick(self, _flow: Flow) -> Target | None:
        """Return the next usable target."""
        start = 0 if self.last is None else self.targets.index(self.last) + 1
        for target in (*self.targets[start:], *self.targets[:start]):
            if target.usable:
                self.last = target
                return target
        return None


class WeightedRoundRobin(Scheduler):
    """wrr: passes over the list with a required weight that steps down by the gcd."""

    def __init__(self, targets: list[Target]) -> None:
        self.current = 0
        super().__init__(targets)
        self.current = self.highest

    def changed(self) -> None:
        """Begin again at the list's head with the new weights."""
        self.at = -1
        weights = [target.weight for target in self.targets if target.weight > 0]
        self.step = gcd(*weights) or 1
        self.highest = max(weights, default=0) - (self.step - 1)
        if self.current > self.highest or not self.current:
            self.current = self.highest
        elif self.step > 1:
            self.current = self.current // self.step * self.step + 1

    def pick(self, _flow: Flow) -> Target | None:
        """Return the next target that weighs at least the required weight."""
        if not self.highest:
            return None
        start = self.at
        begin, stop = start + 1, len(self.targets)
        last_pass = restarted = False
        while True:
            for index in range(begin, stop):
                target = self.targets[index]
                if not target.overloaded and target.weight >= self.current:
                    self.at = index
                    return target
            if last_pass and restarted and start >= 0:
                self.at = start
                return None
            begin = 0
            self.current -= self.step
            if self.current <= 0:
                self.current = self.highest
                if last_pass or start < 0:
                    self.at = -1
                    return None
                restarted = True
            last_pass = self.current <= self.step
            if last_pass and restarted and start >= 0:
                stop = start + 1


def overhead(target: Target) -> int:
    """Return a target's load as lc, wlc, lblc and lblcr count it."""
    return target.active * ACTIVE_COST + target.inactive


def least_loaded(targets: Iterable[Target]) -> Target | None:
    """Return the usable target with the least overhead per weight."""
    least: Target | None = None
    load = 0
    for target in targets:
        if not target.usable:
            continue
        cost = overhead(target)
        if least is None or load * target.weight > cost * least.weight:
            least, load = target, cost
    return least


def soonest(targets: Iterable[Target]) -> Target | None:
    """Return the usable target with the shortest expected delay."""
    least: Target | None = None
    for target in targets:
        if not target.usable:
            continue
        if least is None or (least.active + 1) * target.weight > (target.active + 1) * least.weight:
            least = target
    return least


class LeastConnections(Scheduler):
    """lc: the one with the least overhead, whatever its weight."""

    def pick(self, _flow: Flow) -> Target | None:
        """Return the usable target with the least overhead."""
        usable = [target for target in self.targets if target.usable]
        return min(usable, key=overhead, default=None)


class WeightedLeastConnections(Scheduler):
    """wlc: the one with the least overhead per weight."""

    def pick(self, _flow: Flow) -> Target | None:
        """Return the usable target with the least overhead per weight."""
        return least_loaded(self.targets)


class ShortestExpectedDelay(Scheduler):
    """sed: the one that would serve a further connection soonest."""

    def pick(self, _flow: Flow) -> Target | None:
        """Return the usable target with the shortest expected delay."""
        return soonest(self.targets)


class NeverQueue(Scheduler):
    """nq: the first idle one; when none is idle, as sed."""

    def pick(self, _flow: Flow) -> Target | None:
        """Return the first idle target, else the one with the shortest delay."""
        idle = (target for target in self.targets if target.usable and not target.active)
        return next(idle, None) or soonest(self.targets)


def heaviest(targets: Iterable[Target]) -> Target | None:
    """Return the first of the targets with the highest weight."""
    return max(targets, key=lambda target: target.weight, default=None)


class Failover(Scheduler):
    """fo: the heaviest one takes everything while it is usable."""

    def pick(self, _flow: Flow) -> Target | None:
        """Return the usable target with the highest weight."""
        return heaviest(target for target in self.targets if target.usable)


class Overflow(Scheduler):
    """ovf: the heaviest one whose active connections do not exceed its weight."""

    def pick(self, _flow: Flow) -> Target | None:
        """Return the heaviest usable target that still has room."""
        return heaviest(
            target for target in self.targets if target.usable and target.active <= target.weight
        )
