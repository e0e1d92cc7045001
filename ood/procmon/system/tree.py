"""Directory trees that are watched: what is in them now, and what comes later."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime

from ood.procmon.core.watching import Ignored
from ood.procmon.system import inotify
from ood.procmon.system.inotify import Happening, Inotify

DIRECTORIES_MAX = 8192
"""Most directories of one app: what people write has some hundred, and each takes a kilobyte
of the kernel's memory and a part of fs.inotify.max_user_watches."""
ENTRIES_PER_TURN = 256
"""Directory entries looked at in one turn of the reactor: requests are served meanwhile."""
LIMITS = Path("/proc/sys/fs/inotify")

_GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))
_ADVICE = "put directories that need no watching into ignoreWatch"


@dataclass
class _Place:
    """A watched directory.

    :ivar path: where it is.
    :ivar relative: the same from ``cwd``, as the user sees it.
    :ivar root: what the user asked for that it belongs to.
    :ivar whole: whether everything in it counts.
    :ivar names: what is a root itself in it; the value is the root as the user named it.
    """

    path: str
    relative: str
    root: str
    whole: bool = False
    names: dict[str, str] = field(default_factory=dict)


def limit(name: str) -> str:
    """Return a limit of the kernel's as it tells it, or ``unknown``."""
    try:
        return (LIMITS / name).read_text().strip()
    except OSError:
        return "unknown"


