"""``ood log``: the apps' logs, and what is added to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred, FirstError, gatherResults

from ood.api.types import app_path
from ood.cli.output import Output
from ood.cli.session import Session
from ood.errors import UnavailableError
from ood.model.status import ACCESS_STREAM


@dataclass(frozen=True)
class Wanted:
    """Which lines.

    :ivar app: of this app; of all if None.
    :ivar lines: how many of the last.
    :ivar stream: only of this stream.
    :ivar follow: whether new lines are waited for.
    """

    app: str | None
    lines: int
    stream: str | None
    follow: bool

    def query(self) -> dict[str, str]:
        """Return it as the API's parameters."""
        query = {"lines": str(self.lines)}
        if self.stream:
            query["stream"] = self.stream
        return query


async def log(session: Session, wanted: Wanted) -> None:
    """Show the last lines, and those to come if wanted."""
    if wanted.app:
        apps = [wanted.app]
    else:
        apps = [app["name"] for app in (await session.client.ask("GET", "/apps"))["apps"]]
    if wanted.follow:
        await _follow(session, wanted, apps)
    else:
        await _last(session, wanted, apps)


async def _last(session: Session, wanted: Wanted, apps: list[str]) -> None:
    """Show the last lines of the apps together, in the order of time."""
    found: list[tuple[str, dict[str, Any]]] = []
    for app in apps:
        path = f"{app_path(app, 'log')}?{urlencode(wanted.query())}"
        lines = (await session.client.ask("GET", path))["lines"]
        found += [(app, line) for line in lines]
    found.sort(key=lambda entry: entry[1]["time"])
    for app, line in found[-wanted.lines :] if wanted.lines else []:
        _show(session.output, app, line, named=wanted.app is None)


async def _follow(session: Session, wanted: Wanted, apps: list[str]) -> None:
    """Show lines of the apps as they come, until the service ends."""
    query = {**wanted.query(), "follow": "true"}

    async def one(app: str) -> None:
        def arrived(line: dict[str, Any]) -> None:
            _show(session.output, app, line, named=wanted.app is None)
            session.output.flush()

        await session.client.follow(app_path(app, "log"), query, arrived)

    try:
        await gatherResults([Deferred.fromCoroutine(one(app)) for app in apps], consumeErrors=True)
    except FirstError as failed:
        failed.subFailure.raiseException()
    if apps:
        raise UnavailableError("the log has ended: ood stopped, or this reader was too slow")


def _show(output: Output, app: str, line: Mapping[str, Any], *, named: bool) -> None:
    if output.json:
        output.value({"app": app, **line}, indent=None)
        return
    if line["stream"] == ACCESS_STREAM:
        output.say(f"{app} {line['text']}" if named else line["text"])
        return
    instance = "-" if line["instance"] < 0 else str(line["instance"])
    who = f"{app} {instance}" if named else instance
    colour = {"err": "red", "ood": "yellow"}.get(line["stream"], "")
    output.painted(f"{line['time']} {who} {line['stream']:<3} {line['text']}", colour)
