"""``ood deploy``, ``rollback`` and ``releases``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from shutil import get_terminal_size
from typing import Any

from twisted.internet.defer import CancelledError

from ood.api.types import app_path
from ood.cli.client import ApiError
from ood.cli.output import is_terminal
from ood.cli.progress import Progress
from ood.cli.session import HereOnlyError, Session
from ood.cli.status import one_line_status
from ood.errors import UnavailableError
from ood.model.release import CARRIED_OUT

BESIDE_CHARACTERS = 14
"""Room for the mark and the time beside a step: a line that wraps can't be redrawn."""


class Steps:
    """Shows what a deployment does: a line for each step, the present one on a terminal.

    :ivar carried_out: whether it goes on if nobody watches any more.
    :ivar result: the app's state, once it runs the release.
    """

    def __init__(self, session: Session) -> None:
        self._output = session.output
        self._plain = not is_terminal(session.output.err) and not session.output.json
        self.progress = Progress(session.output.err, session.client.clock, "deploying")
        self._step = ""
        self.carried_out = False
        self.result: Mapping[str, Any] | None = None
        self.error: ApiError | None = None

    def take(self, event: dict[str, Any]) -> None:
        """Take what the service tells."""
        if "error" in event:
            self.error = ApiError(event["error"])
        elif "app" in event:
            self.result = event["app"]
        else:
            self._show(event["step"], event["elapsedMs"], event["line"])

    def _show(self, step: str, elapsed_ms: int, line: str) -> None:
        room = max(get_terminal_size().columns - BESIDE_CHARACTERS, 0)
        self.progress.now((f"{step}: {line}" if line else step)[:room])
        if step != self._step:
            self._step = step
            self.carried_out = step in CARRIED_OUT
            if self._plain:
                self._output.remark(f"{elapsed_ms / 1000:6.1f} s  {step}")


async def deploy(
    session: Session,
    app: str,
    source: str | None,
    *,
    ref: str | None,
    build: bool,
    script: str | None,
) -> None:
    """Make a release and run it."""
    wanted = _absolute(source) if session.tunnel is None else _there(source)
    body = {"source": wanted, "ref": ref, "build": build}
    if script is not None:  # one that is not up to date would refuse the key
        body["script"] = script
    steps = Steps(session)
    try:
        with steps.progress:
            await session.client.stream("POST", app_path(app, "deploy"), body, steps.take)
    except CancelledError:
        if steps.carried_out:
            session.output.remark(f"It is carried out nevertheless; see: ood releases {app}")
        raise
    if steps.error is not None:
        raise steps.error
    if steps.result is None:
        raise UnavailableError("ood ended before the deployment did", "look with: ood status")
    _show(session, steps.result)


def _absolute(source: str | None) -> str | None:
    """Return a source as the service understands it, which is in another directory."""
    if source is None or (":" in source and not os.path.exists(source)):
        return source
    return os.path.abspath(source)


def _there(source: str | None) -> str | None:
    """Return a source that is on the machine of the service, or where both can get it.

    :raises HereOnlyError: it is here.
    """
    if source is None or ":" in source or source.startswith("/"):
        return source
    hint = "name a git URL, or copy it there and name its whole path there"
    raise HereOnlyError(f"{source} is on this machine, and the service is not", hint)


async def rollback(session: Session, app: str, release: str | None) -> None:
    """Run an earlier release."""
    with session.waiting(f"rolling {app} back"):
        status = await session.client.ask("POST", app_path(app, "rollback"), {"release": release})
    _show(session, status)


def _show(session: Session, status: Mapping[str, Any]) -> None:
    if session.output.json:
        session.output.value(status)
        return
    release = f"release {status['release']}" if status["release"] else "its own directory"
    session.output.say(f"{one_line_status(status)}  {release}")


async def releases(session: Session, app: str) -> None:
    """Show an app's releases."""
    answer = await session.client.ask("GET", app_path(app, "releases"))
    if session.output.json:
        session.output.value(answer)
    elif answer["releases"]:
        rows = [
            [one["name"], "current" if one["current"] else "", one["time"][:19], one["source"]]
            for one in answer["releases"]
        ]
        session.output.table(("release", "", "time", "source"), rows, set())
    else:
        session.output.say(f"{app} has no releases. Make one with: ood deploy {app}")
