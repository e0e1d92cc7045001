"""How a worker takes leave of its clients, before it is told to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ood.procmon.members.base import Member
from ood.procmon.members.joined import JoinedMember
from ood.procmon.system.changes import Changes
from ood.procmon.workers.crew import Crew
from ood.procmon.workers.linger import linger

LEAVE_SECONDS = 1.0
"""How long the guard may take to close servers and send close frames, on a busy machine, too."""
POLL_SECONDS = 0.05
"""How often to look whether the proxy's connections to a draining port are gone."""


class Drain:
    """The drain of one worker.

    :param members: its processes, as they are at each moment.
    :param exited: whether its root process is gone.
    :param changes: told of what happens to any of them.
    """

    def __init__(
        self,
        crew: Crew,
        members: Sequence[Member],
        exited: Callable[[], bool],
        changes: Changes,
    ) -> None:
        self._crew = crew
        self._members = members
        self._exited = exited
        self._changes = changes

    async def run(self, deadline: float, *, finishes: bool) -> None:
        """Return when nobody is left, or it is ``deadline``.

        :param finishes: whether a process that closed its servers goes on with its requests:
            Node's own cluster does.
        """
        changes = self._changes
        await linger(self._crew, self._members, self._exited, changes, deadline)
        for member in self._members:
            member.drain()
        if await changes.until(self._drained, deadline, POLL_SECONDS):
            await changes.until(self._empty, deadline, POLL_SECONDS)
        for member in self._members:
            member.leave()
        if not finishes:
            deadline = changes.clock.seconds() + LEAVE_SECONDS
        await changes.until(self._left, deadline)

    def _drained(self) -> bool:
        return self._exited() or all(member.drained for member in self._members)

    def _empty(self) -> bool:
        """Whether WebSockets and the like have ended, or nobody else would serve them."""
        joined = (member for member in self._members if isinstance(member, JoinedMember))
        stopped = self._exited() or not self._crew.app.running
        return stopped or not any(member.staying for member in joined)

    def _left(self) -> bool:
        return self._exited() or all(member.left for member in self._members)
