"""The few operations on files that the write-ahead log rests on.

Everything is inside one directory.  The log is written against
:class:`IFiles`, so that a test can cut the power at every single step; the
real thing is :class:`OsFiles`.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from zope.interface import Interface, implementer

from ood.raft.errors import StorageError


class IFile(Interface):
    """An open file that is written at given places."""

    def write_at(offset: int, data: bytes) -> None:
        """Write all of ``data`` at ``offset``; not yet durable."""

    def sync() -> None:
        """Return when everything written and the size are durable."""

    def truncate(size: int) -> None:
        """Cut the file; not yet durable."""

    def close() -> None:
        """Close it, without a sync."""


class IFiles(Interface):
    """One directory of files."""

    def names() -> list[str]:
        """Return the names of the files, sorted."""

    def read(name: str) -> bytes:
        """Return a file's content."""

    def create(name: str, size: int) -> IFile:
        """Create a file with room for ``size`` bytes, which read as zeros."""

    def open(name: str) -> IFile:
        """Open an existing file for writing."""

    def rename(old: str, new: str) -> None:
        """Rename over what is there, atomically; not yet durable."""

    def remove(name: str) -> None:
        """Remove a file; not yet durable."""

    def sync_names() -> None:
        """Return when creations, renames and removals are durable."""

    def close() -> None:
        """Release the directory."""


@implementer(IFile)
class OsFile:
    """A file by its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of ``data``, however many calls it takes."""
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], offset + written)

    def sync(self) -> None:
        """Make data and size durable; fdatasync includes a changed size."""
        os.fdatasync(self._descriptor)

    def truncate(self, size: int) -> None:
        """Cut the file."""
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _make_directory(path: Path) -> None:
    """Make a directory that a power cut does not take away with all that is in it."""
    if path.is_dir():
        return
    _make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


@implementer(IFiles)
class OsFiles:
    """A directory that this process alone holds, by a lock on it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        _make_directory(self._path)
        self._directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._directory)
            raise StorageError(
                f"{self._path} is in use by another process", "stop it or choose another directory"
            ) from None

    def __str__(self) -> str:
        return str(self._path)

    def names(self) -> list[str]:
        """Return the names in the directory."""
        return sorted(os.listdir(self._path))

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        return (self._path / name).read_bytes()

    def create(self, name: str, size: int) -> OsFile:
        """Create it and reserve its room, so that a full disk shows now."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(self._path / name, flags, 0o600)
        try:
            if size:
                os.posix_fallocate(descriptor, 0, size)
        except OSError:
            os.close(descriptor)
            raise
        return OsFile(descriptor)

    def open(self, name: str) -> OsFile:
        """Open it for writing."""
        return OsFile(os.open(self._path / name, os.O_RDWR | os.O_CLOEXEC))

    def rename(self, old: str, new: str) -> None:
        """Rename over what is there."""
        (self._path / old).replace(self._path / new)

    def remove(self, name: str) -> None:
        """Remove a file."""
        (self._path / name).unlink()

    def sync_names(self) -> None:
        """Sync the directory itself."""
        os.fsync(self._directory)

    def close(self) -> None:
        """Let the lock go; a second call does nothing."""
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1
