"""Releases with real commands: what is made, what is refused, and what is left behind."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

import psutil
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SkipTest, TestCase
from zope.interface.verify import verifyObject

from ood.clock import MonotonicClock
from ood.errors import InvalidError, OodError, ReleaseError, UnavailableError
from ood.interfaces import IReleases
from ood.model.document import App
from ood.model.release import Order
from ood.procmon.releases import building
from ood.procmon.releases.library import Releases
from ood.procmon.system.accounts import find
from ood.procmon.system.runner import Runner
from ood.procmon.workers.preflight import Command
from tests.procmon.support import alive, until

OTHER_USER = "nobody"

LONG = 1_000_000 + os.getpid()
"""Seconds that scripts sleep; nobody else's processes have this number."""


def run(test: Any) -> Any:
    """Let trial run a coroutine function."""

    @wraps(test)
    def wrapped(self: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))

    return wrapped


class ReleasesCase(TestCase):
    """A directory of apps, and an app's sources."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ood-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.directory)
        self.site = self.directory / "site"
        self.write("site/server.js", "// a server")
        self.app = App(cwd=str(self.site), port=3001, script="server.js")
        self.apps = self.directory / "apps"
        self.releases = Releases(reactor, MonotonicClock(reactor), self.apps)
        self.releases.startService()
        self.addCleanup(self.releases.stopService)
        self.told: list[tuple[str, str]] = []

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def package(self, **values: Any) -> None:
        """Write a package with a dependency that needs no registry."""
        self.write("site/dep/package.json", json.dumps({"name": "dep", "version": "1.0.0"}))
        plain = {"name": "site", "version": "1.0.0", "dependencies": {"dep": "file:dep"}, **values}
        self.write("site/package.json", json.dumps(plain))

    def build(self, **order: Any) -> Deferred[str]:
        return self.releases.build(
            "app", self.app, Order(**order), lambda *step: self.told.append(step)
        )

    async def made(self, **order: Any) -> Path:
        return self.apps / "app/releases" / await self.build(**order)

    async def refused(self, kind: type[OodError], **order: Any) -> OodError:
        """Return why no release was made; nothing may be left of it."""
        try:
            await self.build(**order)
        except kind as error:
            self.assertEqual(self.left(), [])
            return error
        raise AssertionError("it was made")

    def left(self) -> list[str]:
        directory = self.apps / "app/releases"
        return os.listdir(directory) if directory.exists() else []


class MakingTests(ReleasesCase):
    """Each source, each fault."""

    def test_interface(self) -> None:
        """The contract is kept."""
        verifyObject(IReleases, self.releases)

    @run
    async def test_directory(self) -> None:
        """A directory is copied with its links, and what it was is written down."""
        (self.site / "link").symlink_to("server.js")
        release = await self.made()
        self.assertEqual((release / "server.js").read_text(), "// a server")
        self.assertEqual(os.readlink(release / "link"), "server.js")
        self.assertEqual(stat.S_IMODE(release.stat().st_mode), 0o750)
        (listed,) = self.releases.listed("app", release.name)
        self.assertEqual((listed.source, listed.current), (str(self.site), True))
        self.assertEqual(listed.script, "server.js")
        self.assertEqual(self.told[0], (f"copying {self.site}", ""))

    @run
    async def test_linked_directory(self) -> None:
        """A link is followed where it leads now."""
        link = self.directory / "current"
        link.symlink_to(self.site)
        release = await self.made(source=str(link))
        self.assertFalse(release.is_symlink())
        self.assertTrue((release / "server.js").is_file())

    def git(self, *arguments: str) -> None:
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
        command = ("git", "-C", str(self.site), *identity, *arguments)
        subprocess.run(command, check=True, capture_output=True)

    @run
    async def test_git(self) -> None:
        """Default branch, tag and commit of a repository; a bad ref is named."""
        self.git("init", "-q", "-b", "main")
        self.git("add", ".")
        self.git("commit", "-qm", "1")
        self.git("tag", "v1")
        self.write("site/server.js", "// newer")
        self.git("commit", "-qam", "2")
        url = f"file://{self.site}"
        for order, text in (
            ({"source": url}, "// newer"),
            ({"source": url, "ref": "v1"}, "// a server"),
            ({"source": str(self.site), "ref": "main"}, "// newer"),
        ):
            release = await self.made(**order)
            self.assertEqual((release / "server.js").read_text(), text)
        shutil.rmtree(self.apps)
        error = await self.refused(ReleaseError, source=url, ref="v2")
        self.assertIn("no such branch, tag or commit", error.message)
        self.assertTrue(getattr(error, "log", ()))
        error = await self.refused(ReleaseError, source=f"file://{self.directory}/none.git")
        self.assertIn("there is no such git repository", error.message)

    @run
    async def test_archives(self) -> None:
        """Archives are unpacked, from the one directory that holds all if there is one."""
        for end, mode, wrapper in (
            ("tar", "w", "."),
            ("tgz", "w:gz", "x"),
            ("tar.xz", "w:xz", "x"),
        ):
            (self.site / wrapper / "x").mkdir(parents=True, exist_ok=True)
            path = self.directory / f"site.{end}"
            with tarfile.open(path, mode) as file:
                file.add(self.site, wrapper)
            release = await self.made(source=str(path))
            self.assertEqual((release / "server.js").read_text(), "// a server")
            self.assertTrue((release / "x").is_dir())
            self.assertFalse((release / ".ood-unpacked").exists())

    @run
    async def test_bad_archives(self) -> None:
        """What is none is refused with tar's words; nothing is written beside the release."""
        broken = self.write("broken.tgz", "not an archive")
        error = await self.refused(ReleaseError, source=str(broken))
        self.assertIn("unpacking", error.message)
        evil = self.directory / "evil.tar"
        with tarfile.open(evil, "w") as file:
            file.add(self.site / "server.js", "../../escaped.js")
        await self.refused(ReleaseError, source=str(evil))
        self.assertFalse((self.apps / "app/escaped.js").exists())
        fifo = self.directory / "fifo.tar"
        os.mkfifo(fifo)
        await self.refused(InvalidError, source=str(fifo))

    @run
    async def test_no_source(self) -> None:
        """A source that is not there, or none, is named."""
        for order in ({"source": "/no/such"}, {"source": "/no.tgz"}, {"source": "x", "ref": "-x"}):
            error = await self.refused(InvalidError, **order)
            self.assertIn("source", error.message)

    @run
    async def test_npm(self) -> None:
        """Dependencies are there; a lock file decides how; the worker's variables are not."""
        self.package()
        release = await self.made()
        self.assertTrue((release / "node_modules/dep/package.json").exists())
        self.assertFalse((self.site / "node_modules").exists())
        shutil.copy(release / "package-lock.json", self.site)
        self.app = App(cwd=self.app.cwd, port=1, env={"NODE_OPTIONS": "--require ./none.js"})
        await self.made()
        steps = [step for step, line in self.told if not line]
        self.assertIn("installing dependencies (npm, by package.json)", steps)
        self.assertIn("installing dependencies (npm, by package-lock.json)", steps)

    @run
    async def test_npm_fails(self) -> None:
        """npm's own words go with the error, and nothing is left."""
        self.package(dependencies={"dep": "file:dep/none.tgz"})
        error = await self.refused(ReleaseError)
        self.assertIn("installing dependencies", error.message)
        self.assertIn("none.tgz", "".join(getattr(error, "log", ())))

    @run
    async def test_build(self) -> None:
        """The build script runs if asked for, with what only development needs."""
        self.package(
            dependencies={},
            devDependencies={"dep": "file:dep"},
            scripts={"build": "test -d node_modules/dep && echo built > out.txt"},
        )
        self.assertFalse(((await self.made()) / "out.txt").exists())
        self.assertEqual(((await self.made(build=True)) / "out.txt").read_text(), "built\n")
        shutil.rmtree(self.apps)
        self.package(scripts={"build": "echo no; exit 3"})
        error = await self.refused(ReleaseError, build=True)
        self.assertIn("exited with status 3", error.message)
        self.package()
        self.assertIn("no script build", (await self.refused(ReleaseError, build=True)).message)

    @run
    async def test_other_user(self) -> None:
        """Everything is made by, and belongs to, the app's user, who needs no home."""
        if os.geteuid() != 0:
            raise SkipTest("only root can become another user")
        self.package(scripts={"build": "id -un > who.txt"})
        group = grp.getgrgid(pwd.getpwnam(OTHER_USER).pw_gid).gr_name
        self.app = App(cwd=str(self.site), port=1, user=OTHER_USER, group=group)
        release = await self.made(build=True)
        self.assertEqual((release / "who.txt").read_text().strip(), OTHER_USER)
        owners = {path.owner() for path in (release, *release.rglob("*"))}
        self.assertEqual(owners, {OTHER_USER})
        self.assertEqual((release.parent.owner(), self.apps.owner()), ("root", "root"))
        self.assertEqual(stat.S_IMODE(release.parent.stat().st_mode), 0o711)

    @run
    async def test_unreadable(self) -> None:
        """What the app's user may not read is named before anything is made."""
        if os.geteuid() != 0:
            raise SkipTest("only root can become another user")
        self.app = App(cwd=str(self.site), port=1, user=OTHER_USER)
        secret = self.write("site/secret", "x")
        secret.chmod(0o600)
        error = await self.refused(ReleaseError)
        self.assertIn("the app's user may not do that", error.message)
        self.assertIn("secret", "".join(getattr(error, "log", ())))
        self.site.chmod(0o700)
        error = await self.refused(ReleaseError)
        self.assertIn(f"user {OTHER_USER} can't read {self.site}", error.message)

    @run
    async def test_no_room(self) -> None:
        """Where nothing can be written, that is said."""
        self.write("apps", "a file")
        error = await self.refused_without_room()
        self.assertIn("can't make", error.message)

    async def refused_without_room(self) -> OodError:
        try:
            await self.build()
        except ReleaseError as error:
            return error
        raise AssertionError("it was made")

    @run
    async def test_too_slow(self) -> None:
        """A command that takes too long is ended, with what it started."""
        self.patch(building, "BUILD_SECONDS_MAX", 0.5)
        self.package(scripts={"build": f"sleep {LONG} & sleep {LONG}"})
        error = await self.refused(ReleaseError, build=True)
        self.assertIn("took longer than", error.message)
        self.assertEqual(sleepers(), [])

    @run
    async def test_cancelled(self) -> None:
        """Cancelled, its commands are ended, and nothing is left."""
        await self.interrupted(lambda building: building.cancel())

    @run
    async def test_service_stops(self) -> None:
        """The end of the service ends what is being made; later orders are refused."""
        await self.interrupted(lambda _: self.releases.stopService())
        await self.refused(UnavailableError)

    async def interrupted(self, end: Any) -> None:
        self.package(scripts={"build": f"echo begun; trap '' TERM; sleep {LONG} & sleep {LONG}"})
        building = self.build(build=True)
        await until(lambda: ("building (npm run build)", "begun") in self.told)
        await until(lambda: len(sleepers()) == 2)
        stopped = end(building)
        try:
            await building
        except CancelledError:
            pass
        else:
            raise AssertionError("it went on")
        if stopped is not None:
            await stopped
        self.assertEqual((sleepers(), self.left()), ([], []))


