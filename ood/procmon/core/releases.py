"""Releases: their names, where they come from, and how they are made ready.

Pure functions; the commands they choose are carried out by
``ood.procmon.releases.library``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ood.model import kinds

RELEASES_KEPT = 5
"""How many releases stay, the one in use included: enough to go back a working day."""

_MOMENT = "%Y%m%d-%H%M%S"
_LAST = 0xFFFF
_GIT_URL = re.compile(r"(?:(?:https?|ssh|git|file)://|git\+|[\w.-]+@[\w.-]+:)")
_ARCHIVE = re.compile(r"\.(tar|tar\.gz|tgz|tar\.xz|txz|tar\.bz2|tbz2|tar\.zst)$")
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@+-]{0,199}")


def release_id(moment: datetime, chance: int, names: Collection[str]) -> str:
    """Return the name of a release made at ``moment``.

    Names sort in the order in which releases were made, even within a second or if the
    clock was set back: what comes before the current one is decided by them.

    :param chance: a random number, so that a name says which release is meant even if
        releases are made on several machines.
    :param names: those that there are already.
    """
    made = f"{moment:{_MOMENT}}-{chance & _LAST:04x}"
    newest = next(iter(newest_first(names)), "")
    return made if made > newest else _after(newest)


def _after(name: str) -> str:
    """Return the name that follows ``name``."""
    stem, _, number = name.rpartition("-")
    if int(number, 16) < _LAST:
        return f"{stem}-{int(number, 16) + 1:04x}"
    moment = datetime.strptime(stem, _MOMENT) + timedelta(seconds=1)
    return f"{moment:{_MOMENT}}-0000"


def is_release_id(text: str) -> bool:
    """Tell whether ``text`` can be the name of a release."""
    try:
        kinds.RELEASE.parse(text)
    except ValueError:
        return False
    return True


def newest_first(names: Collection[str]) -> list[str]:
    """Return those of ``names`` that name releases, newest first."""
    return sorted(filter(is_release_id, names), reverse=True)


def superfluous(names: Collection[str], current: str | None) -> list[str]:
    """Return the releases to remove: all but the newest ones and the one in use."""
    others = [name for name in newest_first(names) if name != current]
    return others[RELEASES_KEPT - (current is not None) :]


@dataclass(frozen=True)
class Directory:
    """Sources in a directory of this machine."""

    path: str


@dataclass(frozen=True)
class Git:
    """Sources in a git repository.

    :ivar ref: branch, tag or commit; None is the repository's default branch.
    """

    url: str
    ref: str | None


@dataclass(frozen=True)
class Archive:
    """Sources in an archive.

    :ivar compression: tar's option for it; empty if there is none.
    """

    path: str
    compression: str


Source = Directory | Git | Archive

_COMPRESSIONS = {
    ".gz": "--gzip", ".tgz": "--gzip", ".xz": "--xz", ".txz": "--xz",
    ".bz2": "--bzip2", ".tbz2": "--bzip2", ".zst": "--zstd",
}  # fmt: skip


def parse_source(text: str, ref: str | None) -> Source:
    """Return what ``text`` names: a git URL, an archive, or a directory.

    A path is a git repository where a ref says so, or its name ends with ``.git``.

    :raises ValueError: it names nothing usable; the message says why.
    """
    if ref is not None and not _REF.fullmatch(ref):
        raise ValueError(f"{ref} is no branch, tag or commit")
    if any(ord(character) < 32 for character in text):
        raise ValueError("the source contains a control character")
    if _GIT_URL.match(text):
        return Git(text.removeprefix("git+"), ref)
    if not text.startswith("/"):
        raise ValueError(f"{text} is neither an absolute path nor a git URL")
    if _ARCHIVE.search(text):
        if ref is not None:
            raise ValueError("a ref goes with a git repository, not with an archive")
        ends = (option for end, option in _COMPRESSIONS.items() if text.endswith(end))
        return Archive(text, next(ends, ""))
    if ref is not None or text.endswith(".git"):
        return Git(text, ref)
    return Directory(text)


def without_secret(text: str) -> str:
    """Return a source as it may be written down: without the password in its URL."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", text)


