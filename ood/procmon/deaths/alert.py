"""The alert for an app after a death that nothing explains.

A process that the kernel ends, or that runs out of memory, can't say what it was doing.
After the first such death each request is written down before the app sees it, so that
the next one is known; that costs some microseconds a request, and ends when nobody has
died for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ood.model.death import DeathReport
from ood.procmon.members.joined import JoinedMember

WATCH_SECONDS = 600.0
"""How long after the last such death: what happens less often is worth no cost at all."""
SUDDEN = frozenset({"heap", "oom-kill", "killed", "abort", "native", "hang"})
"""Causes of death after which no code of the process runs."""


class Alert:
    """Watches one app.

    :param members: returns its processes that joined.
    """

    def __init__(self, clock: IReactorTime, members: Callable[[], Iterable[JoinedMember]]) -> None:
        self._clock = clock
        self._members = members
        self._timer: IDelayedCall | None = None

    def died(self, death: DeathReport) -> None:
        """A worker died: watch from now on, if it could not say why."""
        if death.cause not in SUDDEN or death.pid is None:
            return
        if self._timer is not None:
            self._timer.reset(WATCH_SECONDS)
            return
        self._timer = self._clock.callLater(WATCH_SECONDS, self._over)
        for member in self._members():
            member.watch(on=True)

    def joined(self, member: JoinedMember) -> None:
        """A process joined."""
        if self._timer is not None:
            member.watch(on=True)

    def _over(self) -> None:
        self._timer = None
        for member in self._members():
            member.watch(on=False)

    def stop(self) -> None:
        """Watch no more: nobody is there."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
