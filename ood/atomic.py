"""Files that are there whole, or as they were before.

The document's store and the Raft log do this step by step themselves, so that tests can
break each step; everybody else does it here.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

PRIVATE_MODE = 0o600
"""What only ood's own user reads."""


FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
"""What a write fails with where there is no room."""


def remedy(error: OSError, otherwise: str) -> str:
    """Return what to do about a write that failed: on a full disk that is plain."""
    return "make room on the disk" if error.errno in FULL_ERRORS else otherwise


def replace_file(
    path: Path, content: bytes, *, mode: int = PRIVATE_MODE, durable: bool = True
) -> None:
    """Put ``content`` in the place of ``path`` in one step.

    :param mode: the file's mode, whatever the umask is.
    :param durable: whether to wait until the file and its name are on the disk; without it
        a crash of the machine may leave the file as it was before, or empty.
    """
    fresh = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(fresh, flags, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    fresh.replace(path)
    if durable:
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Wait until the names in ``directory`` are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
