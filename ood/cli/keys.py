"""Keys as they are pressed, on a terminal."""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

READ_BYTES = 1024
"""Far more than a person types at once."""
NAMED = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1b[C": "right",
    b"\x1b[D": "left",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1bOC": "right",
    b"\x1bOD": "left",
    b"k": "up",
    b"j": "down",
    b"l": "right",
    b"h": "left",
    b"q": "quit",
    b"Q": "quit",
}
"""What keys send, and what they mean here; letters as in vi and less."""


def meanings(data: bytes) -> list[str]:
    """Return what the keys that sent ``data`` mean; others mean nothing."""
    found = []
    while data:
        length = 3 if data[:2] in {b"\x1b[", b"\x1bO"} else 1
        meaning = NAMED.get(data[:length])
        if meaning:
            found.append(meaning)
        data = data[length:]
    return found


@implementer(IReadDescriptor)
class Keys:
    """Reads keys at once and unseen, until it is stopped; the terminal then is as before.

    :param fd: the terminal.
    :param pressed: called with each key's meaning; ``quit`` at the terminal's end.
    """

    def __init__(self, reactor: IReactorFDSet, fd: int, pressed: Callable[[str], None]) -> None:
        self._reactor = reactor
        self._fd = fd
        self._pressed = pressed
        self._before = termios.tcgetattr(fd)
        tty.setcbreak(fd)
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return what the reactor waits for."""
        return self._fd

    def logPrefix(self) -> str:
        """Return a name for logs."""
        return "keys"

    def doRead(self) -> None:
        """Take what was typed."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._reactor.removeReader(self)
        for meaning in meanings(data) if data else ["quit"]:
            self._pressed(meaning)

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - Twisted's signature
        """Stop: the reactor has."""
        self.stop()

    def stop(self) -> None:
        """Put the terminal back."""
        self._reactor.removeReader(self)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
