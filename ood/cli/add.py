"""``ood init``: what the options say, what the directory says, and what to do next."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ood.cli.detect import Directory, Found, detect, sticky_package
from ood.cli.session import Invocation, Session
from ood.errors import NotFoundError

OF_PROGRAMS = ("script", "interpreter", "instances", "user", "env")
"""Options that have a meaning only for what ood runs."""


def add(invocation: Invocation, app: str, options: Mapping[str, Any]) -> None:
    """Add an app."""
    values = _given(options)
    _check_one_kind(options)
    if options["upstreams"]:
        _add_remote(invocation, app, values)
        return
    invocation.must_be_here("init")
    if options["static"]:
        _add_files(invocation, app, {**values, "cwd": str(_directory(options["static"]))})
        return
    directory = _directory(options["cwd"])
    values["cwd"] = str(directory)
    if not directory.is_dir():
        raise NotFoundError(f"{directory} is not a directory", "name the app's with --cwd DIR")
    found = None if "script" in values else _find(directory, values)
    if found is not None:
        env = {**found.env, **values.get("env", {})}
        values = {**found.values(), **values, **({"env": env} if env else {})}
    owner = None if "user" in values else _owner(directory)
    if owner:
        values["user"] = owner

    async def work(session: Session) -> None:
        from ood.cli.verbs import init

        await init(session, app, values, f"{found.command()}  ({found.why})" if found else "")

    invocation.run(work)
    if not invocation.output.json:
        _next(invocation, app, found, owner, as_root=os.geteuid() == 0 and "user" not in values)
        _tell_stickiness(invocation, app, sticky_package(Directory(directory)))


def _check_one_kind(options: Mapping[str, Any]) -> None:
    """Check that the options say one thing about what answers."""
    kinds = [name for name in ("static", "upstreams") if options[name]]
    programs = [name for name in OF_PROGRAMS if options[name]]
    if kinds and (len(kinds) > 1 or programs):
        words = {"upstreams": "upstream"}
        names = [f"--{words.get(name, name)}" for name in (*kinds, *programs)]
        raise click.UsageError(f"{' and '.join(names)} don't go together")


def _add_remote(invocation: Invocation, app: str, values: Mapping[str, Any]) -> None:
    """Add an app whose servers are elsewhere."""
    _add_without_workers(invocation, app, {**values, "type": "proxy"})


def _add_files(invocation: Invocation, app: str, values: Mapping[str, Any]) -> None:
    """Add an app that is just files."""
    _add_without_workers(invocation, app, {**values, "type": "static"})


def _add_without_workers(invocation: Invocation, app: str, values: Mapping[str, Any]) -> None:
    async def work(session: Session) -> None:
        from ood.cli.verbs import init

        await init(session, app, values, "")

    invocation.run(work)
    if not invocation.output.json:
        _next(invocation, app, None, None)


def _directory(cwd: str | None) -> Path:
    try:
        return Path(cwd or ".").expanduser().absolute()
    except FileNotFoundError:
        raise NotFoundError("this directory is gone", "name the app's with --cwd DIR") from None


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given, as configuration."""
    values: dict[str, Any] = {
        key: options[key]
        for key in ("script", "interpreter", "instances", "user", "port")
        if options[key] is not None
    }
    if options["upstreams"]:
        values["upstreams"] = list(options["upstreams"])
    if options["domains"]:
        values["domains"] = list(options["domains"])
    if options["env"]:
        values["env"] = dict(_variable(text) for text in options["env"])
    if options["default"]:
        values["default"] = True
    return values


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError(f"--env {text}: write it as NAME=VALUE")
    return name, value


def _find(directory: Path, values: Mapping[str, Any]) -> Found | None:
    """Find out what to run, unless the interpreter says that it is something else."""
    if values.get("interpreter") == "npm":
        return Found("start", "npm's usual script", "npm")
    if values.get("interpreter", "node") != "node":
        raise click.UsageError("--interpreter needs --script FILE")
    return detect(Directory(directory))


def _owner(directory: Path) -> str | None:
    """Return whom the app should run as: not root, but who owns its directory."""
    owner = directory.stat().st_uid
    if os.geteuid() != 0 or owner == 0:
        return None
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return None


def _next(
    invocation: Invocation,
    app: str,
    found: Found | None,
    owner: str | None,
    as_root: bool = False,
) -> None:
    say = invocation.output.say
    if as_root:
        say("It will run as root: a hole in it would be a hole in the machine. Better:")
        say(f"  useradd --system --user-group NAME && ood config -a {app} -s user NAME")
    if owner:
        say(f"It will run as {owner}, who owns the directory.")
        say(f"Another user: ood config -a {app} -s user NAME")
    if found is not None and found.uninstalled:
        say("Its dependencies are not installed yet; do that first: npm install --omit=dev")
    say(f"Next: ood start {app}")


def _tell_stickiness(invocation: Invocation, app: str, package: str) -> None:
    """Say what an app needs whose clients' first requests all have to reach one worker."""
    if package:
        say = invocation.output.say
        say(f"It uses {package}: with more than one worker its clients have to stay with theirs.")
        say(f"Before you scale it: ood config -a {app} -s sticky cookie")