def sleepers() -> list[int]:
    """Return the processes that the scripts of these tests have started."""
    line = ["sleep", str(LONG)]
    return [one.pid for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == line]


class KeepingTests(ReleasesCase):
    """What stays and what goes."""

    @run
    async def test_prune(self) -> None:
        """Five stay, the current one among them; unfinished ones go."""
        names = [(await self.made()).name for _ in range(7)]
        names.sort()
        (self.apps / "app/releases/20200101-000000-0000/x").mkdir(parents=True)
        self.write("apps/app/releases/20200101-000001-0000.json", "{}")
        (self.apps / "app/releases/20200101-000001-0000").mkdir()
        await self.releases.prune("app", names[0])
        kept = {names[0], *names[3:]}
        self.assertEqual({one.name for one in self.releases.listed("app", None)}, kept)
        directories = {name for name in self.left() if not name.endswith(".json")}
        self.assertEqual(directories, kept)

    @run
    async def test_remove(self) -> None:
        """A removed release is gone, what its links lead to is not."""
        release = await self.made()
        (release / "away").symlink_to(self.site)
        await self.releases.remove("app", release.name)
        self.assertEqual((self.left(), self.releases.listed("app", None)), ([], []))
        self.assertTrue((self.site / "server.js").exists())

    @run
    async def test_purge(self) -> None:
        """Everything of an app goes; an app that has nothing is no error."""
        await self.made()
        await self.releases.purge("app")
        await self.releases.purge("app")
        self.assertEqual(os.listdir(self.apps), [])

    def test_placed(self) -> None:
        """An app is run in its release, or else in its own directory."""
        self.assertEqual(self.releases.placed("app", self.app), self.app)
        app = App(cwd="/srv", port=1, release="20260102-030405-1a2b")
        cwd = self.releases.placed("app", app).cwd
        self.assertEqual(cwd, f"{self.apps}/app/releases/20260102-030405-1a2b")


