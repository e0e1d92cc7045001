"""The releases of every app: made, listed and removed below ``apps/`` of the home.

==========================================  =============================================
``apps/APP/releases/NAME/``                 a release; it belongs to the app's user
``apps/APP/releases/NAME.json``             written when it is complete: where it is from
``apps/APP/cache-UID/``                     what npm and others keep of downloads
==========================================  =============================================

What has no ``.json`` is unfinished or half removed, and is never run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from zope.interface import implementer

from ood.background import to_the_end
from ood.clock import stamp, wall_time
from ood.errors import OodError, ReleaseError, UnavailableError
from ood.interfaces import IReleases
from ood.model.document import App
from ood.model.release import Order, Release, placed, release_directory
from ood.procmon.core import environment, releases
from ood.procmon.releases.building import RELEASE_MODE, Building, Place, Told, source_of
from ood.procmon.system.accounts import Account, describe, find, obstacle
from ood.procmon.system.runner import Runner
from ood.procmon.system.runtime import NodeRuntime
from ood.procmon.workers.preflight import Command

REMOVE_SECONDS_MAX = 600.0
"""How long the removal of a release may take: node_modules has 100,000 files at times."""
PASSAGE_MODE = 0o711
"""Mode of the directories above a release: its user passes, and lists nothing."""

T = TypeVar("T")


@implementer(IReleases)
class Releases(Service):
    """Keeps every app's releases.

    :param reactor: starts processes.
    :param apps: the directory that holds all apps' files.
    :param runtime: where Node is.
    :param inherited: the environment of which commands get a part.
    :param chance: for names.
    """

    def __init__(
        self,
        reactor: IReactorProcess,
        clock: IReactorTime,
        apps: Path,
        *,
        runtime: NodeRuntime | None = None,
        inherited: Mapping[str, str] | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self._runner = Runner(reactor, clock)
        self._apps = apps
        self._runtime = runtime or NodeRuntime()
        self._inherited = os.environ if inherited is None else inherited
        self._chance = chance or random.Random()  # noqa: S311 - tells names apart
        self._running: set[Deferred[Any]] = set()

    def stopService(self) -> Deferred[None]:
        """End every command; fire when all are gone."""
        _ = super().stopService()  # type: ignore[no-untyped-call]
        running = list(self._running)
        ended: list[Deferred[None]] = [Deferred() for _ in running]
        for deferred, waiter in zip(running, ended, strict=True):
            _ = deferred.addBoth(_pass_on, waiter)
            deferred.cancel()
        return DeferredList(ended).addCallback(lambda _: None)

    def _tracked(self, begin: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        """Run a coroutine that the end of the service ends, too."""
        if not self.running:
            return Deferred.fromCoroutine(_stopping())
        deferred = Deferred.fromCoroutine(begin())
        self._running.add(deferred)

        def ended(result: T) -> T:
            self._running.discard(deferred)
            return result

        return deferred.addBoth(ended)

    # -- IReleases

    def placed(self, name: str, app: App) -> App:
        """Return ``app`` with the directory that it is really run in as its ``cwd``."""
        return placed(str(self._apps), name, app)

    def build(self, name: str, app: App, order: Order, told: Told) -> Deferred[str]:
        """Make a release; fire with its name."""
        return self._tracked(lambda: self._build(name, app, order, told))

    def listed(self, name: str, current: str | None) -> list[Release]:
        """Return the complete releases of an app, newest first."""
        found = (self._read(name, one) for one in releases.newest_first(self._entries(name)))
        return [
            msgspec.structs.replace(one, current=one.name == current)
            for one in found
            if one is not None
        ]

    def remove(self, name: str, release: str) -> Deferred[None]:
        """Remove a release; what can't be removed now is removed with the next one."""
        return self._tracked(lambda: self._remove(name, release))

    def prune(self, name: str, current: str | None) -> Deferred[None]:
        """Remove the oldest releases, and what is left of unfinished ones."""
        return self._tracked(lambda: self._prune(name, current))

    def purge(self, name: str) -> Deferred[None]:
        """Remove everything of an app."""
        return self._tracked(lambda: self._delete(self._apps / name))

    # -- making one

    async def _build(self, name: str, app: App, order: Order, told: Told) -> str:
        account = find(app.user, app.group)
        source = source_of(order.source or app.cwd, order.ref, account)
        chance = self._chance.getrandbits(16)
        release = releases.release_id(wall_time(), chance, self._entries(name))
        place = self._place(name, app, account, release)
        building = Building(self._runner, self._runtime, place, told)
        try:
            await building.fetch(source)
            await building.install(build=order.build)
            await building.settle()
            self._write(name, release, _shown(source), order.script or app.script)
        except BaseException:
            with suppress(OodError):  # what is left is unfinished, and goes with the next one
                await to_the_end(self._remove(name, release))
            raise
        return release

    def _place(self, name: str, app: App, account: Account, release: str) -> Place:
        """Make the directory of a new release."""
        own = self._apps / name
        target = Path(release_directory(str(self._apps), name, release))
        cache = own / f"cache-{account.uid}"
        try:
            for passage in (self._apps, own, target.parent):
                passage.mkdir(exist_ok=True)
                passage.chmod(PASSAGE_MODE)
            _give(cache, 0o700, account)
            _give(target, RELEASE_MODE, account)
        except OSError as error:
            reason = f"can't make {error.filename or target}: {error.strerror}"
            raise ReleaseError(reason, "is the disk full or read-only?") from None
        wall = obstacle(account, target, os.X_OK)
        if wall is not None:
            target.rmdir()
            reason = f"user {account.name} can't enter {wall} ({describe(wall)})"
            raise ReleaseError(reason, "use a home that it can pass through, such as /var/lib/ood")
        return Place(str(target), account, self._environment(name, app, account, cache))

    def _environment(self, name: str, app: App, account: Account, cache: Path) -> dict[str, str]:
        wish = environment.Wish(
            app=name,
            instance=0,
            port=app.port,
            account=environment.Account(account.name, account.home),
            inherited=self._inherited,
            own=app.env,
        )
        return releases.build_environment(environment.build(wish), str(cache))

    # -- what there is

    def _directory(self, name: str) -> Path:
        return self._apps / name / "releases"

    def _entries(self, name: str) -> list[str]:
        try:
            return os.listdir(self._directory(name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _record(self, name: str, release: str) -> Path:
        return self._directory(name) / f"{release}.json"

    def _read(self, name: str, release: str) -> Release | None:
        """Return what is written down of a release; None if it is not complete."""
        try:
            found = msgspec.json.decode(self._record(name, release).read_bytes(), type=Release)
        except (OSError, msgspec.DecodeError):
            return None
        return found if found.name == release else None

    def _write(self, name: str, release: str, source: str, script: str | None) -> None:
        now = stamp(wall_time())
        record = Release(name=release, time=now, source=source, script=script)
        try:
            with self._record(name, release).open("xb") as file:
                file.write(msgspec.json.encode(record) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            reason = f"can't write {self._record(name, release)}: {error.strerror}"
            raise ReleaseError(reason, "is the disk full?") from None

    # -- removing

    async def _remove(self, name: str, release: str) -> None:
        try:
            self._record(name, release).unlink(missing_ok=True)
        except OSError as error:
            reason = f"release {release} can't be removed: {error.strerror}"
            raise ReleaseError(reason, "is the disk read-only?") from None
        await self._delete(self._directory(name) / release)

    async def _prune(self, name: str, current: str | None) -> None:
        complete = [one.name for one in self.listed(name, current)]
        unfinished = {*releases.newest_first(self._entries(name))} - {*complete, current}
        for release in (*releases.superfluous(complete, current), *sorted(unfinished)):
            await self._remove(name, release)

    async def _delete(self, path: Path) -> None:
        """Remove a tree that an app's user filled; rm follows no symbolic link."""
        if not path.exists():
            return
        command = Command(("rm", "-rf", "--", str(path)), "/", find(None, None))
        env = {"PATH": environment.DEFAULT_PATH}
        outcome = await self._runner.run(
            command, env, seconds=REMOVE_SECONDS_MAX, said=lambda _: None
        )
        if outcome.fault:
            raise ReleaseError(f"{path} is not removed: rm {outcome.fault}", "", outcome.lines)


def _give(directory: Path, mode: int, account: Account) -> None:
    """Make a directory that belongs to ``account``."""
    directory.mkdir(exist_ok=True, mode=0o700)
    if account.other:
        os.chown(directory, account.uid, account.gid, follow_symlinks=False)
    directory.chmod(mode)


def _shown(source: releases.Source) -> str:
    """Return a source as it is written down."""
    if isinstance(source, releases.Git):
        url = releases.without_secret(source.url)
        return f"{url} {source.ref}" if source.ref else url
    return source.path


def _pass_on(result: T, waiter: Deferred[None]) -> T:
    waiter.callback(None)
    return result


async def _stopping() -> Any:
    raise UnavailableError("ood is stopping", "ask again once it runs")
