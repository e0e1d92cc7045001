"""The leader's side of configuration changes: propose, leave joint, promote, step down."""

from __future__ import annotations

from collections.abc import Iterable

from ood.raft.core import configuration as configurations
from ood.raft.core import roles, transfer
from ood.raft.core.errors import BusyError, ChangeError
from ood.raft.core.progress import Flow
from ood.raft.core.state import Core
from ood.raft.core.types import Configuration, Entry, EntryKind


def propose(
    core: Core,
    *,
    voters: Iterable[str] | None = None,
    learners: Iterable[str] | None = None,
    promote: Iterable[str] | None = None,
    incarnations: dict[str, str] | None = None,
) -> tuple[int, int]:
    """Begin a change of the membership."""
    if not core.committed_in_term:
        raise BusyError("this leader has not committed anything yet", "retry in a moment")
    if core.history.index > core.log.committed:
        raise ChangeError("another change is not committed yet", "retry when it is")
    current = core.configuration
    change = configurations.target(
        current,
        voters=voters,
        learners=learners,
        promote=current.promote if promote is None else promote,
        incarnations=incarnations,
    )
    return append(core, change)


def append(core: Core, change: Configuration) -> tuple[int, int]:
    """Add a configuration to the log: from now on it is in force."""
    index = core.log.last_index + 1
    entry = Entry(index, core.term, EntryKind.CONFIGURATION, configurations.encode(change))
    core.append_own(entry)
    core.history.learn((entry,))
    roles.track_members(core)
    return index, core.term


def after_commit(core: Core) -> None:
    """Go on when the last change is committed: leave joint, or go if not a voter.

    While an entry that leaves joint is in the log uncommitted, it is the last
    change: there never is a second one.
    """
    if core.history.index > core.log.committed or not core.committed_in_term:
        return
    current = core.configuration
    if current.joint:
        append(core, configurations.left(current))
    elif core.id not in current.voters:
        transfer.hand_to_best(core)
        roles.become_follower(core, core.term, None)


def tend(core: Core) -> None:
    """Once per heartbeat: note new incarnations, promote a learner that caught up."""
    if core.history.index > core.log.committed or not core.committed_in_term:
        return
    if core.configuration.joint or core.transferee:
        return
    news = _unnoted(core)
    ready = [name for name in sorted(core.configuration.promote) if _caught_up(core, name)]
    if ready:
        current = core.configuration
        propose(core, voters=current.voters | {ready[0]}, incarnations=news)
    elif news:
        propose(core, incarnations=news)


def _unnoted(core: Core) -> dict[str, str]:
    known = core.configuration.incarnations
    return {
        name: core.incarnations[name]
        for name in sorted(core.configuration.members)
        if name not in known and core.incarnations.get(name)
    }


def _caught_up(core: Core, name: str) -> bool:
    progress = core.progress[name]
    near = progress.match + core.options.promotion_lag >= core.log.committed
    return near and progress.active and progress.flow is Flow.REPLICATE
