"""``watch``: an app whose files change is restarted gently."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from twisted.internet.interfaces import IDelayedCall

from ood.errors import OodError
from ood.model.document import App
from ood.procmon.app import AppContainer
from ood.procmon.core.watching import IN_A_ROW_MAX, Ignored, Pace
from ood.procmon.deaths.record import describe_seconds
from ood.procmon.roll import Rolls
from ood.procmon.system.tree import Tree

TROUBLES_KEPT = 8
"""Troubles that are told: directories that can't be watched are often many, for one reason."""

_Key = tuple[str, bool | tuple[str, ...], tuple[str, ...]]


def _key(app: App) -> _Key | None:
    """Return what watching ``app`` depends on; None if it is not to be watched."""
    return (app.cwd, app.watch, app.ignore_watch) if app.running and app.watch else None


class Watch:
    """Watches the files of one app.

    :ivar troubles: what can't be watched, and why.
    """

    def __init__(self, container: AppContainer, rolls: Rolls) -> None:
        app, context = container.app, container.context
        self._container = container
        self._rolls = rolls
        self._clock = context.clock
        self._pace = Pace()
        self._timer: IDelayedCall | None = None
        self._rolling = False
        self._over = False
        self.key = _key(app)
        self.troubles: list[str] = []
        roots = [""] if app.watch is True else [_root(one) for one in app.watch or ()]
        self._tree = Tree(
            context.fds,
            context.clock,
            app.cwd,
            roots=list(dict.fromkeys(roots)),
            ignored=Ignored((*app.ignore_watch, *_own_paths(app.cwd, context.run))),
            changed=self._changed,
            trouble=self._trouble,
        )

    def start(self) -> None:
        """Watch from now on."""
        self._tree.start()

    def stop(self) -> None:
        """Watch no more; a restart that was begun is finished."""
        self._over = True
        self._tree.stop()
        self._disarm()

    def _trouble(self, text: str) -> None:
        if len(self.troubles) < TROUBLES_KEPT and text not in self.troubles:
            self.troubles.append(text)
            self._container.remark(text)

    def _changed(self, path: str) -> None:
        shown = path if path.isprintable() else ascii(path)
        self._pace.note(shown, self._clock.seconds())
        self._arm()

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _arm(self) -> None:
        """Restart when it is time."""
        self._disarm()
        due = self._pace.due()
        if due is not None and not self._rolling and not self._over:
            delay = max(due - self._clock.seconds(), 0)
            self._timer = self._clock.callLater(delay, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._rolling = True
        name = f"watch of {self._container.name}"
        self._container.context.background.run(name, self._roll())

    async def _roll(self) -> None:
        remark = self._container.remark
        remark(f"watch: {self._pace.begin()} changed: the workers are replaced")
        if self._pace.in_a_row == IN_A_ROW_MAX:
            remark(
                f"watch: it changed at each of {IN_A_ROW_MAX} restarts; if the app writes it, "
                "put it into ignoreWatch; from now on there are pauses in between"
            )
        try:
            await self._rolls.request(join=False)
        except OodError as error:
            remark(f"watch: the new files are not run: {error.message}{self._still()}")
        finally:
            self._pace.end(self._clock.seconds())
            self._rolling = False
            self._arm()
        if self._pace.pause:
            remark(f"watch: the next restart is not before {describe_seconds(self._pace.pause)}")

    def _still(self) -> str:
        slots = self._container.slots.values()
        return "; the old workers serve on" if any(slot.online for slot in slots) else ""


def _own_paths(cwd: str, run: Path) -> list[str]:
    """Return what ood itself writes in ``cwd``: its home may lie there."""
    found = [one for one in (run, run.parent) if one.is_relative_to(cwd) and str(one) != cwd]
    # From cwd on, not that name anywhere; what would mean something else in a glob is any letter.
    return ["/" + re.sub(r"[*?\[{]", "?", str(one.relative_to(cwd))) for one in found]


def _root(path: str) -> str:
    """Return ``path`` as it begins the paths of what is in it."""
    plain = path.removeprefix("./").rstrip("/")
    return "" if plain in {"", "."} else plain


class Watches:
    """The watches of all apps."""

    def __init__(self) -> None:
        self._watches: dict[str, Watch] = {}

    def converge(self, apps: Iterable[tuple[AppContainer, Rolls]]) -> None:
        """Watch what the apps' settings want, and nothing else."""
        wanted = {container.name: (container, rolls) for container, rolls in apps}
        for name, watch in list(self._watches.items()):
            container = wanted[name][0] if name in wanted else None
            if container is None or _key(container.app) != watch.key:
                self._watches.pop(name).stop()
        for name, (container, rolls) in wanted.items():
            if name not in self._watches and _key(container.app) is not None:
                self._watches[name] = watch = Watch(container, rolls)
                watch.start()

    def troubles(self, name: str) -> tuple[str, ...]:
        """Return what of an app can't be watched."""
        watch = self._watches.get(name)
        return tuple(watch.troubles) if watch is not None else ()
