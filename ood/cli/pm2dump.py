"""PM2's dump in the form of its ecosystem files.

A dump has an entry for each process, mixes the app's variables with those of the shell
that PM2 was started from, and keeps PM2's own state between the settings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

SESSION = re.compile(
    r"HOME|PATH|PWD|OLDPWD|SHELL|SHLVL|TERM|COLORTERM|TERM_\w+|USER|LOGNAME|MAIL|HOSTNAME|EDITOR|"
    r"LANG|LANGUAGE|LC_\w+|TZ|LS_COLORS|LESS\w*|PAGER|DISPLAY|WAYLAND_\w+|XDG_\w+|DBUS_\w+|"
    r"SSH_\w+|SUDO_\w+|GPG_\w+|NVM_\w+|npm_\w+|TMUX\w*|STY|INVOCATION_ID|JOURNAL_STREAM|"
    r"PM2_\w+|pm_\w+|unique_id|NODE_APP_INSTANCE|NODE_CHANNEL_\w+|_"
)
"""Variables of a login, a terminal, or PM2's own; none is an app's."""
ALWAYS_OWN = frozenset({"NODE_ENV"})
"""Set for most apps, and the same for all of them."""

Entry = Mapping[str, Any]


def is_dump(entries: Sequence[Entry]) -> bool:
    """Tell whether these are a dump's."""
    return any("pm_exec_path" in one for one in entries)


def gather(entries: Sequence[Entry], shell: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return an entry for each app; ``env`` is what seems to be its own.

    :param shell: the present environment: what is the same there came from a shell.
    """
    groups: dict[str, list[Entry]] = {}
    for one in entries:
        key = json.dumps([one.get(name) for name in ("name", "pm_exec_path", "pm_cwd")])
        groups.setdefault(key, []).append(one)
    apps = [dict(group[0]) for group in groups.values()]
    common = _common(apps) if len(apps) > 1 else {}
    for app, group in zip(apps, groups.values(), strict=True):
        if len(group) > 1:
            app["instances"] = len(group)
        app["env"] = _own(app, common, shell)
        if "pm_cwd" in app:
            app.pop("cwd", None)  # relative to where PM2 was called
        app.pop(str(app.get("name")), None)
    return apps


def _environment(app: Entry) -> Mapping[str, Any]:
    environment = app.get("env")
    return environment if isinstance(environment, dict) else {}


def _common(apps: Sequence[Entry]) -> dict[str, Any]:
    """Return what every app has with the same value."""
    first, *others = map(_environment, apps)
    return {
        name: value
        for name, value in first.items()
        if all(name in one and one[name] == value for one in others)
    }


def _own(app: Entry, common: Mapping[str, Any], shell: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: value
        for name, value in _environment(app).items()
        if name in ALWAYS_OWN
        or not (
            SESSION.fullmatch(name)
            or name == app.get("name")
            or name in common
            or shell.get(name) == value
        )
    }
