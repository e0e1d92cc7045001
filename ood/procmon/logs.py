"""The apps' logs: a line is a time stamp, the worker, the stream, and what was written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ood.background import InThread
from ood.clock import stamp, wall_time
from ood.interfaces import ILogs
from ood.logfile import LogFile, compress, decode, encode
from ood.model.status import LogLine

TAIL_LINES_MAX = 10_000
"""Most lines that are shown at once: more is for a pager and the file itself."""
RETRY_SECONDS = 1.0
"""How long nothing is tried after a write failed: a full disk stays full for a while."""
OWN = -1
"""The "instance" of ood's own remarks."""

Follower = Callable[[LogLine], None]


class _AppLog:
    """The log of one app with those who follow it."""

    def __init__(self, file: LogFile) -> None:
        self.file = file
        self.followers: list[Follower] = []
        self.lost = 0
        self.problem = ""
        self.retry_at = 0.0


@implementer(ILogs)
class Logs(Service):
    """All apps' logs below one directory, one directory for each app.

    No trouble with a file ever reaches a worker: lines that can't be written are
    counted, and that is said when it works again.

    :param in_thread: compresses what was put aside.
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
        self._apps: dict[str, _AppLog] = {}
        self._compressing: set[Deferred[None]] = set()

    # -- writing

    def lines(self, app: str, instance: int, stream: str, texts: list[str]) -> None:
        """Write lines of a worker."""
        time = stamp(self._now())
        entries = [
            LogLine(time=time, instance=instance, stream=stream, text=text) for text in texts
        ]
        entry = self._app(app)
        self._write(app, entry, entries)
        for follower in list(entry.followers):
            self._tell(follower, entries)

    def remark(self, app: str, text: str) -> None:
        """Write a remark of ood's own."""
        self.lines(app, OWN, "ood", text.splitlines() or [""])

    def _app(self, app: str) -> _AppLog:
        if app not in self._apps:
            file = LogFile(self._directory / app, self._now, self._compress)
            self._apps[app] = _AppLog(file)
        return self._apps[app]

    def _write(self, app: str, entry: _AppLog, lines: list[LogLine]) -> None:
        now = self._clock.seconds()
        if entry.lost and now < entry.retry_at:
            entry.lost += len(lines)
            return
        try:
            if entry.lost:
                entry.file.write(encode(self._apology(entry)))
                self.log.info("the log of {app} is written again", app=app)
                entry.lost = 0
            entry.file.write(b"".join(map(encode, lines)))
        except OSError as error:
            if not entry.lost:
                self.log.error("the log of {app} can't be written: {error}", app=app, error=error)
            entry.lost += len(lines)
            entry.problem = error.strerror or str(error)
            entry.retry_at = now + RETRY_SECONDS
            entry.file.close()

    def _apology(self, entry: _AppLog) -> LogLine:
        text = f"{entry.lost} lines were lost: {entry.problem}"
        return LogLine(time=stamp(self._now()), instance=OWN, stream="ood", text=text)

    def _tell(self, follower: Follower, lines: list[LogLine]) -> None:
        for line in lines:
            try:
                follower(line)
            except Exception:
                self.log.failure("a follower of a log failed")

    def _compress(self, path: Path) -> None:
        done: Deferred[None] = self._in_thread(compress, path)
        self._compressing.add(done)

        def ended(_: object) -> None:
            self._compressing.discard(done)

        _ = done.addBoth(ended)

    # -- reading

    def tail(self, app: str, lines: int, stream: str | None = None) -> list[LogLine]:
        """Return the last ``lines`` lines; ``stream`` keeps only one of out, err, ood."""
        wanted = min(lines, TAIL_LINES_MAX)
        found: list[LogLine] = []
        for raw in self._app(app).file.backwards():
            if len(found) >= wanted:
                break
            line = decode(raw)
            if line is not None and (stream is None or line.stream == stream):
                found.append(line)
        return found[::-1]

    def last(self, app: str, lines: int) -> tuple[str, ...]:
        """Return the texts of the last lines."""
        return tuple(line.text for line in self.tail(app, lines))

    def follow(self, app: str, callback: Follower) -> Callable[[], None]:
        """Call ``callback`` with every new line; return what ends that."""
        followers = self._app(app).followers
        followers.append(callback)

        def end() -> None:
            if callback in followers:
                followers.remove(callback)

        return end

    # -- service

    def stopService(self) -> Deferred[None]:
        """Close the files; fire when nothing is being compressed any more."""
        _ = super().stopService()  # type: ignore[no-untyped-call]
        for entry in self._apps.values():
            entry.file.close()
        if not self._compressing:
            return succeed(None)
        return DeferredList(list(self._compressing)).addCallback(lambda _: None)
