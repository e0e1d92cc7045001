"""Deployments: a new release is made, then run; or an earlier one is run again.

The document changes last: until the new workers answer, everything is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec
from twisted.internet.interfaces import IReactorTime

from ood.apps import app_of, check_files, check_has_files
from ood.background import to_the_end
from ood.errors import ConflictError, InvalidError, NoReleaseError, NotFoundError, OodError
from ood.events import EventBus
from ood.interfaces import IProcessMonitor, IReleases, IStore
from ood.model.apptypes import NODE
from ood.model.document import App, Document
from ood.model.release import REMOVING, STARTING, SWITCHING, Order, Release, Step
from ood.model.schema import changed_app
from ood.model.status import AppStatus

OWN_DIRECTORY = "cwd"
"""What ``rollback`` calls the app's own directory; no release can have that name."""

Told = Callable[[Step], None]


class Deployments:
    """Makes releases and goes from one to another, one at a time for each app.

    :param clock: measures how long a deployment takes.
    :param events: told how each one ended.
    """

    def __init__(
        self,
        store: IStore,
        monitor: IProcessMonitor,
        releases: IReleases,
        clock: IReactorTime,
        events: EventBus,
    ) -> None:
        self._store = store
        self._monitor = monitor
        self._releases = releases
        self._clock = clock
        self._events = events
        self._busy: set[str] = set()

    async def deploy(self, name: str, order: Order, told: Told) -> AppStatus:
        """Make a release and run it.

        Until the new workers are started it can be cancelled.
        """
        began = self._clock.seconds()

        def tell(step: str, line: str = "") -> None:
            elapsed_ms = round((self._clock.seconds() - began) * 1000)
            told(Step(step=step, elapsed_ms=elapsed_ms, line=line))

        check_has_files(name, self._app(name))
        if order.script is not None:
            changed_app(name, self._app(name), {"script": order.script})  # it may not be allowed
        with self.alone(name), self._told(name, "deploy", "deployment"):
            release = await self._releases.build(name, self._app(name), order, tell)
            await to_the_end(self._use_new(name, release, order.script, tell))
        return self._monitor.status(name)

    async def rollback(self, name: str, release: str | None) -> AppStatus:
        """Run an earlier release."""
        check_has_files(name, self._app(name))
        with self.alone(name):
            wanted = self._earlier(name, release)
            with self._told(name, "rollback", "roll-back"):
                await to_the_end(self._switch(name, wanted))
        return self._monitor.status(name)

    def listed(self, name: str) -> list[Release]:
        """Return an app's releases, newest first."""
        return self._releases.listed(name, self._app(name).release)

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Keep others from changing the app's releases meanwhile.

        :raises ConflictError: somebody does so already.
        """
        if name in self._busy:
            hint = "wait until that is done, or end it with Ctrl-C where it was begun"
            raise ConflictError(f"{name} is being deployed already", hint)
        self._busy.add(name)
        try:
            yield
        finally:
            self._busy.discard(name)

    @contextmanager
    def _told(self, name: str, action: str, noun: str) -> Iterator[None]:
        """Make an event of how what is done meanwhile ends."""
        began = self._clock.seconds()
        before = self._app(name).release or OWN_DIRECTORY

        def tell(outcome: str, text: str, reason: str = "") -> None:
            now = self._store.document.apps.get(name)
            release = (now.release if now is not None else None) or OWN_DIRECTORY
            elapsed_ms = round((self._clock.seconds() - began) * 1000)
            told = {"before": before, "release": release, "elapsedMs": elapsed_ms}
            data = {"action": action, "outcome": outcome, "reason": reason, **told}
            self._events.publish("deploy", text.replace("RELEASE", release), name, **data)

        try:
            yield
        except OodError as error:
            text = f"the {noun} of {name} failed; RELEASE serves on: {error.message}"
            tell("failed", text, error.message)
            raise
        except BaseException:
            tell("cancelled", f"the {noun} of {name} was cancelled; RELEASE serves on")
            raise
        tell("succeeded", f"{name} runs RELEASE after a {noun}")

    async def _use_new(
        self, name: str, release: str, script: str | None, tell: Callable[[str], None]
    ) -> None:
        try:
            app = self._app(name)
            starts = app.running and app.type == NODE
            tell(STARTING if starts else SWITCHING)
            await self._switch(name, release, script)
        except BaseException:
            with suppress(OodError):  # what is left of it goes with the next deployment
                await self._releases.remove(name, release)
            raise
        tell(REMOVING)
        with suppress(OodError):
            await self._releases.prune(name, release)

    async def _switch(self, name: str, release: str | None, script: str | None = None) -> None:
        """Run ``release``, and if that succeeds write it down.

        :param script: what to run from then on; None: as before.
        """
        app = self._app(name)
        candidate = self._candidate(name, app, release, script)
        check_files(candidate)
        other = None if candidate.script == app.script else candidate.script
        if app.running:
            await self._monitor.restart(name, candidate)
        try:
            await self._store.update(lambda document: _with_release(document, name, release, other))
        except OodError:
            if app.running and name in self._store.document.apps:
                with suppress(OodError):  # the first reason is the one to tell
                    await self._monitor.restart(name, self._placed(name, app, app.release))
            raise

    def _candidate(self, name: str, app: App, release: str | None, script: str | None) -> App:
        """Return what is to be run: what ``release`` was made for if it lacks the app's script."""
        candidate = self._placed(name, app, release)
        if script is None:
            try:
                check_files(candidate)
            except InvalidError:
                made = self._releases.listed(name, None)
                script = next((one.script for one in made if one.name == release), None)
        return candidate if script is None else msgspec.structs.replace(candidate, script=script)

    def _placed(self, name: str, app: App, release: str | None) -> App:
        return self._releases.placed(name, msgspec.structs.replace(app, release=release))

    def _earlier(self, name: str, wanted: str | None) -> str | None:
        """Return the release that is meant.

        :raises OodError: there is none, or it is run already.
        """
        current, listed = self._app(name).release, self.listed(name)
        names = [release.name for release in listed]
        if wanted is None:
            return _before(name, current, names)
        target = None if wanted == OWN_DIRECTORY else wanted
        if target is not None and target not in names:
            raise NotFoundError(f"{name} has no release {wanted}", _choice(names))
        if target == current:
            raise ConflictError(f"{name} runs {wanted} already", _choice(names))
        return target

    def _app(self, name: str) -> App:
        return app_of(self._store.document, name)


def _before(name: str, current: str | None, names: list[str]) -> str:
    """Return the newest release that is older than ``current``."""
    if current is None:
        raise NoReleaseError(f"{name} runs its own directory: no release", _choice(names))
    found = next((one for one in names if one < current), None)
    if found is None:
        hint = f"{_choice(names)}; cwd goes back to the app's own directory"
        raise NoReleaseError(f"{name} has no release before {current}", hint)
    return found


def _choice(names: list[str]) -> str:
    return f"releases: {', '.join(names)}" if names else "make one with: ood deploy APP"


def _with_release(
    document: Document, name: str, release: str | None, script: str | None
) -> Document:
    """Return the document with a release, and another script if there is one."""
    app = msgspec.structs.replace(app_of(document, name), release=release)
    return document.with_app(
        name, app if script is None else msgspec.structs.replace(app, script=script)
    )
