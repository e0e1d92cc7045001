"""A site's own error pages, read from files."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from ood.proxy.static.files import open_to_all

PAGE_BYTES_MAX = 256 << 10
"""Longest page: it is kept in memory, and sent while something is wrong."""


def read_pages(cwd: str, paths: Mapping[str, str]) -> tuple[dict[str, bytes], list[str]]:
    """Return the pages by name, and for each that can't be used why; blocks on the disk.

    :param cwd: what relative paths start from.
    """
    pages: dict[str, bytes] = {}
    troubles: list[str] = []
    for name, path in paths.items():
        where = os.path.join(cwd, path)
        try:
            pages[name] = _read(where)
        except OSError as error:
            reason = error.strerror or str(error)
            troubles.append(f"errorPages.{name}: {where} is not used: {reason}")
    return pages, troubles


def _read(path: str) -> bytes:
    """Return a file's content.

    It is published to everybody, and read by a service that may be root, while the
    directory may be the app's user's: so everybody must be allowed to read it, and to go
    where links lead.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is not a file")
        if not found.st_mode & stat.S_IROTH:
            raise OSError(0, "not everybody may read it (chmod o+r)")
        real = os.path.dirname(os.readlink(f"/proc/self/fd/{descriptor}"))
        if not open_to_all(os.path.dirname(path), os.fsencode(real)):
            raise OSError(0, "a link leads it into a directory that not everybody may enter")
        content = file.read(PAGE_BYTES_MAX + 1)
    if len(content) > PAGE_BYTES_MAX:
        raise OSError(0, f"it is longer than {PAGE_BYTES_MAX >> 10} KiB")
    return content
