"""Globs as people know them from .gitignore: which paths of a tree are meant."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PIECE = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]|\{[^{}/]*\}|[^*?\[{]+|.")


def _piece(text: str) -> str:
    """Return the regular expression of one piece of a glob."""
    plain = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if text in plain:
        return plain[text]
    if text[0] == "[" and len(text) > 1:
        inner = text[1:-1].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
        return f"[^{inner[1:]}]" if inner[0] == "!" and len(inner) > 1 else f"[{inner}]"
    if text[0] == "{" and len(text) > 1:
        choices = "|".join(expression(one) for one in text[1:-1].split(","))
        return f"(?:{choices})"
    return re.escape(text)


def expression(glob: str) -> str:
    """Return ``glob`` as a regular expression."""
    return "".join(map(_piece, _PIECE.findall(glob)))


class Globs:
    """Some globs, to be asked about paths.

    A glob without a slash means that name anywhere; one with a slash means a path from
    the tree's root.  What is below a directory that is meant is meant, too.

    :raises ValueError: one of them is none.
    """

    def __init__(self, globs: Iterable[str]) -> None:
        names: list[str] = []
        paths: list[str] = []
        for glob in globs:
            plain = glob.removeprefix("./").removesuffix("/**").removesuffix("/")
            where = paths if "/" in plain else names
            where.append(_compiled(plain.lstrip("/") if len(plain) > 1 else plain))
        self._name = re.compile("|".join(names)) if names else None
        self._path = re.compile("|".join(paths)) if paths else None

    def cover(self, path: str) -> bool:
        """Tell whether ``path`` (relative, by slashes) or a directory above it is meant."""
        parts = path.split("/")
        if self._name is not None and any(map(self._name.fullmatch, parts)):
            return True
        if self._path is None:
            return False
        above = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
        return any(map(self._path.fullmatch, above))


def _compiled(glob: str) -> str:
    try:
        text = expression(glob)
        re.compile(text)
    except (re.error, RecursionError) as error:
        raise ValueError(f"{glob} is no glob: {error}") from None
    return f"(?:{text})"
