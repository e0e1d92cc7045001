"""The environment a worker gets: little of the service's own, all of the app's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

INHERITED = re.compile(
    r"PATH|LANG|LANGUAGE|LC_[A-Z_]+|TZ|TZDIR|NODE_EXTRA_CA_CERTS|SSL_CERT_(FILE|DIR)"
    r"|(https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY|TMPDIR"
)
"""Names that pass from the service to workers: where programs are, language, trust, way out."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are if nobody says so."""

IPC_FD = 3
"""The descriptor of Node's own channel to its parent."""


@dataclass(frozen=True)
class Account:
    """The user a worker runs as, as far as the environment tells."""

    name: str
    home: str


@dataclass(frozen=True)
class Join:
    """How a process finds ood.

    :ivar guard: path of the guard's entry file.
    :ivar debugged: whether the app's own options open the inspector, for a person.
    """

    guard: str
    join: str
    back: str
    token: str
    debugged: bool = False


@dataclass(frozen=True)
class Wish:
    """Everything that shapes a worker's environment.

    :ivar inherited: the service's own environment.
    :ivar own: the app's settings ``env``.
    :ivar channel: whether there is an IPC channel on descriptor 3.
    :ivar unique_id: number in Node's own cluster protocol, if it is used.
    :ivar program_directory: where the chosen Node is, so that npm finds the same.
    """

    app: str
    instance: int
    port: int
    account: Account
    inherited: Mapping[str, str]
    own: Mapping[str, str]
    join: Join | None = None
    channel: bool = False
    unique_id: int | None = None
    wait_ready: bool = False
    program_directory: str = ""


def quote_option(text: str) -> str:
    """Return ``text`` as Node reads it back from ``NODE_OPTIONS``."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _path(present: str, directory: str) -> str:
    if not directory or directory in present.split(":"):
        return present
    return f"{directory}:{present}"


def build(wish: Wish) -> dict[str, str]:
    """Return the environment of a worker."""
    env = {name: value for name, value in wish.inherited.items() if INHERITED.fullmatch(name)}
    env.update(HOME=wish.account.home, USER=wish.account.name, LOGNAME=wish.account.name)
    env["NODE_ENV"] = "production"
    env["npm_config_update_notifier"] = "false"  # it would ask the internet at each start
    env.update(wish.own)
    env["PATH"] = _path(env.get("PATH", DEFAULT_PATH), wish.program_directory)
    env.update(PORT=str(wish.port), NODE_APP_INSTANCE=str(wish.instance), OOD_APP=wish.app)
    if wish.wait_ready:
        env["OOD_WAIT_READY"] = "1"
    if wish.join is not None:
        env.update(_joining(wish.join, env.get("NODE_OPTIONS", "")))
    if wish.channel:
        env.update(NODE_CHANNEL_FD=str(IPC_FD), NODE_CHANNEL_SERIALIZATION_MODE="json")
    if wish.unique_id is not None:
        env["NODE_UNIQUE_ID"] = str(wish.unique_id)
    return env


QUIET_INSPECTOR = "--inspect-publish-uid=stderr"
"""Should ood have to look into a process that hangs, nobody else shall be able to: the
inspector's address is told on stderr only."""


def _joining(join: Join, options: str) -> dict[str, str]:
    require = f"--require {quote_option(join.guard)}"
    if not join.debugged and "--inspect" not in options:
        require = f"{QUIET_INSPECTOR} {require}"
    return {
        "OOD_JOIN": join.join,
        "OOD_BACK": join.back,
        "OOD_TOKEN": join.token,
        "NODE_OPTIONS": f"{options} {require}".strip(),
    }
