"""What a process tells of its requests: into the books, and into the access log."""

from __future__ import annotations

from collections.abc import Sequence

from ood.interfaces import Worker
from ood.procmon.core import join
from ood.traffic.meter import Tally
from ood.traffic.records import Record
from ood.traffic.traffic import HANDED, AppTraffic

LINES_PER_SECOND_MAX = 50_000
"""More requests a second no process of Node answers; writing down what a runaway makes up would
keep the service from everything else."""


class Told:
    """Takes what one process tells.

    :ivar tally: what it has answered, on all ways.
    """

    def __init__(self, worker: Worker, traffic: AppTraffic) -> None:
        self._worker = worker
        self._traffic = traffic
        self._last = join.Stats()
        self._second = 0.0
        self._lines = 0
        self.tally = Tally()

    def count(self, stats: join.Stats, now: float) -> None:
        """Add what has come since the last counts."""
        last, self._last = self._last, stats
        handed = self._traffic.tally(HANDED)
        _add(handed, stats.handed, last.handed, now)
        _add(self.tally, stats.handed, last.handed, now)
        _add(self.tally, stats.piped, last.piped, now)
        handed.in_flight += stats.handed.in_flight - last.handed.in_flight

    def end(self) -> None:
        """Learn that the process is gone, and whatever it was at."""
        self._traffic.tally(HANDED).in_flight -= self._last.handed.in_flight
        self._last = join.Stats()

    def write(self, access: join.Access, now: float) -> None:
        """Write requests down, up to a bound of them."""
        if now - self._second >= 1:
            self._second, self._lines = now, 0
        traffic, room = self._traffic, LINES_PER_SECOND_MAX - self._lines
        written = access.lines[: max(room, 0)]
        self._lines += len(written)
        for line in written:
            traffic.write(self._record(line))
        lost = access.lost + len(access.lines) - len(written)
        if lost:
            traffic.lose(lost)

    def _record(self, line: join.Line) -> Record:
        return Record(
            time=line.time / 1000,
            client=line.client,
            method=line.method,
            target=line.target,
            version=line.version,
            status=line.status,
            size=line.size,
            seconds=line.ms / 1000,
            referer=line.referer,
            agent=line.agent,
            host=line.host,
            app=self._worker.app,
            via=HANDED,
            worker=self._worker.instance,
            request_id=line.request_id,
        )


def _add(tally: Tally, new: join.Meter, old: join.Meter, now: float) -> None:
    """Add to ``tally`` what is in ``new`` more than in ``old``; a process may tell nonsense."""
    buckets = _more(new.buckets, old.buckets)
    classes = _more(new.status, old.status)
    if any(classes):
        seconds, size = max(new.ms - old.ms, 0) / 1000, max(new.bytes - old.bytes, 0)
        tally.add(now, (0, *classes), buckets, seconds=seconds, size=size)


def _more(new: Sequence[int], old: Sequence[int]) -> list[int]:
    return [max(count - before, 0) for count, before in zip(new, old, strict=True)]
