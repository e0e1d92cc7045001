"""The page's files: read once, compressed once, and again when they change."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""What is served, by the end of the file's name; nothing else is."""
COMPRESSED_LESS = 0.9
"""A compressed form is kept if it is at most this part of the file."""


@dataclass(frozen=True)
class Asset:
    """A file of the page.

    :ivar media_type: what it is.
    :ivar etag: changes with the content.
    :ivar compressed: its content for who takes gzip; None if that saves nothing.
    """

    media_type: str
    content: bytes
    compressed: bytes | None
    etag: str


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    smaller = gzip.compress(content, 9, mtime=0)
    worth = len(smaller) <= COMPRESSED_LESS * len(content)
    etag = f'W/"{hashlib.sha256(content).hexdigest()[:20]}"'
    return Asset(TYPES[path.suffix], content, smaller if worth else None, etag)


class Assets:
    """The files in a directory, by their path in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, tuple[tuple[int, int], Asset]] = {}

    def find(self, name: str) -> Asset | None:
        """Return the file ``name``, such as ``js/page.js``; None if there is none."""
        parts = name.split("/")
        if any(part.startswith(".") or not part for part in parts) or "\0" in name:
            return None
        path = self._directory.joinpath(*parts)
        if path.suffix not in TYPES or not path.is_file():
            return None
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._known.get(name)
        if known is None or known[0] != stamp:
            known = self._known[name] = (stamp, _read(path))
        return known[1]
