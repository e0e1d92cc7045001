"""The apps' access logs: lines are collected, and written by a thread each second."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ood.background import InThread
from ood.clock import wall_time
from ood.interfaces import ILogs
from ood.logfile import LogFile, compress
from ood.model.status import ACCESS_STREAM, LogLine
from ood.traffic import records
from ood.traffic.records import Record

DIRECTORY = "access"
"""Where it is, below the app's directory of logs."""
FLUSH_SECONDS = 1.0
"""How late a line may be: a write for each would cost more than the line."""
BUFFER_BYTES_MAX = 8 << 20
"""With more than this not written yet (the disk is slow, or full) lines are lost, and counted."""
TAIL_LINES_MAX = 10_000
"""Most lines that are shown at once: more is for a pager and the file itself."""

Follower = Callable[[LogLine], None]


class AccessLog:
    """The access log of one app.

    :ivar app: its name.
    :ivar lost: lines that could not be written, from the service's start.
    :param wants: called with the first line that waits to be written.
    """

    def __init__(self, app: str, file: LogFile, wants: Callable[[AccessLog], None]) -> None:
        self.app = app
        self.file = file
        self.lost = 0
        self.followers: list[Follower] = []
        self._wants = wants
        self._lines: list[bytes] = []
        self._bytes = 0

    def write(self, record: Record, form: str) -> None:
        """Take a request down; never waits, never fails."""
        line = records.WRITERS[form](record)
        if self._bytes + len(line) > BUFFER_BYTES_MAX:
            self.lost += 1
            return
        if not self._lines:
            self._wants(self)
        self._lines.append(line)
        self._bytes += len(line)
        if self.followers:
            self._tell(line, -1 if record.worker is None else record.worker)

    def _tell(self, line: bytes, instance: int) -> None:
        shown = as_line(line[:-1], instance)
        for follower in list(self.followers):
            follower(shown)

    def take(self) -> tuple[bytes, int]:
        """Return what is to be written, and how many lines it is."""
        lines, self._lines = self._lines, []
        return b"".join(lines), len(lines)

    def written(self, size: int, lost: int) -> None:
        """Learn that what :meth:`take` returned is written, but for ``lost`` lines."""
        self._bytes -= size
        self.lost += lost


def as_line(line: bytes, instance: int = -1) -> LogLine:
    """Return a line of the file as the API shows it."""
    text = line.decode("ascii", "replace")
    return LogLine(time=records.time_of(line), instance=instance, stream=ACCESS_STREAM, text=text)


def _append(file: LogFile, data: bytes) -> None:
    """Write lines.  The file is opened anew each second: who moved it away gets a new one."""
    try:
        file.write(data)
    finally:
        file.close()


@implementer(ILogs)
class AccessLogs:
    """The access logs below the directory of the apps' logs.

    Whoever writes is stopped before :meth:`close` is called.

    :param in_thread: writes them.
    """

    log = Logger()

    def __init__(
        self,
        directory: Path,
        clock: IReactorTime,
        in_thread: InThread,
        now: Callable[[], datetime] = wall_time,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._in_thread = in_thread
        self._now = now
        self._logs: dict[str, AccessLog] = {}
        self._due: set[AccessLog] = set()
        self._timer: IDelayedCall | None = None
        self._busy = False
        self._written: Deferred[None] = succeed(None)
        self._failing: set[AccessLog] = set()

    def of(self, app: str) -> AccessLog:
        """Return the access log of ``app``."""
        if app not in self._logs:
            file = LogFile(self._directory / app / DIRECTORY, self._now, compress)
            self._logs[app] = AccessLog(app, file, self._wants)
        return self._logs[app]

    def lost(self) -> dict[str, int]:
        """Return how many lines each app's log has lost, where there is any."""
        return {app: log.lost for app, log in self._logs.items() if log.lost}

    # -- writing

    def _wants(self, log: AccessLog) -> None:
        self._due.add(log)
        self._arm()

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self._timer = None
        if self._busy:
            self._arm()  # the disk is slow: one write at a time
            return
        self._busy = True
        self._written = Deferred.fromCoroutine(self._write())
        _ = self._written.addErrback(
            lambda failure: self.log.failure("writing access logs failed", failure=failure)
        )

    async def _write(self) -> None:
        try:
            while self._due:
                await self._write_one(self._due.pop())
        finally:
            self._busy = False

    async def _write_one(self, log: AccessLog) -> None:
        data, lines = log.take()
        lost = 0
        try:
            await self._in_thread(_append, log.file, data)
            self._failing.discard(log)
        except OSError as error:
            lost = lines
            if log not in self._failing:
                self._failing.add(log)
                self.log.error(
                    "the access log of {app} can't be written: {error}", app=log.app, error=error
                )
        log.written(len(data), lost)

    def close(self) -> Deferred[None]:
        """Write what is left; fire when that is done."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._written
        await self._write()

    # -- reading

    def tail(self, app: str, lines: int, stream: str | None = None) -> list[LogLine]:  # noqa: ARG002 - ILogs
        """Return the last ``lines`` lines that are written."""
        wanted = min(lines, TAIL_LINES_MAX)
        found: list[LogLine] = []
        for line in self.of(app).file.backwards():
            if len(found) >= wanted:
                break
            if line:
                found.append(as_line(line))
        return found[::-1]

    def follow(self, app: str, callback: Follower) -> Callable[[], None]:
        """Call ``callback`` with every new line; return what ends that."""
        followers = self.of(app).followers
        followers.append(callback)

        def end() -> None:
            if callback in followers:
                followers.remove(callback)

        return end
