"""What workers write: cut into lines, a flood is counted instead of kept."""

from __future__ import annotations

from collections import deque

from twisted.internet.interfaces import IReactorTime

from ood.procmon.context import LogSink
from ood.procmon.core.lines import Lines

LINE_BYTES_MAX = 65_536
"""Longest line in the log; a longer one is cut, so that a missing line end costs no memory."""
BYTES_PER_SECOND_MAX = 2 << 20
"""What one worker may log for long: a full rotation is reached after some 50 s."""
BURST_BYTES_MAX = 8 << 20
"""What it may log at once: a stack trace of every request for a moment."""


TAIL_LINES = 20
"""Lines that are kept of each worker for the day it dies."""
TAIL_ERROR_LINES = 60
"""Lines of stderr: V8 writes some forty when it runs out of memory."""
TAIL_LINE_LENGTH = 500


class Tail:
    """The last lines of a worker.

    :ivar err: those on stderr.
    """

    def __init__(self) -> None:
        self._all: deque[str] = deque(maxlen=TAIL_LINES)
        self.err: deque[str] = deque(maxlen=TAIL_ERROR_LINES)

    def add(self, stream: str, texts: list[str]) -> None:
        """Note lines."""
        self._all.extend(text[:TAIL_LINE_LENGTH] for text in texts[-TAIL_LINES:])
        if stream == "err":
            self.err.extend(text[:TAIL_LINE_LENGTH] for text in texts[-TAIL_ERROR_LINES:])

    def last(self) -> tuple[str, ...]:
        """Return the last lines of either stream."""
        return tuple(self._all)


class Output:
    """Collects what one worker writes.  It always reads: a full pipe would stop the worker.

    :ivar tail: the last of it.
    """

    def __init__(self, clock: IReactorTime, logs: LogSink, app: str, instance: int) -> None:
        self._clock = clock
        self._logs = logs
        self._app = app
        self._instance = instance
        self._lines = {stream: Lines(LINE_BYTES_MAX) for stream in ("out", "err")}
        self._allowance = float(BURST_BYTES_MAX)
        self._counted_at = clock.seconds()
        self._dropped = 0
        self.tail = Tail()

    def write(self, stream: str, data: bytes) -> None:
        """Take what the worker wrote to ``stream``."""
        if not self._allowed(len(data)):
            self._dropped += data.count(b"\n")
            self._lines[stream].rest()
            return
        self._report()
        self._log(stream, self._lines[stream].feed_pieces(data))

    def end(self) -> None:
        """The worker is gone: what has no line end will not get one."""
        self._report()
        for stream, lines in self._lines.items():
            rest = lines.rest()
            self._log(stream, [rest] if rest else [])

    def _allowed(self, size: int) -> bool:
        now = self._clock.seconds()
        earned = (now - self._counted_at) * BYTES_PER_SECOND_MAX
        self._allowance = min(self._allowance + earned, BURST_BYTES_MAX)
        self._counted_at = now
        if self._allowance < size:
            return False
        self._allowance -= size
        return True

    def _report(self) -> None:
        if self._dropped:
            text = f"worker {self._instance} logged too much: {self._dropped} lines were left out"
            self._dropped = 0
            self._logs.remark(self._app, text)

    def _log(self, stream: str, lines: list[bytes]) -> None:
        if lines:
            texts = [line.decode("utf-8", "replace").rstrip("\r") for line in lines]
            self.tail.add(stream, texts)
            self._logs.lines(self._app, self._instance, stream, texts)