def fetch_commands(source: Source, target: str) -> Sequence[tuple[str, ...]]:
    """Return the commands that bring ``source`` into the empty directory ``target``.

    An archive comes on the standard input of its command.
    """
    match source:
        case Directory(path=path):
            return (("cp", "-a", "--no-preserve=ownership", "--", f"{path}/.", target),)
        case Archive(compression=compression):
            options = (compression,) if compression else ()
            return (("tar", "-x", "--no-same-owner", *options, "-f", "-", "-C", target),)
        case Git(url=url, ref=ref):
            git = ("git", "-C", target)
            modules = ("submodule", "-q", "update", "--init", "--recursive", "--depth", "1")
            return (
                (*git, "init", "-q"),
                (*git, "fetch", "-q", "--depth", "1", "--", url, ref or "HEAD"),
                (*git, "-c", "advice.detachedHead=false", "checkout", "-q", "FETCH_HEAD"),
                (*git, *modules),
            )


def unwrap_commands(target: str, wrapper: str) -> Sequence[tuple[str, ...]]:
    """Return the commands that put what is in the directory ``wrapper`` in its place.

    ``npm pack`` and most forges wrap what they archive in one directory.
    """
    aside = f"{target}/.ood-unpacked"  # it may hold an entry of its own name
    move = ("-exec", "mv", "-t", target, "--", "{}", "+")
    return (
        ("mv", "--", f"{target}/{wrapper}", aside),
        ("find", aside, "-mindepth", "1", "-maxdepth", "1", *move),
        ("rmdir", "--", aside),
    )


@dataclass(frozen=True)
class Install:
    """The command that installs dependencies.

    :ivar program: ``npm``, ``pnpm`` or ``yarn``.
    :ivar because: the file that decided it, for the person who watches.
    """

    program: str
    arguments: tuple[str, ...]
    because: str


_QUIET = ("--no-audit", "--no-fund")
_INSTALLS = (
    Install("pnpm", ("install", "--frozen-lockfile"), "pnpm-lock.yaml"),
    Install("yarn", ("install", "--frozen-lockfile"), "yarn.lock"),
    Install("npm", ("ci", *_QUIET), "npm-shrinkwrap.json"),
    Install("npm", ("ci", *_QUIET), "package-lock.json"),
    Install("npm", ("install", *_QUIET), "package.json"),
)
_PRODUCTION = {"npm": "--omit=dev", "pnpm": "--prod", "yarn": "--production=true"}
_EVERYTHING = {"npm": "--include=dev", "pnpm": "--prod=false", "yarn": "--production=false"}


def choose_install(files: Collection[str], *, build: bool) -> Install | None:
    """Return how to install the dependencies of a directory that holds ``files``.

    :param build: a build script runs afterwards, so what it needs is installed, too.
    """
    if "package.json" not in files:
        return None
    chosen = next(one for one in _INSTALLS if one.because in files)
    extent = (_EVERYTHING if build else _PRODUCTION)[chosen.program]
    return Install(chosen.program, (*chosen.arguments, extent), chosen.because)


def build_environment(worker: Mapping[str, str], cache: str) -> dict[str, str]:
    """Return the environment of commands that make a release.

    It is the worker's own, so that a token for a private registry is there, but not
    what only makes sense in a worker.  Nothing asks the person who is not there.

    :param cache: a directory for what is downloaded: not every user has a home.
    """
    dropped = {"PORT", "NODE_APP_INSTANCE", "NODE_OPTIONS"}
    silent = {
        "CI": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
        "XDG_CACHE_HOME": cache,
        "YARN_CACHE_FOLDER": f"{cache}/yarn",
        "npm_config_cache": f"{cache}/npm",
        "npm_config_store_dir": f"{cache}/pnpm",
    }
    return {**silent, **{key: value for key, value in worker.items() if key not in dropped}}
