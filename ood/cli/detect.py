"""What to run in a directory: found from package.json and file names.

Pure but for :class:`Directory`, the seam to the file system.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ood.errors import NotFoundError

PACKAGE = "package.json"
USUAL_NAMES = ("server", "app", "index")
"""Names of the file that starts an app, the most telling first."""
ENDINGS = (".js", ".mjs", ".cjs")
"""What Node runs."""
PACKAGE_BYTES_MAX = 1 << 20
"""Longest package.json that is read: a longer one is something else."""

STICKY_PACKAGES = frozenset({"socket.io", "sockjs", "engine.io"})
"""Servers whose clients begin with several requests that one worker has to get."""

_SHELL = re.compile(r"[&|;<>()$`*?\"'\\~#{}\n]")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_WITH_VALUE = {"-r", "--require", "--import", "--loader", "--env-file"}


class Files(Protocol):
    """A directory as detection sees it."""

    def text(self, name: str) -> str | None:
        """Return the content of a file; None if there is none."""

    def has(self, name: str) -> bool:
        """Tell whether ``name`` is a file."""

    def has_directory(self, name: str) -> bool:
        """Tell whether ``name`` is a directory."""


@dataclass(frozen=True)
class Directory:
    """A directory on the disk.

    :ivar path: where it is.
    """

    path: Path

    def text(self, name: str) -> str | None:
        """Return the content of a file; None if there is none."""
        try:
            with (self.path / name).open("rb") as file:
                return file.read(PACKAGE_BYTES_MAX).decode("utf-8-sig", "replace")
        except (FileNotFoundError, IsADirectoryError):
            return None

    def has(self, name: str) -> bool:
        """Tell whether ``name`` is a file."""
        return (self.path / name).is_file()

    def has_directory(self, name: str) -> bool:
        """Tell whether ``name`` is a directory."""
        return (self.path / name).is_dir()


@dataclass(frozen=True)
class Found:
    """What to run.

    :ivar script: the file, or with npm the script's name.
    :ivar why: where that was found.
    :ivar interpreter: what runs it.
    :ivar args: arguments for the script.
    :ivar node_args: arguments for node.
    :ivar env: environment variables.
    :ivar uninstalled: whether the app has dependencies that are not installed.
    """

    script: str
    why: str
    interpreter: str = "node"
    args: tuple[str, ...] = ()
    node_args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    uninstalled: bool = False

    def values(self) -> dict[str, Any]:
        """Return it as configuration; what is empty is left out."""
        values = {
            "script": self.script,
            "interpreter": self.interpreter if self.interpreter != "node" else "",
            "args": list(self.args),
            "nodeArgs": list(self.node_args),
            "env": self.env,
        }
        return {key: value for key, value in values.items() if value}

    def command(self) -> str:
        """Return what will run, as a person would type it."""
        if self.interpreter == "npm":
            return f"npm run {self.script}"
        env = [f"{name}={value}" for name, value in self.env.items()]
        words = [self.interpreter, *self.node_args, self.script, *self.args]
        return " ".join((*env, shlex.join(words)))


def detect(files: Files) -> Found:
    """Return what to run.

    :raises NotFoundError: nothing was found, or what was found can't run.
    """
    package = _package(files)
    missing = bool(package.get("dependencies")) and not files.has_directory("node_modules")
    found = _from_start(files, package) or _from_main(files, package) or _from_names(files)
    if found is None:
        names = ", ".join(f"{name}.js" for name in USUAL_NAMES)
        raise NotFoundError(
            f"found nothing to run: no start script or main in {PACKAGE}, no {names}",
            "name the file with --script FILE, or the directory with --cwd DIR",
        )
    return Found(**{**vars(found), "uninstalled": missing})


def sticky_package(files: Files) -> str:
    """Return the package for whose sake clients should stay with one worker; empty without."""
    try:
        names = _package(files).get("dependencies")
    except NotFoundError:
        return ""
    return min(STICKY_PACKAGES.intersection(names), default="") if isinstance(names, dict) else ""


def _package(files: Files) -> dict[str, Any]:
    text = files.text(PACKAGE)
    if text is None:
        return {}
    try:
        package = json.loads(text)
    except ValueError as error:
        raise NotFoundError(
            f"{PACKAGE} is not valid JSON: {error}", "mend it, or name the file with --script FILE"
        ) from None
    return package if isinstance(package, dict) else {}


def _from_start(files: Files, package: dict[str, Any]) -> Found | None:
    scripts = package.get("scripts")
    scripts = scripts if isinstance(scripts, dict) else {}
    start = scripts.get("start")
    if not isinstance(start, str) or not start.strip():
        return None
    why = f"scripts.start in {PACKAGE}"
    through_npm = Found("start", why, "npm")
    if "prestart" in scripts or "poststart" in scripts or _SHELL.search(start):
        return through_npm
    plain = _plain_node(start.split())
    if plain is None:
        return through_npm
    env, node_args, file, args = plain
    script = _file(files, file)
    if script is None and files.has_directory(file):
        return through_npm
    if script is None:
        build = (
            "build it first: npm run build" if "build" in scripts else "is it still to be built?"
        )
        raise NotFoundError(f"{why} runs {file}, which does not exist", build)
    return Found(script, why, args=args, node_args=node_args, env=env)


def _plain_node(
    words: list[str],
) -> tuple[dict[str, str], tuple[str, ...], str, tuple[str, ...]] | None:
    """Split ``[NAME=VALUE …] node [OPTION …] FILE [ARG …]``; None if it is something else."""
    env: dict[str, str] = {}
    while words and (match := _ASSIGNMENT.fullmatch(words[0])):
        env[match[1]] = match[2]
        words = words[1:]
    if not words or words[0] != "node":
        return None
    position = 1
    while position < len(words) and words[position].startswith("-"):
        if words[position] in _WITH_VALUE:
            position += 1
        elif "=" not in words[position]:
            return None  # it may or may not take the next word as its value
        position += 1
    if position >= len(words):
        return None
    return env, tuple(words[1:position]), words[position], tuple(words[position + 1 :])


def _from_main(files: Files, package: dict[str, Any]) -> Found | None:
    main = package.get("main")
    if not isinstance(main, str) or not main:
        return None
    script = _file(files, main) or _file(files, f"{main.rstrip('/')}/index")
    return Found(script, f"main in {PACKAGE}") if script else None


def _from_names(files: Files) -> Found | None:
    for name in USUAL_NAMES:
        script = _file(files, name)
        if script:
            return Found(script, f"the file {script}")
    return None


def _file(files: Files, name: str) -> str | None:
    """Return the file that Node runs for ``name``; None if there is none."""
    name = name.removeprefix("./")
    return next((name + end for end in ("", *ENDINGS) if name and files.has(name + end)), None)
