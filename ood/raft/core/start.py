"""Starting: from nothing, or from what a disk gave back after a crash at any moment."""

from __future__ import annotations

from collections.abc import Callable

from ood.raft.core import configuration as configurations
from ood.raft.core import roles
from ood.raft.core.configuration import History
from ood.raft.core.log import Log
from ood.raft.core.state import Core
from ood.raft.core.types import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Identity,
    Options,
    Stored,
)

BOOTSTRAP_TERM = 1
"""The term of the entry that every first member's log begins with."""


def load(
    identity: Identity,
    *,
    bootstrap: Configuration | None,
    stored: Stored,
    jitter: Callable[[int], int],
    options: Options,
    applied: int,
) -> Core:
    """Return the state a node starts with."""
    log = Log.from_disk(stored, applied)
    core = Core(identity, options, jitter, log, _history(log, stored))
    core.snapshot = stored.snapshot
    core.hard = stored.hard_state
    core.term, core.vote = _term(stored.hard_state, log.last_term)
    core.durable_term = stored.hard_state.term
    if identity.incarnation:
        core.incarnations[identity.id] = identity.incarnation
    if options.lease_reads and core.term:
        core.quiet_until = options.election_ticks
    if bootstrap is not None and not core.term and not log.last_index:
        _bootstrap(core, bootstrap)
    roles.rewind(core)
    return core


def _history(log: Log, stored: Stored) -> History:
    metadata = stored.snapshot.metadata if stored.snapshot else None
    base = History(metadata.index, metadata.configuration) if metadata else None
    history = base or History(0, Configuration())
    history.learn(log.slice(log.first_index, log.last_index))
    return history


def _term(hard: HardState, last_term: int) -> tuple[int, str | None]:
    """Return term and vote; a crash may have kept entries but not the term they came with."""
    if last_term > hard.term:
        return last_term, None
    return hard.term, hard.vote


def _bootstrap(core: Core, configuration: Configuration) -> None:
    """Begin with the same committed entry on every first member.

    Incarnations are noted later, by the first leader: here they would differ.
    """
    plain = Configuration(voters=configuration.voters, learners=configuration.learners)
    entry = Entry(1, BOOTSTRAP_TERM, EntryKind.CONFIGURATION, configurations.encode(plain))
    core.term = BOOTSTRAP_TERM
    core.log.append((entry,))
    core.history.learn((entry,))
    core.log.commit_to(1)
