"""From what an engine has to what it shall have, without dropping a live connection.

:func:`make_plan` compares and returns steps in this order:

1. services that are new, with their servers;
2. servers that join services which stand, so that there is somewhere to go;
3. edits in place, of servers and then of services;
4. servers that leave: first weight 0, and once nothing is alive on them (or
   their time is up) removal;
5. services that leave, when their last server has left.

Steps are values: two plans can be compared, and a test reads like the list of
what happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ood.balancer.core.state import (
    Actual,
    ActualServer,
    ActualService,
    Desired,
    DesiredService,
    ServerKey,
    ServerSettings,
    VirtualKey,
    VirtualSettings,
)

UDP = 17


class AddService(NamedTuple):
    """Create a service, without servers."""

    service: VirtualKey
    settings: VirtualSettings


class EditService(NamedTuple):
    """Change a service in place."""

    service: VirtualKey
    settings: VirtualSettings


class RemoveService(NamedTuple):
    """Remove a service with whatever is left in it."""

    service: VirtualKey


class AddServer(NamedTuple):
    """Let a server join a service."""

    service: VirtualKey
    server: ServerKey
    settings: ServerSettings


class EditServer(NamedTuple):
    """Change a server in place."""

    service: VirtualKey
    server: ServerKey
    settings: ServerSettings


class RemoveServer(NamedTuple):
    """Take a server out of a service."""

    service: VirtualKey
    server: ServerKey


Step: TypeAlias = AddService | EditService | RemoveService | AddServer | EditServer | RemoveServer

Place: TypeAlias = tuple[VirtualKey, ServerKey]
"""A server in a service."""


@dataclass(frozen=True)
class Plan:
    """What to do now.

    :ivar steps: in the order in which they are to be done.
    :ivar draining: servers that are on their way out, with the time until
        which they may keep their connections.
    """

    steps: tuple[Step, ...]
    draining: Mapping[Place, float]


def make_plan(
    desired: Desired,
    actual: Actual,
    owned: Mapping[VirtualKey, int],
    draining: Mapping[Place, float],
    now: float,
) -> Plan:
    """Return what brings ``actual`` to ``desired``.

    :param owned: the services that are ours to remove, each with the seconds
        that its servers may take to drain; others stay as they are.
    :param draining: the ``draining`` of the plan before.
    """
    planner = Planner(draining, now)
    for key, wanted in desired.items():
        standing = actual.get(key)
        if standing is None:
            planner.create(key, wanted)
        elif standing.settings != wanted.settings or not _same(wanted, standing):
            planner.change(key, wanted, standing)
    for key, seconds in owned.items():
        if key in actual and key not in desired:
            planner.end(key, actual[key], seconds)
    return planner.plan()


def _same(wanted: DesiredService, standing: ActualService) -> bool:
    if len(wanted.servers) != len(standing.servers):
        return False
    servers = standing.servers
    for key, settings in wanted.servers.items():
        server = servers.get(key)
        if server is None or server.settings != settings:
            return False
    return True


class Planner:
    """Collects the steps, each in its phase."""

    def __init__(self, before: Mapping[Place, float], now: float) -> None:
        self.before = before
        self.now = now
        self.created: list[Step] = []
        self.joining: list[Step] = []
        self.edits: list[Step] = []
        self.leaving: list[Step] = []
        self.ending: list[Step] = []
        self.draining: dict[Place, float] = {}

    def plan(self) -> Plan:
        """Return everything in order."""
        order = (self.created, self.joining, self.edits, self.leaving, self.ending)
        return Plan(tuple(step for phase in order for step in phase), self.draining)

    def create(self, key: VirtualKey, wanted: DesiredService) -> None:
        """Add a new service with its servers."""
        self.created.append(AddService(key, wanted.settings))
        for server, settings in wanted.servers.items():
            self.created.append(AddServer(key, server, settings))

    def change(self, key: VirtualKey, wanted: DesiredService, standing: ActualService) -> None:
        """Bring a service that stands to what is wanted."""
        for server, settings in wanted.servers.items():
            present = standing.servers.get(server)
            if present is None:
                self.joining.append(AddServer(key, server, settings))
            elif present.settings != settings:
                self.edits.append(EditServer(key, server, settings))
        if standing.settings != wanted.settings:
            self.edits.append(EditService(key, wanted.settings))
        for server, present in standing.servers.items():
            if server not in wanted.servers:
                self.leave((key, server), present, 0 if server in wanted.dead else wanted.drain)

    def leave(self, place: Place, present: ActualServer, seconds: int) -> bool:
        """Add what comes next for a server that leaves; return whether it is gone then."""
        deadline = self.before.get(place)
        quiet = present.settings.weight == 0
        drained = deadline is not None and quiet and self._over(place, present, deadline)
        if seconds == 0 or drained:
            self.leaving.append(RemoveServer(*place))
            return True
        if not quiet:
            self.leaving.append(EditServer(*place, present.settings._replace(weight=0)))
        # a change of mind about the time counts from when it left, not from now
        self.draining[place] = self.now + seconds if deadline is None else deadline
        return False

    def _over(self, place: Place, present: ActualServer, deadline: float) -> bool:
        if self.now >= deadline:
            return True
        counts = present.counts
        # a closed TCP connection stays inactive for minutes; a UDP flow is never active
        return not (counts.active or (place[0].protocol == UDP and counts.inactive))

    def end(self, key: VirtualKey, standing: ActualService, seconds: int) -> None:
        """Drain a service that leaves, then remove it."""
        servers = standing.servers.items()
        gone = [self.leave((key, server), present, seconds) for server, present in servers]
        if all(gone):
            self.ending.append(RemoveService(key))


def apply_steps(actual: Actual, steps: Iterable[Step]) -> Actual:
    """Return what an engine has after ``steps``; the model that tests compare with."""
    after = {key: (service.settings, dict(service.servers)) for key, service in actual.items()}
    for step in steps:
        _apply(after, step)
    return {key: ActualService(settings, servers) for key, (settings, servers) in after.items()}


def _apply(
    state: dict[VirtualKey, tuple[VirtualSettings, dict[ServerKey, ActualServer]]], step: Step
) -> None:
    match step:
        case AddService(key, settings):
            assert key not in state, f"{key} is there already"
            state[key] = (settings, {})
        case EditService(key, settings):
            state[key] = (settings, state[key][1])
        case RemoveService(key):
            del state[key]
        case AddServer(key, server, settings):
            assert server not in state[key][1], f"{server} is there already"
            state[key][1][server] = ActualServer(settings)
        case EditServer(key, server, settings):
            state[key][1][server] = state[key][1][server]._replace(settings=settings)
        case RemoveServer(key, server):
            del state[key][1][server]
