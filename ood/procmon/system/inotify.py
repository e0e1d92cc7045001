"""The kernel's inotify: told of changes in directories, without looking for them.

Twisted's own wrapper keeps neither the reason why a directory could not be added
nor the kernel's word that it has lost events, and follows symbolic links.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
OVERFLOW = 0x4000
IGNORED = 0x8000
ONLY_DIRECTORIES = 0x0100_0000
DONT_FOLLOW = 0x0200_0000
ADD_TO_MASK = 0x2000_0000
IS_DIRECTORY = 0x4000_0000

APPEARED = CREATE | MOVED_TO
CHANGED = APPEARED | CLOSE_WRITE | MOVED_FROM | DELETE
READ_BYTES = 65_536
"""Room for some thousand events at once."""
READS_PER_TURN = 4
"""Reads in one turn of the reactor: a build that writes a lot must not stop requests."""

_HEADER = struct.Struct("iIII")
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Happening:
    """An event: ``name`` in the directory of ``watch``; -1 is none."""

    watch: int
    mask: int
    name: str


@implementer(IReadDescriptor)
class Inotify:
    """An instance of inotify on the reactor.

    :param happened: called with each event.
    :raises OSError: there are too many instances (EMFILE) or descriptors.
    """

    def __init__(self, reactor: IReactorFDSet, happened: Callable[[Happening], None]) -> None:
        self._reactor = reactor
        self._happened = happened
        self._fd = _checked(_LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def logPrefix(self) -> str:
        """Return the name under which the reactor logs."""
        return "inotify"

    def add(self, directory: str, events: int, *, follow: bool) -> int:
        """Watch ``directory``; return its number, the same as before if it is watched already.

        :param events: what to be told of, beside what was asked for before.
        :raises OSError: it can't be; ENOSPC: the user has too many watches.
        """
        mask = events | ADD_TO_MASK | ONLY_DIRECTORIES | (0 if follow else DONT_FOLLOW)
        return _checked(_LIBC.inotify_add_watch(self._fd, os.fsencode(directory), mask))

    def remove(self, watch: int) -> None:
        """Watch a directory no more; it may be gone already."""
        _LIBC.inotify_rm_watch(self._fd, watch)

    def doRead(self) -> None:
        """Take what happened."""
        for _ in range(READS_PER_TURN):
            if self._fd < 0:
                return  # closed by who was told
            try:
                data = os.read(self._fd, READ_BYTES)
            except OSError:
                return
            self._tell(data)

    def _tell(self, data: bytes) -> None:
        at = 0
        while at < len(data) and self._fd >= 0:
            watch, mask, _, length = _HEADER.unpack_from(data, at)
            at += _HEADER.size
            name = os.fsdecode(data[at : at + length].rstrip(b"\0"))
            at += length
            self._happened(Happening(watch, mask, name))

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - the reactor's signature
        """Close."""
        self.close()

    def close(self) -> None:
        """Watch nothing any more."""
        if self._fd >= 0:
            self._reactor.removeReader(self)
            os.close(self._fd)
            self._fd = -1


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
