"""The ``ood`` command on a pseudo-terminal of any size."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping

from tests.support.ood import PROGRAMS

PATIENCE_SECONDS = 60
"""Longer than anything takes on a busy machine."""
LEAVES_SCREEN = "\x1b[?1049l"
"""What puts a terminal's other screen away."""
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()=>].?)")


def _take_terminal() -> None:
    """Make standard input the terminal whose Ctrl-C ends this process."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def plain(text: str) -> str:
    """Return what is written without what moves and paints."""
    return _ESCAPE.sub("", text)


class Terminal:
    """A command that believes that somebody looks at it; use it as a context manager.

    :ivar seen: everything that it has written, or since :meth:`forget`.
    """

    def __init__(
        self, *arguments: str, environment: Mapping[str, str], width: int = 100, height: int = 30
    ) -> None:
        self._ours, theirs = pty.openpty()
        self.seen = ""
        self.resize(width, height)
        self.settings = termios.tcgetattr(self._ours)
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "ood"), *arguments],
            env={**environment, "TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - it only makes a system call
        )
        # Our copy stays open: what is written last would be lost with the last one.
        self._theirs = theirs

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._theirs)
        os.close(self._ours)

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._ours, keys.encode())

    def forget(self) -> None:
        """Look only at what comes from now on."""
        self._read(0)
        self.seen = ""

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        self.seen += os.read(self._ours, 65536).decode(errors="replace")
        return True

    def until(self, pattern: str) -> None:
        """Wait until something that fits was written, whatever its colours."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not re.search(pattern, plain(self.seen), re.MULTILINE):
            if time.monotonic() > end:
                raise AssertionError(f"no {pattern} in:\n{plain(self.seen)[-3000:]}")
            self._read(0.2)

    def ended(self) -> int:
        """Wait for its end; return its exit status."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self._process.poll() is None:
            if time.monotonic() > end:
                raise AssertionError(f"it does not end:\n{plain(self.seen)[-3000:]}")
            self._read(0.05)
        while self._read(0):
            pass
        return self._process.returncode

    def restored(self) -> bool:
        """Tell whether the terminal works as it did before."""
        return termios.tcgetattr(self._theirs) == self.settings
