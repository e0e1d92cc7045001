"""Paths of URLs as rules compare them: one spelling for all that mean the same.

A rule on ``/admin`` must hold for whatever an app may take for ``/admin``, and a
path below ``/api`` must not leave it by ``..``.  So a path is read twice:

- *exactly*, as RFC 3986 has it: escapes of plain characters are resolved, slashes
  merged, ``.`` and ``..`` removed.  Routes, redirects and rewrites compare this one.
- *widely*: every escape is resolved, ``\\`` is a slash as in browsers, case does not
  matter, as in Express, and what follows a ``;`` in a segment is none of its name, as in
  servers written in Java.  What protects something compares this one.

A path whose wide reading climbs by a ``..`` that the exact one does not see is refused.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import msgspec

_END = re.compile(rb"[?#]")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ODD = re.compile(rb"%|//|/\.|\\|;")
_PARAMETERS = re.compile(rb";[^/]*")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class UrlPath(msgspec.Struct, frozen=True):
    """The path of a request's target.

    :ivar exact: its exact reading.
    :ivar wide: its wide reading.
    :ivar sent: as it is to be sent on if no rule changes it.
    :ivar rest: what follows it in the target: the query, with its ``?``.
    """

    exact: bytes
    wide: bytes
    sent: bytes
    rest: bytes


def read_target(target: bytes) -> UrlPath:
    """Return the path of a request's target in both readings.

    :raises ValueError: the path can be read in more than one way, and one of them
        leads elsewhere; the message says why.
    """
    match = _END.search(target)
    end = len(target) if match is None else match.start()
    path, rest = target[:end], target[end:]
    if path[:1] != b"/":  # "*": the whole server
        return UrlPath(b"/", b"/", path, rest)
    if _ODD.search(path) is None:
        return UrlPath(path, path.lower(), path, rest)
    exact = _decoded(path)
    climbs = _count_dots(exact)
    if _count_dots(_wide(path)) > climbs:
        raise ValueError("its path hides a .. behind an escape")
    merged = _resolved(exact)
    # Who sends dots gets what they mean; everything else reaches the app as it was sent.
    sent = merged if climbs or b"/./" in exact or exact.endswith(b"/.") else path
    return UrlPath(merged, _resolved(_wide(sent)).lower(), sent, rest)


def _wide(path: bytes) -> bytes:
    return _PARAMETERS.sub(b"", unquote_to_bytes(path).replace(b"\\", b"/"))


def _decoded(path: bytes) -> bytes:
    """Resolve the escapes of characters that need none; spell the others in upper case."""
    if _BROKEN_ESCAPE.search(path):
        raise ValueError("its path holds a % that begins no escape")
    return _ESCAPE.sub(_plain, path)


def _plain(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16)
    return bytes((code,)) if code in _UNRESERVED else match[0].upper()


def _count_dots(path: bytes) -> int:
    return path.split(b"/").count(b"..")


def _resolved(path: bytes) -> bytes:
    """Merge slashes and remove dot segments."""
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    slash = b"/" if kept and segments[-1] in (b"", b".", b"..") else b""
    return b"/" + b"/".join(kept) + slash


def parse_path(text: str) -> str:
    """Return the one spelling of a path in a rule.

    :raises ValueError: it is no path.
    """
    if not text.startswith("/"):
        raise ValueError("does not begin with /")
    if any(character in text for character in "?#\\"):
        raise ValueError("holds ?, # or \\: a path ends before a query")
    raw = "".join(_quoted(character) for character in text).encode("ascii")
    try:
        exact = _decoded(raw)
    except ValueError:
        raise ValueError("holds a % that begins no escape") from None
    if _resolved(exact) != exact:
        raise ValueError("holds //, /./ or /../")
    return exact.decode("ascii")


def _quoted(character: str) -> str:
    if "!" <= character <= "~":
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode())


def wide_prefix(prefix: str) -> bytes:
    """Return a rule's path in its wide reading, without a slash at its end."""
    return _resolved(_wide(prefix.encode("ascii"))).lower().rstrip(b"/")


def is_below(path: bytes, prefix: bytes) -> bool:
    """Tell whether ``path`` is ``prefix`` (which has no slash at its end) or below it."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"", b"/")
