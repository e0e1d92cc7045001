"""One whole history: a cluster, its clients and its misfortunes, all from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ood.raft.core.types import Configuration, Options
from ood.raft.sim import faults
from ood.raft.sim.clients import Client
from ood.raft.sim.linearizability import Call, violations
from ood.raft.sim.monitors import BrokenPromiseError
from ood.raft.sim.world import TICK, Weather, World

STORM = 1500
"""Units of time in which things go wrong."""

CALM_AFTER = 1500
"""Units of time in which the cluster must come to rest afterwards."""

CLIENTS = 3
"""Clients at the same time."""


@dataclass(frozen=True)
class Result:
    """What a history showed.

    :ivar problem: the promise that was broken; None: all were kept.
    """

    seed: int
    problem: str | None
    steps: int
    committed: int
    answered: int
    leaders: int


def play(seed: int) -> Result:
    """Play the history of a seed and judge it."""
    random = Random(seed)  # noqa: S311  a reproducible choice, not a secret
    world = _world(random)
    history: list[Call] = []
    problem: str | None = None
    try:
        _run(world, history)
    except Exception as error:  # whatever it is, the seed that shows it is what matters
        problem = f"{type(error).__name__}: {error}"
    answered = sum(call.end is not None for call in history)
    terms = len(world.monitors.leaders)
    return Result(seed, problem, world.steps, len(world.monitors.committed), answered, terms)


def _world(random: Random) -> World:
    """Choose a cluster and how bad its weather is."""
    rough = random.random() < 0.7
    weather = Weather(
        loss=random.choice((0.0, 0.02, 0.1)) if rough else 0.0,
        duplicate=random.choice((0.0, 0.05)) if rough else 0.0,
        straggler=random.choice((0.0, 0.05, 0.2)) if rough else 0.0,
        foreign=0.002,
        delays=(1, random.choice((2, 6, 15))),
        sync=(1, random.choice((2, 6, 30))),
    )
    options = Options(
        heartbeat_ticks=2,
        batch_bytes=random.choice((64, 1 << 20)),
        in_flight_messages=random.choice((1, 4, 64)),
        chunk_bytes=random.choice((200, 1 << 18)),
        lease_reads=random.random() < 0.5,
        lease_margin_ticks=3,
        promotion_lag=2,
    )
    return World(random, options, weather)


def _populate(world: World) -> None:
    random = world.random
    names = ["a", "b", "c", "d", "e"][: random.choice((1, 3, 3, 3, 3, 4, 5, 5))]
    spare = random.choice((0, 0, 1)) if len(names) > 1 else random.choice((0, 2))
    compact = random.choice((0, 5, 20))
    for name in names:
        world.add(name, names)
    for number in range(spare):
        world.add(f"s{number}")
    for member in world.members.values():
        member.snapshot_every = compact
        member.keep = random.choice((0, 3))
        world.boot(member)


def _run(world: World, history: list[Call]) -> None:
    random = world.random
    _populate(world)
    clients = [Client(world, name, history) for name in ("p", "q", "r")[:CLIENTS]]
    for client in clients:
        world.later(random.randint(20, 200), client.begin)
    kinds = sorted(faults.ALL)
    if random.random() < 0.7:
        kinds = random.sample(kinds, random.randint(1, 5))
    world.later(random.randint(50, 250), faults.plague, world, kinds, STORM)
    world.run_until(STORM)
    _calm(world)
    for client in clients:
        client.stopped = True
    world.run_until(world.now + 200)
    _judge(history)


def _calm(world: World) -> None:
    """Heal everything and wait until the cluster has come to rest."""
    world.weather = Weather()
    world.run_until(world.now + 30 * TICK)  # delayed ends of faults, messages under way
    faults.heal(world)
    world.run_until(world.now + 50 * TICK)
    faults.heal(world)
    deadline = world.now + CALM_AFTER
    while not converged(world):
        if world.now >= deadline:
            raise BrokenPromiseError(f"convergence after healing: {_picture(world)}")
        world.run_until(world.now + 5 * TICK)


def converged(world: World) -> bool:
    """Whether one leads and every member it knows of follows it and its log."""
    leader = world.leader()
    if leader is None or not leader.core.committed_in_term:
        return False
    core = leader.core
    if core.configuration.joint or core.configuration.promote:
        return False
    near = core.log.committed - 3  # clients are still at work
    members = [world.members[name] for name in sorted(core.configuration.members)]
    return all(m.machine.index >= near and m.core.leader == leader.id for m in members)


def _picture(world: World) -> str:
    lines = []
    for member in world.members.values():
        core = member.core
        configuration: Configuration = core.configuration
        lines.append(
            f"{member.id}: {core.role.value} term {core.term} of {core.leader},"
            f" log {core.log.first_index}-{core.log.last_index} committed {core.log.committed}"
            f" applied {member.machine.index}, voters {sorted(configuration.voters)}"
            f"{sorted(configuration.voters_outgoing)} learners {sorted(configuration.learners)}"
        )
    return "; ".join(lines)


def _judge(history: list[Call]) -> None:
    broken = violations(history)
    if broken:
        calls = [call for call in history if call.operation.key in broken]
        raise BrokenPromiseError(f"linearizability of {broken}: {calls}")
