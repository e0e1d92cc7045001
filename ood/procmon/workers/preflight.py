"""What is checked before a worker is started, so that the error says what to do."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood.errors import WorkerError
from ood.model.document import App
from ood.procmon.core.environment import DEFAULT_PATH
from ood.procmon.system.accounts import Account, describe, find, obstacle
from ood.procmon.system.runtime import NodeRuntime

PACKAGE_BYTES_MAX = 4 << 20
"""Longest package.json that is read: real ones have some kilobytes."""


@dataclass(frozen=True)
class Command:
    """What is to be run, resolved: symbolic links lead to where they lead now.

    :ivar program_directory: where the chosen Node is; empty for other programs.
    """

    argv: tuple[str, ...]
    cwd: str
    account: Account
    program_directory: str = ""


def package(cwd: str) -> dict[str, Any]:
    """Return the package.json in ``cwd``; empty if there is none that can be read."""
    path = os.path.join(cwd, "package.json")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return {}
            plain = json.loads(file.read(PACKAGE_BYTES_MAX))
    except (OSError, ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _reach(account: Account, path: Path, bit: int, key: str, hint: str = "") -> str:
    """Return ``path`` resolved if ``account`` may do ``bit`` with it.

    :param hint: what to do if it may not, where that is not the usual.
    """
    try:
        real = path.resolve(strict=True)
        wall = obstacle(account, real, bit)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        correct = f"correct it with: ood config -a APP -s {key} PATH"
        raise WorkerError(f"{key}: {path}: {reason}", correct) from None
    if wall is not None:
        verb = {os.R_OK: "read", os.X_OK: "enter" if wall.is_dir() else "run"}[bit]
        verb = "enter" if wall.is_dir() else verb
        raise WorkerError(
            f"{key}: user {account.name} can't {verb} {wall} ({describe(wall)})",
            hint or f"give {account.name} the right, or set another user",
        )
    return str(real)


def runnable(account: Account, program: str, what: str) -> str:
    """Return ``program`` as it is if ``account`` may run it.

    The Node of a virtual environment in somebody's home is out of reach for others.

    :param what: how an error calls it.
    :raises WorkerError: it may not.
    """
    hint = f"install {what} where every user can run it, or give {account.name} the right"
    _reach(account, Path(program), os.X_OK, what, hint)
    return program


def _script(app: App, account: Account, cwd: str, bit: int) -> str:
    if app.script is None:
        raise WorkerError("script: none is set", "ood config -a APP -s script FILE")
    return _reach(account, Path(cwd) / app.script, bit, "script")


def _npm_script(app: App, cwd: str) -> str:
    name = app.script or "start"
    scripts = package(cwd).get("scripts")
    scripts = scripts if isinstance(scripts, dict) else {}
    if name not in scripts:
        there = ", ".join(sorted(map(str, scripts))) or "none"
        raise WorkerError(f"script: {cwd}/package.json has no script {name}", f"there are: {there}")
    return name


def command(app: App, runtime: NodeRuntime, inherited_path: str | None = None) -> Command:
    """Return what to run for ``app``.

    :raises WorkerError: something it needs is not there or not permitted.
    """
    account = find(app.user, app.group)
    cwd = _reach(account, Path(app.cwd), os.X_OK, "cwd")
    if not os.path.isdir(cwd):
        raise WorkerError(f"cwd: {cwd} is not a directory", "ood config -a APP -s cwd PATH")
    if app.interpreter == "node":
        node = runnable(account, runtime.node(), "node")
        script = _script(app, account, cwd, os.R_OK)
        argv = (node, *app.node_args, script, *app.args)
        return Command(argv, cwd, account, os.path.dirname(node))
    if app.interpreter == "npm":
        script = _npm_script(app, cwd)
        extra = ("--", *app.args) if app.args else ()
        node = runnable(account, runtime.node(), "node")
        argv = (*runtime.npm(), "run", script, *extra)
        return Command(argv, cwd, account, os.path.dirname(node))
    if app.interpreter == "none":
        return Command((_script(app, account, cwd, os.X_OK), *app.args), cwd, account)
    path = app.env.get("PATH") or inherited_path or DEFAULT_PATH
    program = runnable(account, runtime.program(app.interpreter, path), "interpreter")
    return Command((program, _script(app, account, cwd, os.R_OK), *app.args), cwd, account)
