"""Handing leadership over."""

from __future__ import annotations

from ood.raft.core.errors import ChangeError
from ood.raft.core.state import Core
from ood.raft.core.types import TimeoutNow


def begin(core: Core, member: str) -> None:
    """Stop taking proposals and bring the member up to date, then let it campaign."""
    if member == core.id:
        return
    if member not in core.configuration.voters:
        raise ChangeError(f"{member} is not a voter", "leadership can only go to a voter")
    core.transferee, core.transfer_elapsed = member, 0
    core.dirty = True
    proceed(core)


def proceed(core: Core) -> None:
    """Let the member campaign as soon as it holds the whole log."""
    member = core.transferee
    if member is None:
        return
    progress = core.progress.get(member)
    if progress is None:
        core.transferee = None
    elif progress.match == core.log.last_index:
        _hand_over(core, member)


def _hand_over(core: Core, member: str) -> None:
    core.handed_over = True  # the member may win at any time from now on: no lease holds
    core.send(TimeoutNow(core.id, member, core.term))


def hand_to_best(core: Core) -> None:
    """Let the voter with the longest log campaign, because this leader goes."""
    voters = core.configuration.voters - {core.id}
    best = max(sorted(voters), key=lambda name: core.progress[name].match, default=None)
    if best is not None:
        _hand_over(core, best)


def tick(core: Core, count: int) -> None:
    """Give up on a member that does not take over."""
    if core.transferee is None:
        return
    core.transfer_elapsed += count
    if core.transfer_elapsed >= core.options.transfer_ticks:
        core.transferee = None
