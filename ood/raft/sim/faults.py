"""What goes wrong, and when it is made good again."""

from __future__ import annotations

from collections.abc import Callable

from ood.errors import OodError
from ood.raft.sim.member import Member
from ood.raft.sim.world import World

CALM = (60, 250)
"""The range of time between two faults."""

LONG = (50, 500)
"""How long a fault lasts."""

Fault = Callable[[World], None]


def _someone(world: World) -> Member | None:
    up = [m for m in world.members.values() if m.raw and m.id not in world.paused]
    leader = world.leader()
    if leader in up and world.random.random() < 0.5:
        return leader
    return world.random.choice(up) if up else None


def _cut(world: World, pairs: set[tuple[str, str]]) -> None:
    world.cut |= pairs
    world.later(world.random.randint(*LONG), world.cut.difference_update, pairs)


def split(world: World) -> None:
    """Divide the nodes in two parts."""
    names = list(world.members)
    world.random.shuffle(names)
    middle = world.random.randint(1, len(names) - 1) if len(names) > 1 else 1
    one, other = names[:middle], names[middle:]
    _cut(world, {pair for a in one for b in other for pair in ((a, b), (b, a))})


def isolate(world: World) -> None:
    """Cut one node off, or only what it hears, or only what it says."""
    member = _someone(world)
    if member is None:
        return
    kind = world.random.choice(("both", "deaf", "mute"))
    pairs = set()
    for other in world.members:
        if kind != "mute":
            pairs.add((other, member.id))
        if kind != "deaf":
            pairs.add((member.id, other))
    _cut(world, pairs)


def break_link(world: World) -> None:
    """Cut a single link, in both directions or in one."""
    names = list(world.members)
    if len(names) < 2:
        return
    a, b = world.random.sample(names, 2)
    _cut(world, {(a, b), (b, a)} if world.random.random() < 0.7 else {(a, b)})


def crash(world: World) -> None:
    """Kill a node and start it again later."""
    member = _someone(world)
    if member is not None:
        world.crash(member)
        world.later(world.random.randint(10, 400), restart, world, member)


def crash_all(world: World) -> None:
    """Kill every node at once (a power cut)."""
    for member in world.members.values():
        if member.raw is not None:
            world.crash(member)
            world.later(world.random.randint(10, 100), restart, world, member)


def restart(world: World, member: Member) -> None:
    """Start a node that is down."""
    if member.raw is None:
        world.boot(member)


def pause(world: World) -> None:
    """Stop a process for a while (SIGSTOP, a virtual machine that is moved)."""
    member = _someone(world)
    if member is not None:
        world.pause(member)
        world.later(world.random.randint(*LONG), world.resume, member)


def slow_disk(world: World) -> None:
    """Make a disk slow for a while."""
    member = _someone(world)
    if member is not None:
        world.slow.add(member.id)
        world.later(world.random.randint(*LONG), world.slow.discard, member.id)


def transfer(world: World) -> None:
    """Ask the leader to hand over."""
    leader = world.leader()
    if leader is None or leader.raw is None or leader.id in world.paused:
        return
    target = world.random.choice(sorted(leader.core.configuration.voters))
    try:
        leader.raw.transfer_leadership(target)
    except OodError:
        return
    leader.process()


def change_members(world: World) -> None:
    """Ask the leader for some other set of members (at least two voters)."""
    leader = world.leader()
    if leader is None or leader.raw is None or leader.id in world.paused:
        return
    names = sorted(world.members)
    world.random.shuffle(names)
    voters = names[: world.random.randint(min(2, len(names)), len(names))]
    learners = [name for name in names if name not in voters and world.random.random() < 0.5]
    promote = [name for name in learners if world.random.random() < 0.5]
    try:
        leader.raw.propose_configuration(voters=voters, learners=learners, promote=promote)
    except OodError:
        return
    leader.process()


def snapshot(world: World) -> None:
    """Let a node compact its log."""
    member = _someone(world)
    if member is not None and member.machine.index:
        member.snapshot()


def wipe(world: World) -> None:
    """Take a node's disk away; an operator replaces it: remove, then add again.

    One at a time, only where a minority is lost, and when everybody has noted whose
    disk is whose: before and beyond that nothing is promised.
    """
    leader = world.leader()
    if leader is None or world.wiped or len(leader.core.configuration.voters) < 3:
        return
    names = sorted(leader.core.configuration.incarnations.keys() - {leader.id})
    if not names or not all(_knows(member, names) for member in world.members.values()):
        return
    member = world.members[world.random.choice(names)]
    world.wiped.add(member.id)
    world.crash(member)
    member.wipe()
    world.later(world.random.randint(10, 100), restart, world, member)
    world.later(20, _replace, world, member)


def _knows(member: Member, names: list[str]) -> bool:
    """Whether a node is up and knows these members' incarnations (or is no member)."""
    if member.raw is None:
        return False
    known = member.core.configuration
    return member.id not in known.members or known.incarnations.keys() >= set(names)


def _replace(world: World, member: Member) -> None:
    """Do what the operator does until the member is back."""
    leader = world.leader()
    if leader is not None and leader.raw is not None and leader.id not in world.paused:
        known = leader.core.configuration
        if known.incarnations.get(member.id) == member.key and not known.joint:
            world.wiped.discard(member.id)
            return
        try:
            if member.id in known.members:
                leader.raw.remove_member(member.id)
            else:
                leader.raw.add_member(member.id, member.key)
        except OodError:
            pass
        leader.process()
    world.later(30, _replace, world, member)


ALL: dict[str, Fault] = {
    "split": split,
    "isolate": isolate,
    "link": break_link,
    "crash": crash,
    "crash-all": crash_all,
    "pause": pause,
    "slow-disk": slow_disk,
    "transfer": transfer,
    "members": change_members,
    "snapshot": snapshot,
    "wipe": wipe,
}


def plague(world: World, kinds: list[str], end: int) -> None:
    """Let one fault after another happen until the end."""
    if world.now >= end or not kinds:
        return
    ALL[world.random.choice(kinds)](world)
    world.later(world.random.randint(*CALM), plague, world, kinds, end)


def heal(world: World) -> None:
    """Make everything good: links, disks, processes."""
    world.cut.clear()
    world.slow.clear()
    for member in world.members.values():
        world.resume(member)
        restart(world, member)
