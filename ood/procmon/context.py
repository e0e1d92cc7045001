"""What the parts of the process monitor are given: nothing is global."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from twisted.internet.interfaces import IReactorFDSet, IReactorProcess, IReactorTime

from ood.background import Background
from ood.events import EventBus
from ood.interfaces import IEdge
from ood.model.document import App
from ood.procmon.core.join import Hosts
from ood.procmon.deaths.record import Death
from ood.procmon.deaths.stacks import Stacks
from ood.procmon.system.oomkills import OomKills
from ood.procmon.system.runtime import NodeRuntime
from ood.traffic.traffic import Traffic


class LogSink(Protocol):
    """Where workers' lines go."""

    def lines(self, app: str, instance: int, stream: str, texts: list[str]) -> None:
        """Write lines of a worker."""

    def remark(self, app: str, text: str) -> None:
        """Write a remark of ood's own."""

    def last(self, app: str, lines: int) -> tuple[str, ...]:
        """Return the texts of the last lines."""


@dataclass
class Context:
    """What every app and worker needs.

    :ivar run: the directory of sockets and of the guard's copy.
    :ivar guard: path of the guard's entry file.
    :ivar inherited: the service's own environment.
    :ivar traffic: counts requests, and writes them down.
    :ivar edge: the proxy, once there is one.
    :ivar public_ports: ports on which clients' connections come in.
    :ivar taken_ports: ports that workers listen on.
    :ivar events: told of what happens.
    :ivar stacks: looks into processes that hang.
    :ivar oom: knows whether the kernel killed somebody for memory.
    """

    fds: IReactorFDSet
    processes: IReactorProcess
    clock: IReactorTime
    logs: LogSink
    runtime: NodeRuntime
    run: Path
    guard: str
    inherited: Mapping[str, str]
    chance: random.Random
    background: Background
    traffic: Traffic
    edge: IEdge | None = None
    public_ports: frozenset[int] = frozenset()
    taken_ports: set[int] = field(default_factory=set)
    events: EventBus = field(default_factory=EventBus)
    stacks: Stacks | None = None
    oom: OomKills = field(default_factory=OomKills)


@dataclass(frozen=True)
class Plan:
    """How the next worker of an app is to be run.

    :ivar mode: ``guard``, ``cluster`` or ``port``.
    :ivar hosts: which requests are the app's own.
    """

    name: str
    app: App
    mode: str
    hosts: Hosts


Died = Callable[[Death], None]
