"""The schedulers that remember: lblc and lblcr keep a destination with its servers.

They are made for caches in front of many destinations (a firewall mark or a
transparent proxy); a service with one address has one destination.
"""

from __future__ import annotations

from ood.balancer.core.schedulers import Scheduler, least_loaded, overhead
from ood.balancer.core.targets import Flow, Target

UNCHANGED_SECONDS = 24 * 3600
"""After a day without a change lblcr shrinks a destination's set; the kernel's default."""


class LocalityScheduler(Scheduler):
    """What lblc and lblcr share."""

    def crowded(self, target: Target) -> bool:
        """Say whether ``target`` has too much while another one has very little."""
        return target.active > target.weight and any(
            other.active * 2 < other.weight for other in self.targets
        )


class LocalityLeastConnections(LocalityScheduler):
    """lblc: a destination stays with one server until that is crowded."""

    def __init__(self, targets: list[Target]) -> None:
        self._cache: dict[bytes, Target] = {}
        super().__init__(targets)

    def pick(self, flow: Flow) -> Target | None:
        """Return the destination's server, or choose it by wlc."""
        cached = self._cache.get(flow.destination)
        # the kernel heeds weight 0 here, but not an overload by thresholds
        if cached is not None and cached.available and cached.weight and not self.crowded(cached):
            return cached
        chosen = least_loaded(self.targets)
        if chosen is not None:
            self._cache[flow.destination] = chosen
        return chosen


class ReplicaSet:
    """The servers of one destination, newest first, and when they last changed."""

    def __init__(self, target: Target, now: float) -> None:
        self.targets = [target]
        self.modified = now

    def insert(self, target: Target, now: float) -> None:
        """Add a server unless it is there."""
        if target not in self.targets:
            self.targets.insert(0, target)
            self.modified = now

    def shrink(self, now: float) -> None:
        """Remove the most loaded server when nothing changed for long."""
        if len(self.targets) < 2 or now <= self.modified + UNCHANGED_SECONDS:
            return
        most: Target | None = None
        for target in self.targets:
            if target.weight and (
                most is None or overhead(most) * target.weight < overhead(target) * most.weight
            ):
                most = target
        if most is not None:
            self.targets.remove(most)
            self.modified = now


class LocalityReplication(LocalityScheduler):
    """lblcr: a destination has a set of servers, which grows when they are crowded."""

    def __init__(self, targets: list[Target]) -> None:
        self._sets: dict[bytes, ReplicaSet] = {}
        super().__init__(targets)

    def pick(self, flow: Flow) -> Target | None:
        """Return the least loaded of the destination's servers, or add one to them."""
        replicas = self._sets.get(flow.destination)
        if replicas is None:
            chosen = least_loaded(self.targets)
            if chosen is not None:
                self._sets[flow.destination] = ReplicaSet(chosen, flow.time)
            return chosen
        least = least_loaded(target for target in replicas.targets if target.available)
        replicas.shrink(flow.time)
        if least is not None and not self.crowded(least):
            return least
        chosen = least_loaded(self.targets)
        if chosen is not None:
            replicas.insert(chosen, flow.time)
        return chosen
