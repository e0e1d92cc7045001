"""All requests of all apps, however they were answered: counted, and written down if wanted."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime

from ood.model.document import Document
from ood.traffic.access import AccessLog, AccessLogs
from ood.traffic.meter import Lately, Tally, lately
from ood.traffic.records import OFF, Record

HANDED = "handoff"
"""The way of requests that workers answer themselves: the guard counts them."""


class AppTraffic:
    """One app's requests.

    :ivar app: its name; empty for requests that no app is asked for.
    :ivar form: the format of its access log; ``off`` without one.
    :ivar in_flight: requests on the proxied path without an answer yet.
    :ivar tallies: answers by their way.
    :ivar workers: the proxied ones by the worker that answered, where no guard counts.
    """

    def __init__(self, app: str) -> None:
        self.app = app
        self.form = OFF
        self.in_flight = 0
        self.tallies: dict[str, Tally] = {}
        self.workers: dict[int, Tally] = {}
        self._log: AccessLog | None = None

    def configure(self, form: str, log: AccessLog | None) -> None:
        """Write the access log as ``form`` says from now on."""
        self.form, self._log = form, log

    def tally(self, way: str) -> Tally:
        """Return the counts of a way."""
        tally = self.tallies.get(way)
        if tally is None:
            tally = self.tallies[way] = Tally()
        return tally

    def worker(self, instance: int) -> Tally:
        """Return the counts of a worker that no guard counts for."""
        tally = self.workers.get(instance)
        if tally is None:
            tally = self.workers[instance] = Tally()
        return tally

    def write(self, record: Record) -> None:
        """Take a request down, if there is an access log."""
        if self._log is not None and self.form != OFF:
            self._log.write(record, self.form)

    def lose(self, lines: int) -> None:
        """Learn that a worker could not tell of so many requests."""
        if self._log is not None:
            self._log.lost += lines

    def lately(self, now: float) -> Lately:
        """Return what its requests were like lately, on all ways."""
        return lately(self.tallies.values(), now)


class Traffic:
    """Every app's requests.

    :param access: the access logs; without them nothing is written down.
    """

    def __init__(self, clock: IReactorTime, access: AccessLogs | None = None) -> None:
        self._access = access
        self._apps: dict[str, AppTraffic] = {}
        self.now = clock.seconds

    def of(self, app: str) -> AppTraffic:
        """Return what is known of ``app``, from now on."""
        entry = self._apps.get(app)
        if entry is None:
            entry = self._apps[app] = AppTraffic(app)
        return entry

    def every(self) -> Sequence[AppTraffic]:
        """Return what is known of all apps, by name."""
        return [self._apps[name] for name in sorted(self._apps)]

    def lost(self) -> dict[str, int]:
        """Return how many lines of access logs were lost, by app."""
        return {} if self._access is None else self._access.lost()

    def converge(self, document: Document) -> None:
        """Write the access logs that ``document`` wants; forget apps that are gone."""
        for name in [name for name in self._apps if name and name not in document.apps]:
            del self._apps[name]
        for name in document.apps:
            form = access_format(name, document)
            log = None if form == OFF or self._access is None else self._access.of(name)
            self.of(name).configure(OFF if log is None else form, log)


def access_format(name: str, document: Document) -> str:
    """Return the format of the app's access log: its own, or that of the settings."""
    return document.apps[name].access_log or document.settings.access_log
