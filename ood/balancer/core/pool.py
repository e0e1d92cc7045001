"""A service that schedules by itself: targets, scheduler, persistence, thresholds.

This is what the kernel does for a virtual service, as a pure object; the
userspace engine drives it.
"""

from __future__ import annotations

from typing import NamedTuple

from ood.balancer.core.hashing import DestinationHashing, MaglevHashing, SourceHashing
from ood.balancer.core.locality import LocalityLeastConnections, LocalityReplication
from ood.balancer.core.schedulers import (
    Failover,
    LeastConnections,
    NeverQueue,
    Overflow,
    RoundRobin,
    Scheduler,
    ShortestExpectedDelay,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from ood.balancer.core.state import ServerKey, ServerSettings, VirtualSettings
from ood.balancer.core.targets import Flow, Target

SCHEDULERS: dict[str, type[Scheduler]] = {
    "rr": RoundRobin,
    "wrr": WeightedRoundRobin,
    "lc": LeastConnections,
    "wlc": WeightedLeastConnections,
    "lblc": LocalityLeastConnections,
    "lblcr": LocalityReplication,
    "dh": DestinationHashing,
    "sh": SourceHashing,
    "sed": ShortestExpectedDelay,
    "nq": NeverQueue,
    "mh": MaglevHashing,
    "fo": Failover,
    "ovf": Overflow,
}

EXTENSION_SECONDS = 60.0
"""How long a template lives on when connections outlast it; the kernel's value."""


class Template:
    """A persistent client's way to its server."""

    __slots__ = ("connections", "expires", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.connections = 0
        self.expires = 0.0


class Connection:
    """One connection's hold on its target; it is released exactly once.

    :ivar target: the server that was chosen.
    """

    __slots__ = ("_active", "_released", "_template", "target")

    def __init__(self, target: Target, template: Template | None) -> None:
        self.target = target
        self._template = template
        self._active = False
        self._released = False
        target.bind()
        if template is not None:
            template.connections += 1

    def established(self) -> None:
        """Count as active from now on."""
        if not self._active and not self._released:
            self._active = True
            self.target.activate()

    def release(self) -> None:
        """Stop counting."""
        if self._released:
            return
        self._released = True
        self.target.release(active=self._active)
        if self._template is not None:
            self._template.connections -= 1


class Membership(NamedTuple):
    """How many clients stay with a server, and how many connections it has."""

    active: int
    inactive: int
    persistent: int


class Pool:
    """The servers of one service and the choice among them.

    :ivar targets: newest first, as the kernel keeps them.
    """

    def __init__(self, settings: VirtualSettings) -> None:
        self.targets: list[Target] = []
        self._by_key: dict[ServerKey, Target] = {}
        self._left: dict[ServerKey, Target] = {}
        self._templates: dict[bytes, Template] = {}
        self._use(settings)

    def _use(self, settings: VirtualSettings) -> None:
        self.settings = settings
        self._scheduler = SCHEDULERS[settings.scheduler](self.targets)
        self._scheduler.flags = frozenset(settings.flag_names())

    def edit(self, settings: VirtualSettings) -> None:
        """Change the service; its scheduler begins anew only when it is another one."""
        if settings.scheduler != self.settings.scheduler:
            self._use(settings)
        self.settings = settings
        self._scheduler.flags = frozenset(settings.flag_names())

    def __contains__(self, key: ServerKey) -> bool:
        return key in self._by_key

    def add(self, key: ServerKey, settings: ServerSettings) -> None:
        """Let a server join; one that left with connections resumes its counts."""
        target = self._left.pop(key, None)
        if target is None:
            target = Target(key.address, key.port)
        target.available = True
        target.edit(settings.weight, settings.upper, settings.lower)
        target.last_weight = settings.weight
        self._by_key[key] = target
        self.targets.insert(0, target)
        self._scheduler.changed()

    def edit_server(self, key: ServerKey, settings: ServerSettings) -> None:
        """Change a server's settings in place."""
        self._by_key[key].edit(settings.weight, settings.upper, settings.lower)
        self._scheduler.changed()

    def remove(self, key: ServerKey) -> None:
        """Let a server leave; connections it has go on."""
        target = self._by_key.pop(key)
        index = self.targets.index(target)
        del self.targets[index]
        target.available = False
        if target.connections:
            self._left[key] = target
        self._scheduler.removed(target, index)

    def counts(self, key: ServerKey) -> Membership:
        """Return what a server carries now."""
        target = self._by_key[key]
        return Membership(target.active, target.inactive, target.persistent)

    def open(self, flow: Flow) -> Connection | None:
        """Choose a server for a new connection; None refuses it."""
        if not self.settings.timeout:
            target = self._scheduler.pick(flow)
            return None if target is None else Connection(target, None)
        template = self._template(flow)
        return None if template is None else Connection(template.target, template)

    def _template(self, flow: Flow) -> Template | None:
        network = masked(flow.source, self.settings.netmask)
        template = self._templates.get(network)
        if template is None or not self._stands(template, flow.time):
            self._forget(network)
            target = self._scheduler.pick(flow)
            if target is None:
                return None
            template = self._templates[network] = Template(target)
            target.persistent += 1
        template.expires = flow.time + self.settings.timeout
        return template

    def _stands(self, template: Template, now: float) -> bool:
        # a quiesced or overloaded server keeps its persistent clients
        return template.target.available and (template.connections > 0 or now < template.expires)

    def _forget(self, network: bytes) -> None:
        template = self._templates.pop(network, None)
        if template is not None:
            template.target.persistent -= 1

    def expire(self, now: float) -> None:
        """Drop templates that are over, and servers that left and carry nothing more."""
        for network, template in list(self._templates.items()):
            if now < template.expires:
                continue
            if template.connections:
                template.expires = now + EXTENSION_SECONDS
            else:
                self._forget(network)
        for key, target in list(self._left.items()):
            if not target.connections:
                del self._left[key]


def masked(address: bytes, netmask: int) -> bytes:
    """Return a client's network: by a mask for IPv4, by a prefix length for IPv6."""
    size = len(address)
    mask = netmask if size == 4 else ((1 << netmask) - 1) << (128 - netmask)
    return (int.from_bytes(address, "big") & mask).to_bytes(size, "big")
