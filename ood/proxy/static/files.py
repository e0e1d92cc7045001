"""Files below a site's root, and no others.

The service may be root, and the files belong to somebody who may put symbolic
links between them.  So a name is first resolved to a handle that can't be read
from (``O_PATH``: no device is opened, no pipe waited for); then the kernel says
what it is and where it really lies; only then that very file is opened.  Nobody
can change anything in between.

All of it is done in the reactor's thread: with the directory entries in memory
it takes some ten microseconds, and a thread would cost several times that.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

ABSENT = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG))
"""Errors of a path that leads nowhere; others are the machine's."""
READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class UnreadableError(OSError):
    """It is there, but not for everybody."""


class File:
    """A regular file that is open.

    :ivar descriptor: to read from; -1 once it is closed.
    :ivar size: its length in bytes when it was opened.
    :ivar modified_ns: when it was changed.
    """

    __slots__ = ("descriptor", "modified_ns", "size")

    def __init__(self, descriptor: int, status: os.stat_result) -> None:
        self.descriptor = descriptor
        self.size = status.st_size
        self.modified_ns = status.st_mtime_ns

    def read(self, start: int, length: int) -> bytes:
        """Return ``length`` bytes from ``start``; fewer if the file has become shorter."""
        data = os.pread(self.descriptor, length, start)
        while 0 < len(data) < length:
            more = os.pread(self.descriptor, length - len(data), start + len(data))
            if not more:
                break
            data += more
        return data

    def close(self) -> None:
        """Close it, once."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Root:
    """A root directory for the moment of one request.

    A context manager.  The directory stays the same one while a path's last part (a link to
    the release, say) is being replaced.

    :raises OSError: it can't be entered.
    """

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._real = _real(self._handle).rstrip(b"/")
            if not open_to_all(path, self._real or b"/"):
                raise PermissionError(path)
        except OSError:
            os.close(self._handle)
            raise

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def open(self, path: bytes) -> File | None:
        """Open the regular file at ``path`` below the root; None if it is a directory.

        :raises FileNotFoundError: there is none.
        :raises UnreadableError: it is not for everybody.
        :raises OSError: nothing can be opened now.
        """
        try:
            handle = os.open(path or b".", os.O_PATH | os.O_CLOEXEC, dir_fd=self._handle)
        except PermissionError:
            raise UnreadableError(path) from None
        except OSError as error:
            if error.errno in ABSENT:
                raise FileNotFoundError(path) from None
            raise
        try:
            status = os.fstat(handle)
            real = _real(handle)
            if not (real + b"/").startswith(self._real + b"/"):
                raise FileNotFoundError(path)
            if stat.S_ISDIR(status.st_mode):
                return None
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(path)
            if not (_public(status) and _enterable(self._real, os.path.dirname(real))):
                raise UnreadableError(path)
            descriptor = os.open(f"/proc/self/fd/{handle}", READ_FLAGS)
        except PermissionError:
            raise UnreadableError(path) from None
        finally:
            os.close(handle)
        return File(descriptor, status)

    def variants(self, path: bytes, file: File, codings: Sequence[tuple[str, bytes]]) -> str:
        """Put the first variant of ``file`` that is there, and no older, in its place.

        :param codings: names of codings, each with what is appended to the file's name.
        :return: the coding's name, or nothing.
        """
        for coding, suffix in codings:
            try:
                other = self.open(path + suffix)
            except OSError:
                continue
            if other is None:
                continue
            if other.modified_ns < file.modified_ns:
                other.close()
                continue
            file.close()
            file.descriptor, file.size = other.descriptor, other.size
            file.modified_ns = other.modified_ns
            return coding
        return ""


def open_to_all(path: str, real: bytes) -> bool:
    """Tell whether links on ``path`` led through directories only that everybody may enter.

    They may be the app's user's: that must not publish what only root can reach.

    :param real: the directory that was found at ``path``, without links.
    """
    asked = os.path.normpath(os.fsencode(path))
    return asked == real or _enterable(os.path.commonpath((asked, real)), real)


def _enterable(top: bytes, directory: bytes) -> bool:
    """Tell whether everybody may enter ``directory`` from ``top``, which is above it."""
    if os.geteuid() != 0:
        return True  # then the kernel has said so
    while len(directory) > max(len(top), 1):
        if not os.stat(directory).st_mode & stat.S_IXOTH:
            return False
        directory = os.path.dirname(directory)
    return True


def _real(handle: int) -> bytes:
    """Return where what ``handle`` names lies."""
    return os.readlink(f"/proc/self/fd/{handle}".encode("ascii"))


def _public(status: os.stat_result) -> bool:
    """Tell whether a file may be shown: root could read any, so there its mode decides."""
    return os.geteuid() != 0 or bool(status.st_mode & stat.S_IROTH)
