"""The few file operations that keeping a document durable takes.

They stand behind a seam so that the tests can cut the power at each of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

FILE_MODE = 0o600
"""An app's environment holds secrets: only ood's own user reads the document."""
DIRECTORY_MODE = 0o700


class Files(Protocol):
    """File operations of a store; every failure is an OSError."""

    def read(self, path: Path) -> bytes | None:
        """Return the content of ``path``; None if there is no such file."""

    def names(self, directory: Path) -> list[str]:
        """Return the names in ``directory``; an empty list if there is none."""

    def make_directory(self, directory: Path) -> None:
        """Make ``directory`` if there is none."""

    def write(self, path: Path, content: bytes) -> None:
        """Write a new file and wait until its content is on the disk."""

    def link(self, source: Path, target: Path) -> None:
        """Give the file ``source`` the further name ``target``."""

    def rename(self, source: Path, target: Path) -> None:
        """Rename ``source`` to ``target``, replacing what is there, in one step."""

    def remove(self, path: Path) -> None:
        """Remove ``path`` if it is there."""

    def sync_directory(self, directory: Path) -> None:
        """Wait until the names in ``directory`` are on the disk."""


class RealFiles:
    """:class:`Files` on the file system."""

    def read(self, path: Path) -> bytes | None:
        """Return the content of ``path``; None if there is no such file."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def names(self, directory: Path) -> list[str]:
        """Return the names in ``directory``; an empty list if there is none."""
        try:
            return os.listdir(directory)
        except FileNotFoundError:
            return []

    def make_directory(self, directory: Path) -> None:
        """Make ``directory`` if there is none."""
        directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)

    def write(self, path: Path, content: bytes) -> None:
        """Write a new file and wait until its content is on the disk."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(path, flags, FILE_MODE), "wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def link(self, source: Path, target: Path) -> None:
        """Give the file ``source`` the further name ``target``."""
        os.link(source, target, follow_symlinks=False)

    def rename(self, source: Path, target: Path) -> None:
        """Rename ``source`` to ``target``, replacing what is there, in one step."""
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        """Remove ``path`` if it is there."""
        path.unlink(missing_ok=True)

    def sync_directory(self, directory: Path) -> None:
        """Wait until the names in ``directory`` are on the disk."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
