"""Making one release: its sources, its dependencies, its build; all as the app's user."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ood.errors import Fault, InvalidError, ReleaseError
from ood.procmon.core import releases as core
from ood.procmon.core.environment import DEFAULT_PATH
from ood.procmon.core.heard import Heard
from ood.procmon.system.accounts import Account, describe, obstacle
from ood.procmon.system.runner import Runner
from ood.procmon.system.runtime import NodeRuntime
from ood.procmon.workers.preflight import Command, package, runnable

FETCH_SECONDS_MAX = 900.0
"""How long sources may take: a large repository over a slow line."""
INSTALL_SECONDS_MAX = 1800.0
"""How long dependencies may take: some compile for many minutes."""
BUILD_SECONDS_MAX = 1800.0
"""How long a build script may take."""
SYNC_SECONDS_MAX = 300.0
"""How long the disk may take to write all of it down."""

RELEASE_MODE = 0o750
"""Mode of a release: it may hold secrets, so nobody but its user and group reads it."""

Told = Callable[[str, str], None]
"""``told(step, line)``: what is being done, and what a command just wrote, if anything."""


@dataclass(frozen=True)
class Place:
    """Where a release is made, and as whom.

    :ivar target: its directory, which is there and empty.
    :ivar env: the environment of its commands.
    """

    target: str
    account: Account
    env: Mapping[str, str]


def source_of(text: str, ref: str | None, account: Account) -> core.Source:
    """Return the source that ``text`` names, if ``account`` can be given it.

    :raises InvalidError: there is none.
    :raises ReleaseError: the account may not read it.
    """
    allowed = "the path of a directory or an archive, or a git URL"
    try:
        source = core.parse_source(text, ref)
    except ValueError as error:
        raise InvalidError([Fault("source", str(error), allowed)]) from None
    if isinstance(source, core.Archive) and not os.path.isfile(source.path):
        raise InvalidError([Fault("source", f"there is no file {source.path}", allowed)])
    if isinstance(source, core.Directory):
        if not os.path.isdir(source.path):
            raise InvalidError([Fault("source", f"{source.path} is not a directory", allowed)])
        _check_readable(account, Path(source.path))
    return source


def _check_readable(account: Account, path: Path) -> None:
    try:
        wall = obstacle(account, path, os.R_OK) or obstacle(account, path, os.X_OK)
    except (OSError, RuntimeError) as error:
        raise ReleaseError(f"{path} can't be read: {error}", "name another source") from None
    if wall is not None:
        raise ReleaseError(
            f"user {account.name} can't read {wall} ({describe(wall)})",
            f"give {account.name} the right, or deploy an archive, which ood itself opens",
        )


class Building:
    """Makes one release.

    :param told: hears what is being done.
    """

    def __init__(self, runner: Runner, runtime: NodeRuntime, place: Place, told: Told) -> None:
        self._runner = runner
        self._runtime = runtime
        self._place = place
        self._told = told
        self._step = ""

    async def fetch(self, source: core.Source) -> None:
        """Bring the sources into the directory."""
        await self._fetch(source)
        # cp and tar give it the mode that it had where it comes from.
        os.chmod(self._place.target, RELEASE_MODE)

    async def _fetch(self, source: core.Source) -> None:
        target = self._place.target
        if isinstance(source, core.Archive):
            self._begin(f"unpacking {source.path}")
            await self._unpack(source)
            return
        if isinstance(source, core.Git):
            self._begin(f"fetching {core.without_secret(source.url)} {source.ref or ''}".rstrip())
        else:
            self._begin(f"copying {source.path}")
        for command in core.fetch_commands(source, target):
            await self._do(command, FETCH_SECONDS_MAX)

    async def _unpack(self, source: core.Archive) -> None:
        target = self._place.target
        (command,) = core.fetch_commands(source, target)
        try:
            descriptor = os.open(source.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            reason = f"{source.path} can't be read: {error.strerror}"
            raise ReleaseError(reason, "name another file") from None
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ReleaseError(f"{source.path} is not a file", "name a file")
            await self._do(command, FETCH_SECONDS_MAX, file.fileno())
        entries = os.listdir(target)
        if len(entries) == 1 and os.path.isdir(f"{target}/{entries[0]}"):
            for one in core.unwrap_commands(target, entries[0]):
                await self._do(one, FETCH_SECONDS_MAX)

    async def install(self, *, build: bool) -> None:
        """Install what the sources need, and run their build script if asked to."""
        install = core.choose_install(os.listdir(self._place.target), build=build)
        if build and "build" not in self._scripts():
            hint = "deploy without --build, or add one"
            raise ReleaseError("package.json has no script build", hint)
        if install is None:
            return
        program = self._manager(install.program)
        self._use_node()
        self._begin(f"installing dependencies ({install.program}, by {install.because})")
        await self._do((*program, *install.arguments), INSTALL_SECONDS_MAX)
        if build:
            self._begin(f"building ({install.program} run build)")
            await self._do((*program, "run", "build"), BUILD_SECONDS_MAX)

    def _scripts(self) -> Mapping[str, object]:
        scripts = package(self._place.target).get("scripts")
        return scripts if isinstance(scripts, dict) else {}

    def _manager(self, program: str) -> tuple[str, ...]:
        if program == "npm":
            return self._runtime.npm()
        return (self._found(program, f"install it: npm install --global {program}"),)

    def _use_node(self) -> None:
        """Let the commands find the Node that will run the app."""
        node = runnable(self._place.account, self._runtime.node(), "node")
        directory = os.path.dirname(node)
        path = self._place.env.get("PATH", DEFAULT_PATH)
        if directory not in path.split(":"):
            env = {**self._place.env, "PATH": f"{directory}:{path}"}
            self._place = replace(self._place, env=env)

    def _found(self, program: str, hint: str) -> str:
        path = shutil.which(program, path=self._place.env.get("PATH", DEFAULT_PATH))
        if path is None:
            raise ReleaseError(f"there is no program {program}", hint)
        return path

    async def settle(self) -> None:
        """See that the files outlast a power failure: the document will rely on them."""
        self._begin("writing to the disk")
        await self._do(("sync", "-f", self._place.target), SYNC_SECONDS_MAX)

    def _begin(self, step: str) -> None:
        self._step = step
        self._told(step, "")

    async def _do(self, argv: tuple[str, ...], seconds: float, stdin: int | None = None) -> None:
        """Run a command of the present step.

        :raises ReleaseError: it failed.
        """
        program = self._found(argv[0], f"install it (apt install {os.path.basename(argv[0])})")
        place, heard = self._place, Heard()

        def said(line: str) -> None:
            heard.take(line)
            self._told(self._step, line)

        outcome = await self._runner.run(
            Command((program, *argv[1:]), place.target, place.account),
            place.env,
            seconds=seconds,
            said=said,
            stdin=stdin,
        )
        if outcome.fault:
            reason, hint = heard.explain()
            why = reason or f"it {outcome.fault}"
            raise ReleaseError(f"{self._step} failed: {why}", hint, heard.lines)
