"""A part of a file that the kernel copies to a socket by itself."""

from __future__ import annotations

import errno
import os
from typing import Protocol

SEND_BYTES_MAX = 1 << 20
"""Sent in one go: what is not in the page cache is waited for, and others want their turn."""


class OpenFile(Protocol):
    """A file that is open.

    :ivar descriptor: to read from.
    """

    descriptor: int

    def close(self) -> None:
        """Close it; does nothing the second time."""


class FilePart:
    """What is left to be sent of a part of a file.

    :ivar left: how many bytes.
    """

    __slots__ = ("_file", "_position", "left")

    def __init__(self, file: OpenFile, start: int, length: int) -> None:
        self._file = file
        self._position = start
        self.left = length

    def send(self, descriptor: int) -> int:
        """Send what the socket takes now; return how many bytes that was.

        :raises BlockingIOError: it takes nothing.
        :raises OSError: it is broken, or the file has become shorter.
        """
        count = min(self.left, SEND_BYTES_MAX)
        sent = os.sendfile(descriptor, self._file.descriptor, self._position, count)
        if not sent:
            raise OSError(errno.EIO, "the file has become shorter")
        self._position += sent
        self.left -= sent
        return sent

    def close(self) -> None:
        """Close the file."""
        self._file.close()
