"""``ood log``: the apps' logs, and what is added to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from twisted.internet.defer import Deferred, FirstError, gatherResults

from ood.api.types import LOG_LINES_DEFAULT, LOG_LINES_MAX, app_path
from ood.cli import history
from ood.cli.history import Line
from ood.cli.logfilter import Filter
from ood.cli.output import Output
from ood.cli.session import Session
from ood.clock import stamp, wall_time
from ood.errors import UnavailableError
from ood.model.status import ACCESS_STREAM

FOLLOWED_LINES = 1000
"""Lines that a follower asks for to close the gap between the files and what comes."""


@dataclass(frozen=True)
class Wanted:
    """Which lines.

    :ivar app: of this app; of all if None.
    :ivar lines: how many of the last; None: as many as there are since a moment that is
        asked for, else a screenful.
    :ivar follow: whether new lines are waited for.
    :ivar which: what is asked of each.
    """

    app: str | None
    lines: int | None
    follow: bool
    which: Filter

    @property
    def count(self) -> int:
        """How many of the last lines."""
        return LOG_LINES_DEFAULT if self.lines is None else self.lines

    def query(self, lines: int) -> dict[str, str]:
        """Return it as the API's parameters."""
        query = {"lines": str(lines)}
        if self.which.stream:
            query["stream"] = self.which.stream
        return query


async def log(session: Session, wanted: Wanted) -> None:
    """Show the last lines, and those to come if wanted."""
    if wanted.app:
        apps = [wanted.app]
        await session.client.ask("GET", app_path(wanted.app))  # is there such an app?
    else:
        apps = [app["name"] for app in (await session.client.ask("GET", "/apps"))["apps"]]
    if not wanted.which.narrow and wanted.follow:
        await _follow(session, wanted, apps, wanted.count, wanted.which)
        return
    begun = stamp(wall_time())
    if wanted.follow:  # what comes from now on is the follower's
        until = min(begun, wanted.which.until or begun)
        wanted = replace(wanted, which=replace(wanted.which, until=until))
    shown = await _history(session, wanted, apps)
    if not shown and session.output.terminal and not session.output.json:
        session.output.remark(_nothing(wanted))
    if wanted.follow:
        session.output.flush()
        which = replace(wanted.which, since=max(begun, wanted.which.since), until="")
        await _follow(session, wanted, apps, FOLLOWED_LINES, which)


def _nothing(wanted: Wanted) -> str:
    """Return what is said in place of lines."""
    if wanted.which.stream == ACCESS_STREAM:
        which = f"-a {wanted.app} " if wanted.app else ""
        return f"No such request. To write requests down: ood config {which}-s accessLog combined"
    return "No line is like that." if wanted.which.narrow else "Nothing has been written yet."


async def _history(session: Session, wanted: Wanted, apps: list[str]) -> int:
    """Show what has been written; return how many lines that are."""
    which = wanted.which
    shown = 0
    if which.narrow and which.since and wanted.lines is None and which.stream != ACCESS_STREAM:
        for app, line in history.since(session.client.home, apps, which):
            _show(session.output, app, line, wanted)
            shown += 1
        return shown
    found: list[tuple[str, Line]] = []
    for app in apps:
        found += [(app, line) for line in await _newest(session, wanted, app)]
    for app, line in history.last(found, wanted.count):
        _show(session.output, app, line, wanted)
        shown += 1
    return shown


async def _newest(session: Session, wanted: Wanted, app: str) -> list[Line]:
    """Return the last lines of an app: those of the API, or of its files if more is asked."""
    which = wanted.which
    if which.narrow and which.stream != ACCESS_STREAM:
        return history.newest(session.client.home, app, which, wanted.count)
    query = wanted.query(LOG_LINES_MAX if which.narrow else wanted.count)
    answer = await session.client.ask("GET", f"{app_path(app, 'log')}?{urlencode(query)}")
    return [line for line in answer["lines"] if which.matches(line)]


async def _follow(
    session: Session, wanted: Wanted, apps: list[str], lines: int, which: Filter
) -> None:
    """Show lines of the apps as they come, until the service ends."""
    query = {**wanted.query(lines), "follow": "true"}

    async def one(app: str) -> None:
        def arrived(line: Line) -> None:
            if which.matches(line):
                _show(session.output, app, line, wanted)
                session.output.flush()

        await session.client.follow(app_path(app, "log"), query, arrived)

    try:
        await gatherResults([Deferred.fromCoroutine(one(app)) for app in apps], consumeErrors=True)
    except FirstError as failed:
        failed.subFailure.raiseException()
    if apps:
        raise UnavailableError("the log has ended: ood stopped, or this reader was too slow")


def _show(output: Output, app: str, line: Line, wanted: Wanted) -> None:
    if output.json:
        output.value({"app": app, **line}, indent=None)
        return
    found = None if wanted.which.invert else wanted.which.pattern
    named = wanted.app is None
    if line["stream"] == ACCESS_STREAM:
        output.found(f"{app} " if named else "", line["text"], found)
        return
    instance = "-" if line["instance"] < 0 else str(line["instance"])
    who = f"{app} {instance}" if named else instance
    colour = {"err": "red", "ood": "yellow"}.get(line["stream"], "")
    output.found(f"{line['time']} {who} {line['stream']:<3} ", line["text"], found, colour)
