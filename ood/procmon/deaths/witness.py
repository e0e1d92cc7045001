"""What is known of one worker for the case that it dies."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ood.model.death import RequestInFlight
from ood.model.document import App
from ood.procmon.core.growth import Growth
from ood.procmon.core.join import Stats
from ood.procmon.core.lastwords import FILE_BYTES_MAX, NOTHING, LastWords, parse, requests_of
from ood.procmon.deaths.record import Evidence
from ood.procmon.deaths.stacks import Stacks
from ood.procmon.system.oomkills import OomKills
from ood.procmon.workers.output import Tail

FRESH_SECONDS = 5.0
"""How long before its worker a process of it may have died to have been the reason."""


class Joined(Protocol):
    """A process of the worker that joined."""

    pid: int
    stats: Stats

    def silent_seconds(self) -> float:
        """Return how long its last sign of life is ago."""


def take(directory: Path, pid: int) -> LastWords:
    """Return what the process ``pid`` left, and remove it.

    The directory is the app's user's: only a plain file that belongs to the same user
    is read, no link to anywhere.
    """
    path = directory / f"last-{pid}"
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        owner = directory.stat().st_uid
        with open(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            right = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
            content = file.read(FILE_BYTES_MAX) if right and status.st_uid == owner else b""
    except OSError:
        return NOTHING
    with suppress(OSError):
        path.unlink()
    return parse(content)


def memory(joined: Iterable[Joined]) -> float:
    """Return the memory of processes as they told it; several threads tell that of one."""
    return sum({member.pid: member.stats.rss for member in joined}.values())


class Witness:
    """Watches one worker.

    :ivar hung: whether its event loop does not turn.
    :ivar stack: where it hung, once that is known.
    :ivar requests: what it was serving when it hung.
    :param directory: where its processes leave what they know.
    :param tail: its last lines.
    """

    def __init__(self, clock: IReactorTime, oom: OomKills, directory: Path, tail: Tail) -> None:
        self._clock = clock
        self._oom = oom
        self._directory = directory
        self._tail = tail
        self._growth = Growth()
        self._words = NOTHING
        self._words_at = 0.0
        self._pids: set[int] = set()
        self.hung = False
        self.stack: tuple[str, ...] = ()
        self.requests: tuple[RequestInFlight, ...] = ()

    def weigh(self, count: float) -> None:
        """Note that the worker uses ``count`` bytes now."""
        self._growth.add(self._clock.seconds(), count)

    def gone(self, joined: Joined) -> None:
        """Note that a process is gone: keep what it left, or what it told before."""
        if joined.stats.rss > self._growth.last:  # else it was one of several
            self.weigh(joined.stats.rss)
        self._pids.add(joined.pid)
        left = take(self._directory, joined.pid)
        self._note(LastWords(left.requests or _slow(joined), left.thrown))

    def _note(self, words: LastWords) -> None:
        if words != NOTHING:
            self._words, self._words_at = words, self._clock.seconds()

    async def look_into(self, stuck: Joined, stacks: Stacks | None) -> None:
        """Find out where a process hangs."""
        if stacks is None:
            return
        look = await stacks.look(stuck.pid, self._tail.err)
        self.stack, self.requests = look.stack, look.requests

    def evidence(self, app: App, joined: Iterable[Joined]) -> Evidence:
        """Return what is known now that it is dead.

        :param joined: the processes of which nobody has noticed yet that they are gone.
        """
        for one in joined:
            self.gone(one)
        for pid in self._pids:  # one that left may have lived on
            self._note(take(self._directory, pid))
        recent = self._clock.seconds() - self._words_at <= FRESH_SECONDS
        words = self._words if recent else NOTHING
        return Evidence(
            release=app.release or "",
            cwd=app.cwd,
            memory_bytes=self._growth.last,
            memory_growth=self._growth.per_minute(),
            requests=self.requests or words.requests,
            thrown=words.thrown,
            oom_killed=self._oom.rose(),
            hung=self.hung,
            stack=self.stack,
            err=tuple(self._tail.err),
            log=self._tail.last(),
        )


def _slow(joined: Joined) -> tuple[RequestInFlight, ...]:
    """Return the requests that took long already when the process last spoke."""
    since = joined.silent_seconds() * 1000
    return requests_of((method, path, age + since) for method, path, age in joined.stats.slow)
