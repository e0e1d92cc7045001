"""From a request's target to the names of directories and a file below a site's root."""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

WELL_KNOWN = b".well-known"
"""The one name with a dot in front that is public (RFC 8615)."""
SEGMENTS_MAX = 64
"""Deeper trees are no web site; each level costs the kernel a step."""
SEGMENT_BYTES_MAX = 255
"""Longest name that file systems know."""

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")


class Place(msgspec.Struct, frozen=True):
    """Where a file is to be looked for.

    :ivar names: of directories and, unless ``directory``, of the file; below the root.
    :ivar directory: the target ends in a slash.
    :ivar query: the target's query with its question mark, or empty.
    """

    names: tuple[bytes, ...]
    directory: bool
    query: bytes

    @property
    def path(self) -> bytes:
        """The path below the root, for the file system."""
        return b"/".join(self.names)

    @property
    def extension(self) -> bool:
        """Whether the last name has one: it names a file, not a page of an application."""
        return bool(self.names) and b"." in self.names[-1]

    def as_directory(self, below: bytes = b"") -> bytes:
        """Return the target that names the directory: one path, with a slash at its end.

        It never begins with two slashes, which would name another host.

        :param below: the path that clients know the root by, if that is not ``/``.
        """
        path = "".join(quote(name, safe="!$&'()*+,;=:@~") + "/" for name in self.names)
        return b"%b/%b%b" % (below, path.encode("ascii"), self.query)


def place_of(target: bytes) -> Place | None:
    """Return where the file for ``target`` is; None if no file can be meant.

    No name in it is ``.`` or ``..``, hidden (but for ``.well-known``), or holds a slash or
    NUL, however that was written.

    :param target: a request's target in origin form.
    """
    path, mark, query = target.partition(b"?")
    if not path.startswith(b"/"):
        return None
    names = []
    for raw in path.split(b"/"):
        name = _decoded(raw)
        if name is None or len(name) > SEGMENT_BYTES_MAX:
            return None
        if name:
            names.append(name)
    if len(names) > SEGMENTS_MAX or not all(map(_public, enumerate(names))):
        return None
    return Place(tuple(names), path.endswith(b"/"), mark + query)


def _decoded(raw: bytes) -> bytes | None:
    if b"%" not in raw:
        return raw
    matches = _ESCAPE.findall(raw)
    if b"" in matches:
        return None
    name = _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), raw)
    return None if b"/" in name or b"\0" in name else name


def _public(numbered: tuple[int, bytes]) -> bool:
    index, name = numbered
    return not name.startswith(b".") or (name == WELL_KNOWN and index == 0)
