"""The way to the service of a home: its port and its token.

The token must not fall into wrong hands: any user may listen on the API's port
while the service does not run.  So before it is sent, the kernel is asked whose
the listening socket is.
"""

from __future__ import annotations

import json
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from ood.api.types import DEFAULT_PORT
from ood.errors import OodError, UnavailableError
from ood.paths import (
    ADDRESS_FILE,
    DOCUMENT_FILE,
    RUN_DIRECTORY,
    SYSTEM_HOME,
    TOKEN_FILE,
    default_home,
)

KERNEL_SOCKETS = Path("/proc/net/tcp")
"""Where the kernel lists TCP sockets; listening ones come first."""
_LISTENING = "0A"


class NoAccessError(OodError):
    """This user can't talk to the service of this home."""

    code = "no_access"


@dataclass(frozen=True)
class Access:
    """What it takes to talk to a service.

    :ivar home: its home.
    :ivar port: the API's port.
    :ivar token: what it wants to see.
    """

    home: Path
    port: int
    token: str


def resolve_home(named: str | None) -> Path:
    """Return the home that ``named``, or this user, means."""
    if named:
        return Path(named).expanduser().absolute()
    return default_home()


def find_access(home: Path, sockets: Path = KERNEL_SOCKETS) -> Access:
    """Return how to talk to the service of ``home``.

    :raises OodError: it does not run, or this user may not.
    """
    token, owner = _read_token(home)
    port = _port(home)
    listener = listening_user(port, sockets)
    if listener is None:
        raise not_running(home)
    if listener not in {owner, 0, ANY_USER}:
        raise NoAccessError(
            f"port {port} is held by a program of {_user(listener)}, not by the ood of {home}",
            "stop that program, then start ood",
        )
    return Access(home, port, token)


class NotRunningError(UnavailableError):
    """There is no service to ask."""


def not_running(home: Path) -> NotRunningError:
    """Return the error that says how to start the service."""
    start = f"twistd -n ood --home {home}"
    if home == SYSTEM_HOME:
        start = f"sudo ood install, or in the foreground: {start}"
    return NotRunningError(f"ood is not running for the home {home}", f"start it: {start}")


ANY_USER = -1
"""Stands for the owner of a socket where the kernel does not tell."""


def listening_user(port: int, sockets: Path) -> int | None:
    """Return whose socket listens on the loopback port; None if nobody's does."""
    local = f"0100007F:{port:04X}"
    try:
        with sockets.open() as lines:
            next(lines, None)
            for line in lines:
                fields = line.split()
                if fields[3] != _LISTENING:
                    break
                if fields[1] == local:
                    return int(fields[7])
    except OSError:
        return ANY_USER
    return None


def _read_token(home: Path) -> tuple[str, int]:
    """Return the token and the user id of its owner."""
    path = home / TOKEN_FILE
    try:
        with path.open() as file:
            return file.read().strip(), os.fstat(file.fileno()).st_uid
    except FileNotFoundError:
        raise _no_token(home) from None
    except PermissionError:
        raise _forbidden(home, path) from None
    except OSError as error:
        raise NoAccessError(f"can't read {path}: {error.strerror}", "is this ood's home?") from None


def _no_token(home: Path) -> OodError:
    if home != SYSTEM_HOME and SYSTEM_HOME.exists():
        return NoAccessError(
            f"there is no ood in the home {home}, but one in {SYSTEM_HOME}",
            "ask that one with: sudo ood, or name a home with --home",
        )
    if _is_something_else(home):
        return NoAccessError(f"{home} is not a home of ood", "name the right one with --home")
    return not_running(home)


def _is_something_else(home: Path) -> bool:
    """Tell whether ``home`` has files of its own, and none of ood's."""
    try:
        names = {path.name for path in home.iterdir()}
    except OSError:
        return False
    return bool(names) and DOCUMENT_FILE not in names and RUN_DIRECTORY not in names


def _forbidden(home: Path, path: Path) -> NoAccessError:
    try:
        owner = _user(home.stat().st_uid)
    except OSError:
        owner = "its owner"
    how = "sudo ood" if owner == "root" else f"sudo -u {owner} ood"
    if home != SYSTEM_HOME or owner != "root":
        how += f" --home {home}"
    return NoAccessError(f"{path} may be read by {owner} only", f"run it as {owner}: {how}")


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _port(home: Path) -> int:
    """Return the API's port: of the running service, or as configured."""
    announced = _object(home / ADDRESS_FILE).get("port")
    settings = _object(home / DOCUMENT_FILE).get("settings")
    configured = settings.get("apiPort") if isinstance(settings, dict) else None
    for port in (announced, configured):
        if isinstance(port, int) and 0 < port < 65536:
            return port
    return DEFAULT_PORT


def _object(path: Path) -> dict[str, object]:
    """Return the JSON object in ``path``; an empty one if there is none."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