class RunnerTests(TestCase):
    """Commands are run to their end."""

    def setUp(self) -> None:
        self.runner = Runner(reactor, MonotonicClock(reactor))
        self.said: list[str] = []

    def sh(self, script: str, **options: Any) -> Coroutine[Any, Any, Any]:
        command = Command(("sh", "-c", script), "/", find(None, None))
        env = {"PATH": os.environ["PATH"]}
        return self.runner.run(command, env, seconds=20, said=self.said.append, **options)

    @run
    async def test_lines(self) -> None:
        """Every line is told, the last ones go with the outcome, a bar only as it ended."""
        outcome = await self.sh("seq 30; printf '10%%\\r100%%\\nno end'")
        self.assertEqual(self.said, [*map(str, range(1, 31)), "100%", "no end"])
        self.assertEqual(outcome.lines, tuple(self.said[-20:]))
        self.assertEqual(outcome.fault, "")

    @run
    async def test_faults(self) -> None:
        """Exit statuses and signals are told apart."""
        self.assertEqual((await self.sh("exit 7")).fault, "exited with status 7")
        fault = (await self.sh("kill -KILL $$")).fault
        self.assertEqual(fault, f"was killed by {signal.SIGKILL.name}")

    @run
    async def test_stdin(self) -> None:
        """A command reads what it is given, else nothing."""
        with tempfile.TemporaryFile() as file:
            file.write(b"given\n")
            file.flush()
            file.seek(0)
            await self.sh("cat", stdin=file.fileno())
        await self.sh("cat; echo end")
        self.assertEqual(self.said, ["given", "end"])

    @run
    async def test_flood(self) -> None:
        """A flood of output costs no memory, and the end of it is kept."""
        outcome = await self.sh("head -c 30000000 /dev/zero | tr '\\0' x; echo; echo end")
        self.assertEqual(outcome.lines[-1], "end")
        self.assertTrue(all(len(line) <= 2000 for line in outcome.lines))

    @run
    async def test_left_behind(self) -> None:
        """A child that a command left behind, holding its output, is ended."""
        await self.sh("sleep 603 & echo $!")
        self.assertFalse(alive(int(self.said[0])))
