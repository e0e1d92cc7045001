"""All apps' live state as a stream: once as a whole, then only what changes.

An app's change holds the fields that are different.  Its ``workers`` are a list
if other workers are there than before, else an object: position in the last list
to the fields that are different.  ``uptimeMs`` alone is no change: who shows it
counts on from when it was told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ood.model.status import AppStatus

Plain = dict[str, Any]

CLOCK_FIELD = "uptimeMs"
"""Grows by itself."""


def _fields(before: Plain, now: Plain) -> Plain:
    return {
        name: value
        for name, value in now.items()
        if name != CLOCK_FIELD and before.get(name, _NOTHING) != value
    }


_NOTHING = object()


def _identity(workers: list[Plain]) -> list[tuple[int, int | None]]:
    return [(worker["instance"], worker["pid"]) for worker in workers]


def _workers(before: list[Plain], now: list[Plain]) -> Any:
    """Return the change of an app's workers, empty if there is none."""
    if _identity(before) != _identity(now):
        return now or []
    pairs = enumerate(zip(before, now, strict=True))
    changes = {str(position): _fields(old, new) for position, (old, new) in pairs}
    return {position: change for position, change in changes.items() if change}


def _change(before: Plain, now: Plain) -> Plain:
    """Return what is different in an app, empty if nothing is."""
    change = _fields({**before, "workers": None}, {**now, "workers": None})
    workers = _workers(before["workers"], now["workers"])
    if workers or _identity(before["workers"]) != _identity(now["workers"]):
        change["workers"] = workers
    return change


class Snapshot:
    """The state that readers know."""

    def __init__(self) -> None:
        self._apps: dict[str, Plain] = {}

    def whole(self, app: str | None = None) -> Plain:
        """Return everything, of one app if it is named."""
        named = app is not None
        apps = {name: one for name, one in self._apps.items() if not named or name == app}
        return {"full": True, "apps": apps, "removed": []}

    def update(self, statuses: Iterable[AppStatus]) -> Plain | None:
        """Take over the present state; return what is different, None if nothing is."""
        now: dict[str, Plain] = {one.name: msgspec.to_builtins(one) for one in statuses}
        before, self._apps = self._apps, now
        apps = {
            name: _change(before[name], one) if name in before else one for name, one in now.items()
        }
        apps = {name: change for name, change in apps.items() if change}
        removed = sorted(before.keys() - now.keys())
        return {"full": False, "apps": apps, "removed": removed} if apps or removed else None


def only(change: Plain, app: str) -> Plain | None:
    """Return the part of ``change`` that is about ``app``, None if there is none."""
    apps = {name: one for name, one in change["apps"].items() if name == app}
    removed = [name for name in change["removed"] if name == app]
    return {**change, "apps": apps, "removed": removed} if apps or removed else None
