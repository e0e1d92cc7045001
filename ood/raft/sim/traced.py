"""Histories that our TLA+ specification can judge: fixed members, no snapshots, no torn saves."""

from __future__ import annotations

from random import Random

from ood.raft.core.types import Options
from ood.raft.sim import faults
from ood.raft.sim.clients import Client
from ood.raft.sim.member import Member
from ood.raft.sim.trace import Tracer
from ood.raft.sim.world import Weather, World

LENGTH = 900
"""Units of time; TLC takes a few seconds for what happens in them."""

KINDS = ["crash", "crash-all", "isolate", "link", "pause", "slow-disk", "split", "transfer"]

NODES = ["a", "b", "c"]


class TracedWorld(World):
    """A world that writes down what its nodes do."""

    def __init__(self, random: Random) -> None:
        weather = Weather(loss=0.02, duplicate=0.02, straggler=0.05, delays=(1, 6), sync=(1, 8))
        super().__init__(random, Options(heartbeat_ticks=2), weather)
        self.incarnations = self.tearing = False
        self.tracer = self.monitors.tracer = Tracer()

    def crash(self, member: Member) -> None:
        """Kill a node; the saves that survive were durable before it died."""
        before = list(member.disk.pending)
        random = self.random.getstate()
        kept = self.random.randint(0, len(before))
        self.random.setstate(random)
        for write in before[:kept]:
            self.tracer.saved(member, write)
        super().crash(member)
        self.tracer.crashed(member)


def actions(seed: int) -> list[tuple[str, str, int | str]]:
    """Play a history and return it as actions of the specification."""
    world = TracedWorld(Random(seed))  # noqa: S311  a reproducible choice, not a secret
    for name in NODES:
        world.boot(world.add(name, NODES))
    for name in ("p", "q"):
        world.later(50, Client(world, name, []).begin)
    world.later(150, faults.plague, world, KINDS, LENGTH)
    world.run_until(LENGTH)
    return world.tracer.actions
