"""The time that passes while a command waits, on a terminal."""

from __future__ import annotations

from typing import TextIO

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ood.cli.output import is_terminal
from ood.cli.text import visible

FIRST_SECONDS = 0.5
"""What takes less needs no remark."""
STEP_SECONDS = 0.1
"""How often the line is written: it should look alive."""
MARKS = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
"""What turns at its beginning."""


class Progress:
    """A context in which one line says what is waited for, and how long already."""

    def __init__(self, stream: TextIO, clock: IReactorTime, what: str) -> None:
        self._stream = stream
        self._clock = clock
        self._what = visible(what)
        self._began = clock.seconds()
        self._next: IDelayedCall | None = None
        self._shown = 0

    def now(self, what: str) -> None:
        """Say something else from now on."""
        self._what = visible(what)

    def __enter__(self) -> None:
        if is_terminal(self._stream):
            self._next = self._clock.callLater(FIRST_SECONDS, self._show)

    def __exit__(self, *failure: object) -> None:
        if self._next is not None:
            self._next.cancel()
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _show(self) -> None:
        mark = MARKS[self._shown % len(MARKS)]
        elapsed = self._clock.seconds() - self._began
        self._stream.write(f"\r\x1b[K{mark} {self._what} … {elapsed:.0f} s")
        self._stream.flush()
        self._shown += 1
        self._next = self._clock.callLater(STEP_SECONDS, self._show)
