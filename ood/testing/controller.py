"""An :class:`~ood.interfaces.IController` that runs no process.

It validates with the real model and keeps everything in memory, so that API and
command line can be tested without workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ood.errors import ConflictError, NotFoundError, OodError
from ood.interfaces import IController, Notified
from ood.model.death import DeathList
from ood.model.document import App, Document, Settings
from ood.model.notify import masked
from ood.model.release import Order, Release, Step
from ood.model.rules import Maintenance
from ood.model.schema import (
    APP_KEYS,
    SETTINGS_KEYS,
    Key,
    changed_app,
    changed_settings,
    check_app,
    check_settable,
    check_together,
    scaled,
)
from ood.model.status import AppStatus, LogLine, WorkerStatus

FIRST_PID = 4001
"""Process id of the first pretended worker."""


@implementer(IController)
class MemoryController:
    """Carries out every verb at once, on a document in memory.

    :ivar document: what the verbs have made.
    :ivar lines: log lines by app; tests append with :meth:`log`.
    :ivar failure: if set, the next command fails with it.
    :ivar held: if not None, commands wait here until a test fires them.
    :ivar made: releases by app, newest first.
    :ivar trouble: what is said to be wrong with every app.
    :ivar dead: the deaths of every app.
    :ivar calls: the verbs that were carried out, in order.
    """

    def __init__(self) -> None:
        self.document = Document()
        self.made: dict[str, list[Release]] = {}
        self.lines: dict[str, list[LogLine]] = {}
        self.failure: Exception | None = None
        self.held: list[Deferred[None]] | None = None
        self.calls: list[tuple[str, ...]] = []
        self.trouble: tuple[str, ...] = ()
        self.dead = DeathList()
        self._followers: list[tuple[str, Callable[[LogLine], None]]] = []

    @property
    def followers(self) -> int:
        """How many callbacks wait for log lines."""
        return len(self._followers)

    def log(self, name: str, text: str, stream: str = "out", instance: int = 0) -> None:
        """Add a line to an app's log and tell those who follow it."""
        lines = self.lines.setdefault(name, [])
        time = f"2026-01-02T03:04:{len(lines) % 60:02}.000Z"
        line = LogLine(time=time, instance=instance, stream=stream, text=text)
        lines.append(line)
        for app, callback in tuple(self._followers):
            if app == name:
                callback(line)

    def init(self, name: str, values: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Add an app; a missing ``port`` is assigned.  Fires with its configuration."""

        def work() -> dict[str, Any]:
            check_settable(values)
            if name in self.document.apps:
                raise ConflictError(f"there is an app {name} already", "choose another name")
            app = check_app(name, {"port": self.document.free_port(), **values})
            self._keep(self.document.with_app(name, app))
            return self.configuration(name)

        return self._carry_out(work, "init", name)

    def delete(self, name: str, *, purge: bool = False) -> Deferred[None]:
        """Stop the app and forget it; its files stay."""

        def work() -> None:
            self._app(name)
            self.document = self.document.without_app(name)

        return self._carry_out(work, "delete", name, *(["purge"] if purge else []))

    def start(self, name: str) -> Deferred[AppStatus]:
        """Start the app; fires when all its workers answer."""
        return self._carry_out(lambda: self._change(name, running=True), "start", name)

    def stop(self, name: str) -> Deferred[AppStatus]:
        """Stop the app; fires when its processes are gone."""
        return self._carry_out(lambda: self._change(name, running=False), "stop", name)

    def restart(self, name: str) -> Deferred[AppStatus]:
        """Replace the app's workers without an interruption."""
        return self._carry_out(lambda: self._change(name, running=True), "restart", name)

    def deploy(self, name: str, order: Order, told: Callable[[Step], None]) -> Deferred[AppStatus]:
        """Tell two steps, wait if held, and run a release of the next number."""

        def work() -> AppStatus:
            releases = self.made.setdefault(name, [])
            release = f"20260102-0304{len(releases):02}-0000"
            source = order.source or self._app(name).cwd
            releases.insert(0, Release(name=release, time="2026-01-02T03:04:05Z", source=source))
            return self._change(name, release=release)

        try:
            self._app(name)
        except NotFoundError as error:
            return fail(error)
        told(Step(step="copying", elapsed_ms=0))
        told(Step(step="installing", elapsed_ms=1200, line="added 3 packages"))
        return self._carry_out(work, "deploy", name, *filter(None, (order.source, order.ref)))

    def rollback(self, name: str, release: str | None) -> Deferred[AppStatus]:
        """Run a release that was made, the one before the newest if none is named."""

        def work() -> AppStatus:
            names = [one.name for one in self.releases(name)]
            wanted = release or next(iter(names[1:]), None)
            if wanted not in names:
                raise NotFoundError(f"{name} has no release {wanted}", "see: ood releases")
            return self._change(name, release=wanted)

        return self._carry_out(work, "rollback", name, release or "")

    def releases(self, name: str) -> list[Release]:
        """Return an app's releases, newest first."""
        current = self._app(name).release
        return [
            msgspec.structs.replace(one, current=one.name == current)
            for one in self.made.get(name, ())
        ]

    def maintenance(self, name: str, wanted: Maintenance | None) -> Deferred[AppStatus]:
        """Begin an app's maintenance, change it, or (None) end it."""
        words = ("maintenance", name, "off" if wanted is None else "on")
        return self._carry_out(lambda: self._change(name, maintenance=wanted), *words)

    def scale(self, name: str, instances: str) -> Deferred[AppStatus]:
        """Set the number of workers: ``N``, ``+N``, ``-N`` or ``max``."""

        def work() -> AppStatus:
            wanted = scaled(self._app(name), instances)
            return self._change(name, instances=wanted)

        return self._carry_out(work, "scale", name, instances)

    def configuration(self, name: str | None) -> dict[str, Any]:
        """Return the settings, or an app's configuration, with defaults filled in."""
        if name is None:
            settings = self.document.settings
            http, https = settings.ports(root=False)
            shown = {"notify": msgspec.to_builtins(masked(settings.notify))}
            plain = {**_plain(settings, SETTINGS_KEYS), **shown}
            return {**plain, "httpPort": http, "httpsPort": https}
        return _plain(self._app(name), APP_KEYS)

    def configure(self, name: str | None, changes: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Change keys of the settings or of an app; None puts a key back to its default."""

        def work() -> dict[str, Any]:
            check_settable(changes)
            document = self.document
            if name is None:
                settings = changed_settings(document.settings, changes)
                self._keep(msgspec.structs.replace(document, settings=settings))
            else:
                app = changed_app(name, self._app(name), changes)
                self._keep(document.with_app(name, app))
            return self.configuration(name)

        return self._carry_out(work, "configure", name or "", *changes)

    def test_notifications(self) -> Deferred[list[Notified]]:
        """Say that every target was told, but those with ``fail`` in their name."""

        def work() -> list[Notified]:
            names = [one.shown for one in self.document.settings.notify]
            return [Notified(one, "exited with status 1" if "fail" in one else "") for one in names]

        return self._carry_out(work, "notify")

    def status(self, name: str | None) -> list[AppStatus]:
        """Return the live state of one app or of all."""
        names = sorted(self.document.apps) if name is None else [name]
        return [self._status(one, self._app(one)) for one in names]

    def deaths(self, name: str) -> DeathList:
        """Return what a test has put into ``dead``."""
        self._app(name)
        return self.dead

    def tail(self, name: str, lines: int, stream: str | None) -> list[LogLine]:
        """Return an app's last log lines."""
        self._app(name)
        wanted = [line for line in self.lines.get(name, ()) if stream in {None, line.stream}]
        return wanted[-lines:] if lines else []

    def follow(
        self,
        name: str,
        callback: Callable[[LogLine], None],
        stream: str | None = None,
    ) -> Callable[[], None]:
        """Call ``callback`` with every new line of an app's log."""
        self._app(name)
        entry = (name, callback)
        self._followers.append(entry)
        return lambda: self._followers.remove(entry)

    def _carry_out(self, work: Callable[[], Any], *call: str) -> Deferred[Any]:
        """Do ``work`` now, or when the test lets it go on."""
        if self.held is None:
            return self._now(work, call)
        gate: Deferred[None] = Deferred()
        self.held.append(gate)
        return gate.addCallback(lambda _: self._now(work, call))

    def _now(self, work: Callable[[], Any], call: tuple[str, ...]) -> Deferred[Any]:
        self.calls.append(call)
        failure, self.failure = self.failure, None
        if failure is not None:
            return fail(failure)
        try:
            return succeed(work())
        except OodError as error:
            return fail(error)

    def _app(self, name: str) -> App:
        app = self.document.apps.get(name)
        if app is None:
            known = ", ".join(sorted(self.document.apps)) or "none yet"
            raise NotFoundError(f"there is no app {name}", f"apps: {known}")
        return app

    def _keep(self, document: Document) -> None:
        check_together(document)
        self.document = document

    def _change(self, name: str, **values: Any) -> AppStatus:
        app = msgspec.structs.replace(self._app(name), **values)
        self._keep(self.document.with_app(name, app))
        return self._status(name, app)

    def _status(self, name: str, app: App) -> AppStatus:
        workers = tuple(
            WorkerStatus(
                instance=number,
                pid=FIRST_PID + number,
                state="online",
                via="guard",
                uptime_ms=61_000,
                cpu_percent=1.5,
                memory_bytes=50 << 20,
                requests_per_second=12.0,
            )
            for number in range(app.worker_count() if app.running else 0)
        )
        return AppStatus(
            name=name,
            state="online" if app.running else "stopped",
            running=app.running,
            wanted=app.worker_count(),
            port=app.port,
            user=app.user or "nobody",
            version="1.2.3",
            cwd=app.cwd,
            release=app.release or "",
            urls=(f"http://127.0.0.1:{app.port}/",),
            trouble=self.trouble,
            maintenance=app.maintenance is not None,
            workers=workers,
        )


def _plain(value: App | Settings, table: Mapping[str, Key]) -> dict[str, Any]:
    """Return every key of ``table``, defaults included."""
    fields = {field.encode_name: field.name for field in msgspec.structs.fields(type(value))}
    plain: dict[str, Any] = msgspec.to_builtins({key: getattr(value, fields[key]) for key in table})
    return plain
