"""Pipes for splice(2), kept for the next connection that needs one."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import NamedTuple

PIPE_BYTES = 1 << 20
"""What a pipe shall hold: the largest size that users may ask for by default."""

KEPT_PIPES = 64
"""Idle pipes kept for later; each may pin its size in memory."""


class Pipe(NamedTuple):
    """A pipe's two ends."""

    read_end: int
    write_end: int


class PipeStock:
    """Pipes that nobody uses at the moment; all of them are empty."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []

    def take(self) -> Pipe | None:
        """Return an empty pipe; None when the machine is out of descriptors."""
        if self._idle:
            return self._idle.pop()
        try:
            pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            return None
        with suppress(OSError):  # users may have used up their share; 64 KiB do as well
            fcntl.fcntl(pipe.write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return pipe

    def give(self, pipe: Pipe) -> None:
        """Take back a pipe that is empty."""
        if len(self._idle) < KEPT_PIPES:
            self._idle.append(pipe)
        else:
            self.discard(pipe)

    @staticmethod
    def discard(pipe: Pipe) -> None:
        """Close a pipe, with what is left in it."""
        os.close(pipe.read_end)
        os.close(pipe.write_end)

    def close(self) -> None:
        """Close everything that was kept."""
        while self._idle:
            self.discard(self._idle.pop())
