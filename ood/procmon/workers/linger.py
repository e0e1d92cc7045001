"""A draining worker goes on for the clients that stay with it by a cookie."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ood.procmon.members.base import Member
from ood.procmon.system.changes import Changes
from ood.procmon.workers.crew import Crew

VISIT_SECONDS = 5.0
"""A client may let so much time pass between two requests: longer, and every restart would take
as long as people look at a page."""
LINGER_SHARE = 0.8
"""Part of the time for a drain: the rest is for what is still under way after it."""
LOOK_SECONDS = 0.05
"""How often to look whether they are gone."""


async def linger(
    crew: Crew,
    members: Sequence[Member],
    exited: Callable[[], bool],
    changes: Changes,
    deadline: float,
) -> None:
    """Let ``members``, which take nobody new, serve those who know them until they are gone.

    :param exited: whether the process is gone.
    :param deadline: when the drain has to be over.
    """
    if crew.app.stickiness() != "cookie":
        return
    clock = changes.clock

    def left_alone() -> bool:
        if exited() or not crew.app.running:
            return True  # there is nobody else to stay with
        since = clock.seconds() - VISIT_SECONDS
        return all(one.worker.visited < since and not one.worker.busy for one in members)

    for member in members:
        member.worker.lingers = True
    now = clock.seconds()
    await changes.until(left_alone, now + (deadline - now) * LINGER_SHARE, LOOK_SECONDS)
    for member in members:
        member.worker.lingers = False
