"""Becoming follower, candidate and leader."""

from __future__ import annotations

from ood.raft.core import reads
from ood.raft.core.errors import SafetyError
from ood.raft.core.progress import Progress
from ood.raft.core.state import Core
from ood.raft.core.types import Entry, EntryKind, Role


def reset(core: Core, term: int) -> None:
    """Start a period: a new term takes the old vote away, the same term never."""
    if term < core.term:
        raise SafetyError(f"term {core.term} may not go back to {term}")
    if term != core.term:
        core.term, core.vote = term, None
    core.leader = None
    core.votes.clear()
    core.progress.clear()
    core.transferee = None
    core.handed_over = False
    core.incoming = None
    rewind(core)
    reads.drop(core)


def rewind(core: Core) -> None:
    """Set the election timer back, to a new random length."""
    core.election_elapsed = core.heartbeat_elapsed = 0
    core.timeout = core.options.election_ticks + core.jitter(core.options.election_ticks)


def become_follower(core: Core, term: int, leader: str | None) -> None:
    """Follow a leader, or wait for one."""
    reset(core, term)
    core.role, core.leader = Role.FOLLOWER, leader


def become_pre_candidate(core: Core) -> None:
    """Ask whether a campaign could be won; neither term nor vote changes."""
    reset(core, core.term)
    core.role = Role.PRE_CANDIDATE


def become_candidate(core: Core) -> None:
    """Begin a term of one's own and vote for oneself."""
    reset(core, core.term + 1)
    core.role, core.vote = Role.CANDIDATE, core.id


def become_leader(core: Core) -> None:
    """Lead: everybody is probed, and an empty entry finds out what is committed."""
    reset(core, core.term)
    core.role, core.leader = Role.LEADER, core.id
    core.round = 0
    track_members(core)
    index = core.log.last_index + 1
    core.append_own(Entry(index, core.term, EntryKind.NOOP))


def track_members(core: Core) -> None:
    """Follow the configuration: one progress for each member, none for others."""
    members = core.configuration.members
    for gone in [name for name in core.progress if name not in members]:
        del core.progress[gone]
    for name in sorted(members - core.progress.keys()):
        core.progress[name] = Progress(core.log.last_index + 1)
        core.progress[name].active = True  # as if heard from: it gets a whole period to answer
    own = core.progress.get(core.id)
    if own:
        own.match, own.round = core.log.stable, core.round
    core.dirty = True
