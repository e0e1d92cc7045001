"""Running a command to its end: as some user, bounded in time, and nothing of it left behind."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorProcess, IReactorTime

from ood.background import to_the_end
from ood.procmon.core.lines import Lines
from ood.procmon.system.changes import Changes
from ood.procmon.system.ending import Family
from ood.procmon.system.process import RootProcess, spawn
from ood.procmon.workers.preflight import Command

LINES_KEPT = 20
"""Last lines that go with an error: what npm says about a failure fits."""
LINE_BYTES_MAX = 2000
"""Longest line; a longer one is cut: it is for people."""
PIECE_BYTES_MAX = 16_384
"""How much of what arrives at once is looked at, the end of it.

A command that floods its output must not keep the service from serving.
"""
STOP_SECONDS = 3.0
"""How long a command may take to stop on SIGTERM: npm and git have little to tidy up."""
LAST_WORDS_SECONDS = 2.0
"""How long what a command wrote may take to arrive once all its processes are gone."""

Said = Callable[[str], None]
"""``said(line)``: the command wrote a line."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    :ivar fault: what was wrong, such as ``exited with status 1``; empty if nothing was.
    :ivar lines: the last lines it wrote.
    """

    fault: str
    lines: tuple[str, ...]


class _Written:
    """What a command writes, as lines."""

    def __init__(self, said: Said) -> None:
        self._said = said
        self._lines = {stream: Lines(LINE_BYTES_MAX) for stream in ("out", "err")}
        self.last: deque[str] = deque(maxlen=LINES_KEPT)

    def take(self, stream: str, data: bytes) -> None:
        """Take what arrived."""
        for line in self._lines[stream].feed_pieces(data[-PIECE_BYTES_MAX:]):
            self._note(line)

    def end(self) -> None:
        """Take what never got its line end."""
        for lines in self._lines.values():
            if lines.partial:
                self._note(lines.rest())

    def _note(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rpartition("\r")[2].rstrip()
        if text:
            self.last.append(text)
            self._said(text)


class Runner:
    """Runs commands, each in a session of its own."""

    def __init__(self, reactor: IReactorProcess, clock: IReactorTime) -> None:
        self._reactor = reactor
        self._clock = clock

    async def run(
        self,
        command: Command,
        env: Mapping[str, str],
        *,
        seconds: float,
        said: Said,
        stdin: int | None = None,
    ) -> Outcome:
        """Run ``command`` to its end; when cancelled, end it first.

        :param seconds: how long it may take.
        :raises WorkerError: it can't be started.
        """
        changes, written = Changes(self._clock), _Written(said)
        process = RootProcess(written.take, changes.notify)
        pid = spawn(self._reactor, process, command, env, None, stdin=stdin)
        family = Family(self._clock, pid)
        try:
            deadline = self._clock.seconds() + seconds
            in_time = await changes.until(lambda: process.exited, deadline)
        finally:
            await to_the_end(self._end(family, process, changes))
        written.end()
        return Outcome(_fault(process, in_time, seconds), tuple(written.last))

    async def _end(self, family: Family, process: RootProcess, changes: Changes) -> None:
        """End what is left, children that the command left behind, too."""
        deadline = self._clock.seconds() + STOP_SECONDS
        await family.end(signal.SIGTERM, deadline, lambda: process.exited)
        deadline = self._clock.seconds() + LAST_WORDS_SECONDS
        await changes.until(lambda: process.ended, deadline)


def _fault(process: RootProcess, in_time: bool, seconds: float) -> str:
    if not in_time:
        whole = f"{seconds:g} seconds" if seconds < 60 else f"{seconds / 60:g} minutes"
        return f"took longer than {whole}"
    if process.signal is not None:
        return f"was killed by {signal.Signals(process.signal).name}"
    return f"exited with status {process.code}" if process.code else ""