class Tree:
    """What is watched for one app.

    :param cwd: the app's directory.
    :param roots: what to watch, from there; the empty one is the directory itself.
    :param changed: called with the path from ``cwd`` of what changed.
    :param trouble: called with what can't be watched, and why.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        cwd: str,
        *,
        roots: Sequence[str],
        ignored: Ignored,
        changed: Callable[[str], None],
        trouble: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._cwd = cwd
        self._roots = roots
        self._ignored = ignored
        self._changed = changed
        self._trouble = trouble
        self._inotify: Inotify | None = None
        self._places: dict[int, _Place] = {}
        self._jobs: deque[Iterator[None]] = deque()
        self._turn: IDelayedCall | None = None
        self._full = False

    def __len__(self) -> int:
        return len(self._places)

    def start(self) -> None:
        """Watch; what is there is looked through in turns of the reactor."""
        try:
            self._inotify = Inotify(self._reactor, self._happened)
        except OSError as error:
            name = "max_user_instances"
            self._trouble(f"can't watch: {error.strerror}; fs.inotify.{name} is {limit(name)}")
            return
        for root in self._roots:
            self._anchor(root)
            self._look_through(root, tell=False)

    def stop(self) -> None:
        """Watch nothing any more."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        self._places.clear()
        self._jobs.clear()

    # -- what is there

    def _anchor(self, root: str) -> None:
        """Watch the name ``root`` itself: a file, or a link or directory that is put anew."""
        path = os.path.normpath(os.path.join(self._cwd, root))
        if not os.path.lexists(path):
            self._trouble(f"watch: there is no {path}")
        above, name = os.path.split(path)
        # What else is written beside a directory may be a lot, and is of no interest.
        events = inotify.APPEARED if os.path.isdir(path) else inotify.CHANGED
        place = self._add(_Place(above, os.path.dirname(root), root), events, follow=True)
        if place is not None and name:
            place.names[name] = root

    def _add(self, place: _Place, events: int, *, follow: bool) -> _Place | None:
        """Watch one directory; return None if that is not possible."""
        if self._inotify is None or self._full:
            return None
        if len(self._places) >= DIRECTORIES_MAX:
            self._stop_adding(f"there are more than {DIRECTORIES_MAX} directories")
            return None
        try:
            watch = self._inotify.add(place.path, events, follow=follow)
        except OSError as error:
            self._not_added(place.path, error)
            return None
        return self._places.setdefault(watch, place)

    def _not_added(self, path: str, error: OSError) -> None:
        if error.errno == errno.ENOSPC:
            name = "max_user_watches"
            why = f"fs.inotify.{name} ({limit(name)}) is used up"
            self._stop_adding(f"{why}; raise it with sysctl, or")
        elif error.errno not in _GONE:
            self._trouble(f"watch: can't watch {path}: {error.strerror}")

    def _stop_adding(self, why: str) -> None:
        self._full = True
        count = len(self._places)
        joint = " " if why.endswith("or") else "; "
        self._trouble(f"watch: only {count} directories are watched: {why}{joint}{_ADVICE}")

    def _look_through(self, root: str, *, tell: bool) -> None:
        path = os.path.realpath(os.path.join(self._cwd, root))
        if os.path.isdir(path):
            self._begin(_Place(path, root, root), tell=tell)

    def _begin(self, place: _Place, *, tell: bool) -> None:
        """Look through a directory in turns of the reactor.

        :param tell: whether files that are found are changes.
        """
        self._jobs.append(self._walk(place, tell))
        if self._turn is None:
            self._turn = self._clock.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        for _ in range(ENTRIES_PER_TURN):
            if not self._jobs:
                return
            if next(self._jobs[0], self) is self:
                self._jobs.popleft()
        self._turn = self._clock.callLater(0, self._take_turn)

    def _walk(self, start: _Place, tell: bool) -> Iterator[None]:
        """Add every directory from ``start`` on; one step for each entry."""
        waiting = deque([start])
        while waiting:
            here = waiting.popleft()
            place = self._add(here, inotify.CHANGED, follow=False)
            yield
            if place is None:
                continue
            place.whole = True
            try:
                entries = os.scandir(here.path)
            except OSError:
                continue  # gone again
            with entries:
                for entry in entries:
                    yield
                    found = _Place(entry.path, _join(here.relative, entry.name), here.root)
                    if self._ignored.covers(found.relative, here.root):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(found)
                    elif tell:
                        self._changed(found.relative)

    # -- what happens

    def _happened(self, event: Happening) -> None:
        if event.mask & inotify.OVERFLOW:
            self._changed("(too much at once to tell)")
            for root in self._roots:
                self._look_through(root, tell=False)
            return
        place = self._places.get(event.watch)
        if place is None:
            return
        if event.mask & inotify.IGNORED:
            del self._places[event.watch]
            self._full = False
        elif event.name in place.names:
            self._root_happened(place.names[event.name], event.mask)
        elif place.whole:
            self._inside(place, event)

    def _root_happened(self, root: str, mask: int) -> None:
        """What the user named was written, or put anew."""
        if mask & (inotify.CREATE | inotify.MOVED_TO | inotify.CLOSE_WRITE):
            self._forget(lambda place: place.root == root)
            self._look_through(root, tell=True)
            if not mask & inotify.IS_DIRECTORY:
                self._changed(root or ".")

    def _inside(self, place: _Place, event: Happening) -> None:
        relative = _join(place.relative, event.name)
        if self._ignored.covers(relative, place.root):
            return
        path = os.path.join(place.path, event.name)
        if event.mask & inotify.IS_DIRECTORY:
            self._directory(_Place(path, relative, place.root), event.mask)
        elif not event.mask & inotify.CREATE or not _will_be_written(path):
            self._changed(relative)

    def _directory(self, found: _Place, mask: int) -> None:
        if mask & inotify.MOVED_FROM:
            below = found.path + os.sep
            self._forget(lambda one: one.path == found.path or one.path.startswith(below))
            self._changed(found.relative)
        elif mask & (inotify.CREATE | inotify.MOVED_TO):
            self._begin(found, tell=True)

    def _forget(self, meant: Callable[[_Place], bool]) -> None:
        """Watch the directories that are meant no more: they are somewhere else now."""
        for watch, place in list(self._places.items()):
            if not meant(place) or self._inotify is None:
                continue
            place.whole = False
            if not place.names:
                self._inotify.remove(watch)
                del self._places[watch]
                self._full = False


def _join(relative: str, name: str) -> str:
    return f"{relative}/{name}" if relative else name


def _will_be_written(path: str) -> bool:
    """Tell whether a new file is one that its writer closes later: that is another event."""
    try:
        status = os.lstat(path)
    except OSError:
        return True  # gone again, which is an event, too
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1
