"""What the commands about a site ask the service for."""

from __future__ import annotations

import secrets
import sys
from typing import Any

from ood.api.types import app_path
from ood.cli.session import Session
from ood.errors import Fault, InvalidError, NotFoundError
from ood.model.passwords import SALT_BYTES, make_hash

PASSWORD_BYTES_MAX = 512
"""Longest password: the proxy takes no longer one either."""


async def maintain(session: Session, app: str, *, on: bool, message: str, hold: str) -> None:
    """Begin or end an app's maintenance."""
    body: dict[str, Any] = {"on": on}
    if on:
        body |= {"message": message, "hold": f"{hold}s" if hold.isdigit() else hold}
    status = await session.client.ask("POST", app_path(app, "maintenance"), body)
    if session.output.json:
        session.output.value(status)
    elif on:
        session.output.say(f"{app} is in maintenance; to end it: ood maintenance {app} off")
    else:
        session.output.say(f"{app} answers again.")


def read_password(user: str) -> str:
    """Ask for a password, twice on a terminal, and return it.

    :raises InvalidError: there is none, or the two differ.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        from getpass import getpass

        secret = getpass(f"Password for {user}: ")
        if getpass("Once more: ") != secret:
            raise InvalidError([Fault("password", "is not the same both times")])
    else:
        secret = sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""
    if not secret or len(secret.encode()) > PASSWORD_BYTES_MAX:
        allowed = f"one line of 1 to {PASSWORD_BYTES_MAX} bytes"
        raise InvalidError([Fault("password", "is empty or too long", allowed)])
    return secret


async def set_password(session: Session, app: str, user: str, secret: str | None) -> None:
    """Set a user's password, or (None) remove the user."""
    path = app_path(app)
    if secret is None:
        users = (await session.client.ask("GET", app_path(app, "config")))["basicAuth"]
        if user not in users:
            known = ", ".join(users) or "none"
            raise NotFoundError(f"there is no user {user}", f"users of {app}: {known}")
    stored = None if secret is None else make_hash(secret.encode(), secrets.token_bytes(SALT_BYTES))
    values = await session.client.ask("PATCH", path, {f"basicAuth.{user}": stored})
    if session.output.json:
        session.output.value({"app": app, "users": list(values["basicAuth"])})
    elif secret is None:
        session.output.say(f"{user} may not enter {app} any more.")
    else:
        session.output.say(f"{user} may enter {app} with that password.")
    if secret is None and not values["basicAuth"] and not session.output.json:
        session.output.say(f"There is no user left: {app} is open to everybody.")
