"""The state of all apps as it changes: told by the service, or asked for again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ood.api.types import STATUS_EVENT, app_path
from ood.cli.client import ApiError
from ood.cli.session import Session
from ood.errors import OodError, UnavailableError

RETRY_SECONDS = 2.0
"""How long after its end the service is asked again; where it tells nothing, how often."""

Plain = dict[str, Any]


def merged(apps: Mapping[str, Plain], change: Mapping[str, Any], now: float) -> dict[str, Plain]:
    """Return ``apps`` with a change as the service tells it.

    :param now: kept with each worker whose uptime is told, which counts on from then.
    """
    kept = {} if change["full"] else dict(apps)
    for name in change["removed"]:
        kept.pop(name, None)
    for name, fields in change["apps"].items():
        before = kept.get(name, {})
        workers = fields.get("workers", {})
        if isinstance(workers, list):
            after = [{**worker, "told": now} for worker in workers]
        else:
            parts = enumerate(before.get("workers", ()))
            after = [{**worker, **workers.get(str(at), {})} for at, worker in parts]
        kept[name] = {**before, **fields, "workers": after}
    return kept


def at(apps: Mapping[str, Plain], now: float) -> list[Plain]:
    """Return the apps by name, with uptimes as of ``now``."""
    return [
        {**app, "workers": [_aged(worker, now) for worker in app["workers"]]}
        for _, app in sorted(apps.items())
    ]


def _aged(worker: Plain, now: float) -> Plain:
    told = worker.get("told", now)
    plain = {name: value for name, value in worker.items() if name != "told"}
    if plain["pid"] is not None:
        plain["uptimeMs"] += round((now - told) * 1000)
    return plain


class LiveApps:
    """All apps, or one of them, while the service tells of them.

    :ivar trouble: why what is known may be old; empty while it is not.
    :param changed: called after every change.
    """

    def __init__(self, session: Session, app: str | None, changed: Callable[[], None]) -> None:
        self._client = session.client
        self._app = app
        self._changed = changed
        self._apps: dict[str, Plain] = {}
        self.trouble = ""

    @property
    def clock(self) -> IReactorTime:
        """The clock of the connections."""
        return self._client.clock

    def now(self) -> list[Plain]:
        """Return the apps by name, as they are now as far as is known."""
        return at(self._apps, self.clock.seconds())

    async def run(self) -> None:
        """Follow the service, through its restarts, without an end.

        :raises OodError: there is no such app, or the service lets nobody in.
        """
        while True:
            try:
                await self._follow()
                self._say("ood has stopped; this is how it was")
            except OodError as error:
                if error.code != UnavailableError.code:
                    raise
                self._say(error.message)
            await _pause(self.clock)

    async def _follow(self) -> None:
        query = {"kinds": STATUS_EVENT, **({"app": self._app} if self._app else {})}
        try:
            await self._client.events(query, self._event)
        except ApiError as error:
            if error.code not in {"no_route", UnavailableError.code}:
                raise
            await self._ask()

    async def _ask(self) -> None:
        """Ask a service that does not tell."""
        while True:
            path = app_path(self._app) if self._app else "/apps"
            answer = await self._client.ask("GET", path)
            apps = [answer] if self._app else answer["apps"]
            self._event(
                STATUS_EVENT,
                {"full": True, "removed": [], "apps": {app["name"]: app for app in apps}},
            )
            await _pause(self.clock)

    def _event(self, kind: str, data: Plain) -> None:
        if kind == STATUS_EVENT:
            self._apps = merged(self._apps, data, self.clock.seconds())
            self._say("")

    def _say(self, trouble: str) -> None:
        self.trouble = trouble
        self._changed()


def _pause(clock: IReactorTime) -> Deferred[None]:
    return deferLater(clock, RETRY_SECONDS, lambda: None)
