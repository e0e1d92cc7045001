"""What a PM2 entry runs: its spellings of a command, in the words of ood's settings.

PM2 takes a file, a program on the PATH, or a whole command as ``script``, and chooses an
interpreter by a file's ending.  These functions are pure.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

Find = Callable[[str, str], "str | None"]
"""``find(name, cwd)``: the program ``name`` on the PATH; None if it is a file in ``cwd``."""

SPELLINGS: Mapping[str, str] = {
    "cmd": "script",
    "command": "script",
    "exec": "script",
    "cron": "cron_restart",
    "interpreterArgs": "node_args",
    "interpreter_args": "node_args",
}
"""Other names that PM2 has for its keys."""
INTERPRETERS: Mapping[str, str] = {
    ".sh": "bash", ".py": "python3", ".rb": "ruby", ".pl": "perl", ".php": "php",
}  # fmt: skip
"""What PM2 runs files with, by their ending; all others are for node."""

_RUNNERS = ("npm", "pnpm", "yarn")
_NODE = re.compile(r"(?:node|nodejs)(?:@.*)?")
_WITH_VALUE = frozenset({"-r", "--require", "--import", "--loader", "--experimental-loader"})
_FOR_A_SHELL = re.compile(r"[;&|<>$`*]")


@dataclass(frozen=True)
class PackageScript:
    """A script of package.json.

    :ivar runner: npm, pnpm or yarn.
    :ivar args: what the script gets.
    """

    runner: str
    name: str
    args: tuple[str, ...]


def words_of(args: Any) -> list[str]:
    """Return the arguments that ``args`` are, a text or a list.

    :raises ValueError: a quotation mark is not closed.
    """
    return shlex.split(args) if isinstance(args, str) else [str(one) for one in args or ()]


def spelled_out(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with PM2's first names for keys, and a ``script`` that is one word."""
    plain = dict(entry)
    for other, name in SPELLINGS.items():
        if other in plain and name not in plain:
            plain[name] = plain.pop(other)
    try:
        _split(plain)
    except ValueError:  # a quotation mark that is not closed: the service refuses it
        return plain
    return plain


def _split(entry: dict[str, Any]) -> None:
    """Take a command apart."""
    script = entry.get("script")
    if not isinstance(script, str) or _FOR_A_SHELL.search(script):
        return
    if " " in script.strip():
        first, *rest = shlex.split(script)
        entry["script"], entry["args"] = first, [*rest, *words_of(entry.get("args"))]
    if PurePath(entry["script"]).name in {"node", "nodejs"} and entry.get("args"):
        _take_node_away(entry, words_of(entry["args"]))


def _take_node_away(entry: dict[str, Any], words: Sequence[str]) -> None:
    """Make ``node FLAGS SCRIPT ARGS`` what it is called with."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in _WITH_VALUE else 1
    if at < len(words) and not {"-e", "-p", "--eval", "--print"} & set(words[:at]):
        flags = [*words_of(entry.get("node_args")), *words[:at]]
        entry["script"], entry["args"] = words[at], list(words[at + 1 :])
        entry["node_args"] = flags


def package_script(entry: Mapping[str, Any]) -> PackageScript | None:
    """Return what an entry such as ``npm`` with ``run start -- --port 1`` runs, else None."""
    runner = PurePath(str(entry.get("script") or entry.get("pm_exec_path") or "")).name
    if runner not in _RUNNERS:
        return None
    try:
        words = words_of(entry.get("args"))
    except ValueError:
        return None
    words = words[1:] if words[:1] in (["run"], ["run-script"]) else words
    if not words or words[0].startswith("-"):
        return None
    name, *rest = words
    if rest[:1] == ["--"]:
        rest = rest[1:]
    elif runner == "npm" and any(one.startswith("-") for one in rest):
        return None  # options of npm's own
    return PackageScript(runner, name, tuple(rest))


def interpreter_of(entry: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return what runs the script, None for node, and a note on what is lost by that."""
    given = entry.get("interpreter") or entry.get("exec_interpreter")
    if given is None:
        return INTERPRETERS.get(PurePath(str(entry.get("script") or "")).suffix), ""
    if not _NODE.fullmatch(PurePath(str(given)).name):
        return str(given), ""
    if given in {"node", "nodejs"}:
        return None, ""
    return None, f"interpreter: {given} became node: ood has one Node for all apps, see ood doctor"
