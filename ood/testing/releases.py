"""Releases without commands, for tests of what stands above them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import rmtree

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ood.errors import OodError
from ood.interfaces import IReleases
from ood.model.document import App
from ood.model.release import Order, Release, placed, release_directory


@implementer(IReleases)
class MemoryReleases:
    """Makes releases at once: directories with one file in them.

    :ivar failure: if set, the next build fails with it.
    :ivar held: if not None, builds wait here until a test fires them.
    :ivar file: what a release holds.
    :ivar pruned: for which current releases it was told to prune.
    """

    def __init__(self, apps: Path) -> None:
        self._apps = str(apps)
        self._made: dict[str, list[Release]] = {}
        self.failure: OodError | None = None
        self.held: list[Deferred[None]] | None = None
        self.file = "server.js"
        self.pruned: list[str | None] = []

    def placed(self, name: str, app: App) -> App:
        """Return ``app`` with the directory that it is really run in as its ``cwd``."""
        return placed(self._apps, name, app)

    def build(
        self, name: str, app: App, order: Order, told: Callable[[str, str], None]
    ) -> Deferred[str]:
        """Make a release at once, or when the test lets it go on."""
        if self.failure is not None:
            failure, self.failure = self.failure, None
            return fail(failure)
        told("copying", "")
        gate: Deferred[None] = succeed(None)
        if self.held is not None:
            gate = Deferred()
            self.held.append(gate)
        source, script = order.source or app.cwd, order.script or app.script
        return gate.addCallback(lambda _: self._make(name, source, script))

    def _make(self, name: str, source: str, script: str | None) -> str:
        made = self._made.setdefault(name, [])
        release = f"20260102-0304{len(made):02}-0000"
        directory = Path(release_directory(self._apps, name, release))
        directory.mkdir(parents=True)
        (directory / self.file).touch()
        time = "2026-01-02T03:04:05.000Z"
        made.insert(0, Release(name=release, time=time, source=source, script=script))
        return release

    def listed(self, name: str, current: str | None) -> list[Release]:
        """Return what was made, newest first."""
        return [
            msgspec.structs.replace(one, current=one.name == current)
            for one in self._made.get(name, ())
        ]

    def remove(self, name: str, release: str) -> Deferred[None]:
        """Remove a release."""
        self._made[name] = [one for one in self._made[name] if one.name != release]
        rmtree(release_directory(self._apps, name, release))
        return succeed(None)

    def prune(self, name: str, current: str | None) -> Deferred[None]:
        """Note it."""
        self.pruned.append(current)
        return succeed(None)

    def purge(self, name: str) -> Deferred[None]:
        """Remove everything of an app."""
        self._made.pop(name, None)
        rmtree(Path(self._apps) / name, ignore_errors=True)
        return succeed(None)
