"""A cluster in which time passes, messages travel and saves finish, all by a seed."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from ood.raft.core.types import Identity, Message, Options
from ood.raft.sim.cluster import Cluster
from ood.raft.sim.member import Member

TICK = 10
"""Units of time between two ticks of a node; delays are counted in the same units."""

DRIFT = 1
"""How much the tick of a node may be longer or shorter: clocks do not run alike."""

TOLD_APART = 1000
"""How far the terms of another cluster's messages are from ours, so that one would be felt."""


@dataclass
class Weather:
    """How bad the network and the disks are.

    :ivar loss: the share of messages that never arrive (or arrive damaged: the
        transport's checksum makes that the same).
    :ivar delays: the usual range of delays; ``straggler`` of them take ten times as long.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    straggler: float = 0.0
    foreign: float = 0.0
    delays: tuple[int, int] = (1, 4)
    sync: tuple[int, int] = (1, 4)


class World(Cluster):
    """A simulated cluster with an agenda.

    :ivar tearing: whether a crash may leave half a save.
    :ivar cut: (source, target) pairs between which nothing gets through.
    :ivar paused: nodes that stand still, each with the tick it stopped at.
    :ivar slow: nodes whose disk is thirty times slower.
    """

    def __init__(self, random: Random, options: Options, weather: Weather) -> None:
        super().__init__(options, random.randrange)
        self.random, self.weather = random, weather
        self.now = 0
        self.tearing = True
        self.steps = 0
        self.cut: set[tuple[str, str]] = set()
        self.paused: dict[str, int] = {}
        self.slow: set[str] = set()
        self._agenda: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0
        self._pace: dict[str, int] = {}
        self._held: dict[str, list[tuple[Message, Identity]]] = {}

    # Time

    def later(self, delay: int, call: Callable[..., None], *arguments: Any) -> None:
        """Do something after a delay."""
        self._number += 1
        heapq.heappush(self._agenda, (self.now + delay, self._number, call, arguments))

    def run_until(self, end: int) -> None:
        """Let time pass."""
        while self._agenda and self._agenda[0][0] <= end:
            self.now, _, call, arguments = heapq.heappop(self._agenda)
            self.steps += 1
            call(*arguments)
        self.now = end

    def boot(self, member: Member) -> None:
        """Start a node and its clock."""
        member.on_write = self._begin_sync
        member.start()
        self._pace[member.id] = self.random.randint(TICK - DRIFT, TICK + DRIFT)
        self.later(self.random.randint(1, TICK), self._tick, member, member.raw)

    def _tick(self, member: Member, raw: object) -> None:
        if member.raw is not raw or raw is None:
            return  # it died; its next life has a clock of its own
        self.later(self._pace[member.id], self._tick, member, raw)
        if member.id not in self.paused:
            member.tick()

    # Faults of a node

    def pause(self, member: Member) -> None:
        """Stop a process in the middle of whatever it does."""
        self.paused.setdefault(member.id, self.now)

    def resume(self, member: Member) -> None:
        """Let it go on: it notices how much time has passed before anything else."""
        since = self.paused.pop(member.id, None)
        if since is None:
            return
        missed = (self.now - since) // self._pace[member.id]
        if missed:
            member.tick(missed)
        for message, sender in self._held.pop(member.id, []):
            member.step(message, sender)
        for _ in range(len(member.disk.pending)):
            member.sync()

    def crash(self, member: Member) -> None:
        """Kill a node; unsynced saves are lost, or torn."""
        self.paused.pop(member.id, None)
        self._held.pop(member.id, None)
        pending = len(member.disk.pending)
        kept = self.random.randint(0, pending)
        member.crash(kept, self.random.randint(0, 4) if self.tearing else 0)

    # Disk

    def _begin_sync(self, member: Member) -> None:
        delay = self.random.randint(*self.weather.sync)
        if member.id in self.slow:
            delay *= 30
        self.later(delay, self._sync, member, member.raw)

    def _sync(self, member: Member, raw: object) -> None:
        if member.raw is raw and member.id not in self.paused:
            member.sync()

    # Network

    def post(self, source: Member, message: Message) -> None:
        """Carry a message as the weather allows."""
        weather, random = self.weather, self.random
        if (source.id, message.target) in self.cut or random.random() < weather.loss:
            return
        copies = 2 if random.random() < weather.duplicate else 1
        for _ in range(copies):
            delay = random.randint(*weather.delays)
            if random.random() < weather.straggler:
                delay *= 10
            self.later(delay, self._deliver, message, source.identity)
        if random.random() < weather.foreign:
            self._post_foreign(message)

    def _post_foreign(self, message: Message) -> None:
        """Send what a node with the same id in another cluster would send."""
        stranger = Identity("another", message.source, f"{message.source}.1")
        foreign = _with_term(message, message.term + TOLD_APART)
        self.later(1, self._deliver, foreign, stranger)

    def _deliver(self, message: Message, sender: Identity) -> None:
        member = self.members.get(message.target)
        if member is None or (message.source, message.target) in self.cut:
            return
        if member.id in self.paused:
            self._held.setdefault(member.id, []).append((message, sender))
        else:
            member.step(message, sender)


def _with_term(message: Message, term: int) -> Message:
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    return type(message)(**{**fields, "term": term})
