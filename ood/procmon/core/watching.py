"""When changed files lead to a restart, and which files never do: pure code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ood.model.globs import Globs

QUIET_SECONDS = 0.2
"""A restart waits until nothing has changed for so long: an editor writes several files."""
WAIT_SECONDS_MAX = 2.0
"""It waits no longer than this: a build may write all the time."""
SOON_SECONDS = 5.0
"""A change so soon after a restart may have been made by the app itself."""
IN_A_ROW_MAX = 5
"""That many restarts one after the other are what somebody at a keyboard may cause."""
PAUSE_SECONDS_MAX = 60.0
"""Longest pause between restarts of an app that changes what is watched at each start."""
NAMES_KEPT = 3
"""Changed files that a remark names; the others are counted."""

DEFAULTS = (
    "node_modules",
    "bower_components",
    "__pycache__",
    "coverage",
    "logs",
    *("*.log", "*.pid", "*.sock", "*.tmp", "*.bak", "*~", "#*#", "4913"),
    *("*.sqlite", "*.sqlite3", "*.db", "*-journal", "*-wal", "*-shm"),
)
"""What changes without being code: what is installed, written by running programs, or by
editors while they save (vim tries whether it can write by a file 4913).  Names that begin
with a dot are left out as well, other than .env and .env.local and the like."""


class Ignored:
    """Which paths are not watched.

    :param globs: what the user named, relative to ``cwd``.
    """

    def __init__(self, globs: Iterable[str]) -> None:
        self._own = Globs(globs)
        self._defaults = Globs(DEFAULTS)

    def covers(self, path: str, root: str) -> bool:
        """Tell whether ``path`` is not watched; both are relative to ``cwd``.

        :param root: what was asked to be watched, and ``path`` is below it: it was named,
            so that the defaults only hold for what is in it.
        """
        if self._own.cover(path):
            return True
        inner = path[len(root) :].lstrip("/") if root else path
        return self._defaults.cover(inner) or any(map(_hidden, inner.split("/")))


def _hidden(name: str) -> bool:
    return name.startswith(".") and name != ".env" and not name.startswith(".env.")


@dataclass
class Pace:
    """What changed, and when it leads to a restart.

    :ivar in_a_row: restarts that followed one another closely.
    """

    in_a_row: int = 0
    _names: dict[str, None] = field(default_factory=dict)
    _more: bool = False
    _count: int = 0
    _first: float = 0.0
    _last: float = 0.0
    _ended: float | None = None

    def note(self, name: str, now: float) -> None:
        """Note that a file changed."""
        if not self._count:
            self._first = now
        self._last = now
        self._count += 1
        if name in self._names or len(self._names) < NAMES_KEPT:
            self._names[name] = None
        else:
            self._more = True

    @property
    def pause(self) -> float:
        """How long after the last restart the next one has to wait."""
        over = self.in_a_row - IN_A_ROW_MAX
        return min(SOON_SECONDS * 2.0 ** min(over, 10), PAUSE_SECONDS_MAX) if over >= 0 else 0.0

    def due(self) -> float | None:
        """Return when to restart; None if nothing has changed."""
        if not self._count:
            return None
        moment = min(self._last + QUIET_SECONDS, self._first + WAIT_SECONDS_MAX)
        return moment if self._ended is None else max(moment, self._ended + self.pause)

    def begin(self) -> str:
        """Begin a restart; return what changed, in words."""
        soon = self._ended is not None and self._first < self._ended + SOON_SECONDS
        self.in_a_row = self.in_a_row + 1 if soon else 0
        text, more = ", ".join(self._names), self._more
        self._names, self._count, self._more = {}, 0, False
        return f"{text} and more" if more else text

    def end(self, now: float) -> None:
        """The restart has ended, well or not."""
        self._ended = now
