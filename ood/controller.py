"""The controller: one method per verb, and the only way to change apps and settings.

A verb commits a new document to the store; the store tells the process monitor
and the proxy, and they converge to it.  Then the verb waits until what it was
asked for is true.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ood.apps import app_of, check_files, check_has_workers, check_unneeded
from ood.deployments import Deployments
from ood.errors import ConflictError
from ood.events import EventBus
from ood.interfaces import (
    IController,
    ILogs,
    INotifier,
    IProcessMonitor,
    IReleases,
    IStore,
    Notified,
)
from ood.model.certificates import AppCertificate
from ood.model.death import DeathList
from ood.model.document import App, Document
from ood.model.release import Order, Release, Step
from ood.model.rules import Maintenance
from ood.model.schema import (
    APP_KEYS,
    changed_app,
    changed_settings,
    check_app,
    check_settable,
    check_together,
    scaled,
)
from ood.model.shown import every_key, settings_in_force
from ood.model.status import ACCESS_STREAM, AppStatus, LogLine

HTTPS_PORT = 443
"""The port that an address over HTTPS need not name."""
NO_OVERRIDES: Mapping[str, int] = MappingProxyType({})


@implementer(IController)
class Controller:
    """Carries out the verbs of CLI and web page over store and process monitor.

    :param access: the access logs.
    :param clock: measures how long a deployment takes.
    :param overrides: settings that hold while this service runs, whatever is stored.
    :param port_is_free: whether nobody on this machine listens on a port.
    :param trouble: what keeps requests from an app, as the proxy knows it.
    :param events: told how deployments ended.
    :param notifier: tells of events.
    :param certificate: how HTTPS stands for an app.
    """

    def __init__(
        self,
        store: IStore,
        monitor: IProcessMonitor,
        logs: ILogs,
        *,
        access: ILogs | None = None,
        releases: IReleases,
        clock: IReactorTime,
        overrides: Mapping[str, int] = NO_OVERRIDES,
        port_is_free: Callable[[int], bool] = lambda _: True,
        trouble: Callable[[str], tuple[str, ...]] = lambda _: (),
        events: EventBus | None = None,
        notifier: INotifier | None = None,
        certificate: Callable[[str], AppCertificate | None] = lambda _: None,
    ) -> None:
        self._store = store
        self._monitor = monitor
        self._logs = logs
        self._access = logs if access is None else access
        self._releases = releases
        self._deployments = Deployments(store, monitor, releases, clock, events or EventBus())
        self._overrides = overrides
        self._port_is_free = port_is_free
        self._trouble = trouble
        self._notifier = notifier
        self._certificate = certificate

    def init(self, name: str, values: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Add an app; a missing ``port`` is assigned.  Fires with its configuration."""
        return Deferred.fromCoroutine(self._init(name, values))

    async def _init(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        check_settable(values)

        def change(document: Document) -> Document:
            if name in document.apps:
                raise ConflictError(
                    f"there is an app {name} already",
                    f"change it with: ood config --app {name} --set KEY VALUE",
                )
            app = check_app(name, {"port": document.free_port(self._port_is_free), **values})
            check_files(app)
            return self._checked(document.with_app(name, app))

        await self._store.update(change)
        return self.configuration(name)

    def delete(self, name: str, *, purge: bool = False) -> Deferred[None]:
        """Stop the app and forget it; its files stay, its releases unless ``purge``."""
        return Deferred.fromCoroutine(self._delete(name, purge=purge))

    async def _delete(self, name: str, *, purge: bool) -> None:
        with self._deployments.alone(name):
            check_unneeded(self._store.document, name)
            if self._app(name).running:
                await self._want(name, running=False)
                await self._monitor.settled(name)
            await self._store.update(lambda document: document.without_app(name))
            if purge:
                await self._releases.purge(name)

    def start(self, name: str) -> Deferred[AppStatus]:
        """Start the app; fires when all its workers answer."""
        return Deferred.fromCoroutine(self._run(name, running=True))

    def stop(self, name: str) -> Deferred[AppStatus]:
        """Stop the app; fires when its processes are gone."""
        return Deferred.fromCoroutine(self._run(name, running=False))

    async def _run(self, name: str, *, running: bool) -> AppStatus:
        again = running and self._app(name).running
        await self._want(name, running=running)
        if again:  # it has been tried; whoever asks once more may have mended it
            self._monitor.retry(name)
        await self._monitor.settled(name)
        return self._status(name)

    async def _want(self, name: str, *, running: bool) -> None:
        def change(document: Document) -> Document:
            app = app_of(document, name)
            return document.with_app(name, msgspec.structs.replace(app, running=running))

        await self._store.update(change)

    def restart(self, name: str) -> Deferred[AppStatus]:
        """Replace the app's workers without an interruption; start it if it is stopped."""
        return Deferred.fromCoroutine(self._restart(name))

    async def _restart(self, name: str) -> AppStatus:
        if not self._app(name).running:
            return await self._run(name, running=True)
        await self._monitor.restart(name)
        return self._status(name)

    def deploy(self, name: str, order: Order, told: Callable[[Step], None]) -> Deferred[AppStatus]:
        """Make a release and run it; fires when its workers answer."""
        return Deferred.fromCoroutine(self._deployments.deploy(name, order, told))

    def rollback(self, name: str, release: str | None) -> Deferred[AppStatus]:
        """Run an earlier release: the one before the current one, or the named one."""
        return Deferred.fromCoroutine(self._deployments.rollback(name, release))

    def releases(self, name: str) -> list[Release]:
        """Return an app's releases, newest first."""
        return self._deployments.listed(name)

    def maintenance(self, name: str, wanted: Maintenance | None) -> Deferred[AppStatus]:
        """Begin an app's maintenance, change it, or (None) end it."""
        return Deferred.fromCoroutine(self._maintain(name, wanted))

    async def _maintain(self, name: str, wanted: Maintenance | None) -> AppStatus:
        def change(document: Document) -> Document:
            app = msgspec.structs.replace(app_of(document, name), maintenance=wanted)
            return document.with_app(name, app)

        await self._store.update(change)
        return self._status(name)

    def scale(self, name: str, instances: str) -> Deferred[AppStatus]:
        """Set the number of workers: ``N``, ``+N``, ``-N`` or ``max``."""
        return Deferred.fromCoroutine(self._scale(name, instances))

    async def _scale(self, name: str, instances: str) -> AppStatus:
        def change(document: Document) -> Document:
            app = app_of(document, name)
            check_has_workers(name, app)
            wanted = scaled(app, instances)
            return document.with_app(name, msgspec.structs.replace(app, instances=wanted))

        await self._store.update(change)
        if self._app(name).running:
            await self._monitor.settled(name)
        return self._status(name)

    def configuration(self, name: str | None) -> dict[str, Any]:
        """Return the settings, or an app's configuration, with defaults filled in."""
        if name is None:
            settings = self._store.document.settings
            return {**settings_in_force(settings, root=os.geteuid() == 0), **self._overrides}
        return every_key(self._app(name), APP_KEYS)

    def configure(self, name: str | None, changes: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Change keys of the settings or of an app; None puts a key back to its default."""
        return Deferred.fromCoroutine(self._configure(name, changes))

    async def _configure(self, name: str | None, changes: Mapping[str, Any]) -> dict[str, Any]:
        check_settable(changes)

        def change(document: Document) -> Document:
            if name is None:
                settings = changed_settings(document.settings, changes)
                return self._checked(msgspec.structs.replace(document, settings=settings))
            app = changed_app(name, app_of(document, name), changes)
            if {"type", "cwd", "script", "interpreter"} & set(changes):
                check_files(self._releases.placed(name, app))
            return self._checked(document.with_app(name, app))

        await self._store.update(change)
        return self.configuration(name)

    def test_notifications(self) -> Deferred[list[Notified]]:
        """Tell every target of the setting ``notify`` that this is a test."""
        return succeed([]) if self._notifier is None else self._notifier.test()

    def status(self, name: str | None) -> list[AppStatus]:
        """Return the live state of one app or of all."""
        if name is not None:
            self._app(name)
            return [self._status(name)]
        return [self._status(one) for one in sorted(self._store.document.apps)]

    def _status(self, name: str) -> AppStatus:
        status = self._monitor.status(name)
        certificate = self._certificate(name)
        return msgspec.structs.replace(
            status,
            trouble=(*status.trouble, *self._trouble(name)),
            certificate=certificate,
            maintenance=self._app(name).maintenance is not None,
            urls=(*self._secure_urls(certificate), *status.urls),
        )

    def _secure_urls(self, certificate: AppCertificate | None) -> list[str]:
        """Return the addresses over HTTPS that browsers trust."""
        settings = changed_settings(self._store.document.settings, self._overrides)
        _, port = settings.ports(root=os.geteuid() == 0)
        if certificate is None or not port:
            return []
        suffix = "" if port == HTTPS_PORT else f":{port}"
        hosts = [host for host in certificate.names if not host.startswith("*")]
        return [f"https://{host}{suffix}" for host in hosts]

    def deaths(self, name: str) -> DeathList:
        """Return the last deaths of an app's workers, and what they have in common."""
        self._app(name)
        return self._monitor.deaths(name)

    def tail(self, name: str, lines: int, stream: str | None) -> list[LogLine]:
        """Return an app's last log lines."""
        self._app(name)
        return self._log_of(stream).tail(name, lines, stream)

    def follow(
        self, name: str, callback: Callable[[LogLine], None], stream: str | None = None
    ) -> Callable[[], None]:
        """Call ``callback`` with every new line of an app's log, or of its access log."""
        self._app(name)
        return self._log_of(stream).follow(name, callback)

    def _log_of(self, stream: str | None) -> ILogs:
        return self._access if stream == ACCESS_STREAM else self._logs

    def _checked(self, document: Document) -> Document:
        """Return ``document`` if its apps get along, with the ports that are in force."""
        settings = changed_settings(document.settings, self._overrides)
        check_together(msgspec.structs.replace(document, settings=settings))
        return document

    def _app(self, name: str) -> App:
        return app_of(self._store.document, name)
