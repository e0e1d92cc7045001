"""A log file of an app: appended to, rotated by size, old parts compressed and pruned."""

from __future__ import annotations

import errno
import gzip
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from ood.model.status import LogLine

ROTATE_BYTES = 10 << 20
"""Size at which a file is put aside."""
KEPT_FILES = 10
"""Files that are kept beside the current one; compressed they take some 10 MB."""
FILE_MODE = 0o640
"""Only ood's user and group read logs: they may hold what visitors sent."""
TAIL_BYTES_MAX = 32 << 20
"""How much is searched for last lines: beyond, a rare stream would hold up everything else."""
CURRENT = "current.log"
LINE_READ_MAX = 1 << 18
"""Longest line that is read: what a worker writes is cut into shorter ones."""

_LINE = re.compile(rb"(\S{20,30}) (-?\d{1,6}) (out|err|ood) (.*)", re.DOTALL)

Compress = Callable[[Path], None]


def compress(path: Path) -> None:
    """Compress ``path``; called in a thread.  If it fails, the file stays as it is."""
    target = path.with_name(path.name + ".gz")
    temporary = path.with_name(path.name + ".gz.new")
    try:
        with open(path, "rb") as source, gzip.open(temporary, "wb", 6) as sink:
            shutil.copyfileobj(source, sink, 1 << 18)
        os.chmod(temporary, FILE_MODE)
        os.replace(temporary, target)
        path.unlink()
    except OSError:
        with suppress(OSError):
            temporary.unlink()


def encode(line: LogLine) -> bytes:
    """Return ``line`` as it stands in the file."""
    text = f"{line.time} {line.instance} {line.stream} {line.text}\n"
    return text.encode("utf-8", "replace")


def decode(line: bytes) -> LogLine | None:
    """Return the line as values; None if it is only a part of one."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    time, instance, stream, text = (part.decode("utf-8", "replace") for part in match.groups())
    return LogLine(time=time, instance=int(instance), stream=stream, text=text)


class LogFile:
    """The log of one app.

    :param compress: called with a file that was put aside.
    """

    def __init__(self, directory: Path, now: Callable[[], datetime], compress: Compress) -> None:
        self.directory = directory
        self._now = now
        self._compress = compress
        self._descriptor = -1
        self._size = 0
        self._torn = False

    @property
    def path(self) -> Path:
        """The file that is written to."""
        return self.directory / CURRENT

    def write(self, data: bytes) -> None:
        """Append whole lines.

        :raises OSError: not all of it could be written.
        """
        if self._descriptor >= 0 and not self._is_there():
            self.close()
        if self._descriptor < 0:
            self._open()
        if self._size and self._size + len(data) > ROTATE_BYTES:
            self._rotate()
        if self._torn:
            data = b"\n" + data
        written = os.write(self._descriptor, data)
        self._size += written
        self._torn = written < len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, FILE_MODE)
        self._size = os.fstat(self._descriptor).st_size
        self._torn = self._size > 0 and not self._ends_in_newline()

    def _is_there(self) -> bool:
        """Tell whether what is open still has its name: people remove logs, and move them away."""
        own = os.fstat(self._descriptor)
        try:
            named = os.stat(self.path)
        except OSError:
            return False
        self._size = own.st_size  # it may have been emptied
        return (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)

    def _ends_in_newline(self) -> bool:
        with open(self.path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _rotate(self) -> None:
        """Put the file aside; if that fails the current one just grows."""
        aside = self.directory / self._now().strftime("%Y%m%dT%H%M%S.%fZ.log")
        try:
            os.rename(self.path, aside)
        except OSError:
            return
        self.close()
        self._open()
        for old in self.rotated()[KEPT_FILES:]:
            with suppress(OSError):
                old.unlink()
        self._compress(aside)

    def rotated(self) -> list[Path]:
        """Return the files that were put aside, newest first."""
        try:
            every = list(self.directory.iterdir())
        except OSError:
            return []
        found = {path for path in every if path.name.endswith((".log", ".log.gz"))}
        found.discard(self.path)
        # While one is being compressed both forms are there: the complete one counts.
        found = {
            path for path in found if not (path.suffix == ".gz" and path.with_suffix("") in found)
        }
        return sorted(found, key=lambda path: path.name, reverse=True)

    def backwards(self) -> Iterator[bytes]:
        """Return the lines of all files, the last one first, up to a bound of bytes."""
        read = 0
        for path in (self.path, *self.rotated()):
            try:
                for line in lines_backwards(path):
                    read += len(line) + 1
                    yield line
                    if read > TAIL_BYTES_MAX:
                        return
            except (OSError, EOFError):
                continue

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def lines_backwards(path: Path) -> Iterator[bytes]:
    """Return the lines of ``path``, the last one first."""
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as file:
            lines = file.read(2 * ROTATE_BYTES).split(b"\n")
        yield from reversed(lines)
        return
    with open(path, "rb") as file:
        yield from _backwards(file.fileno(), os.fstat(file.fileno()).st_size)


def _backwards(descriptor: int, size: int) -> Iterator[bytes]:
    rest = b""
    while size > 0:
        step = min(size, 1 << 16)
        size -= step
        first, *lines = (os.pread(descriptor, step, size) + rest).split(b"\n")
        yield from reversed(lines)
        rest = first
    yield rest
