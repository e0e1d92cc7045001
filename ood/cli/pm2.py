"""Reading what PM2 was told: ecosystem files and its dump.

PM2 evaluates ``ecosystem.config.js`` with Node, so ood does, too; ``.json`` files
and ``dump.pm2`` are plain JSON.  :func:`translate` is pure: it says what an entry
becomes and names every key that could not be carried over.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ood.errors import Fault, InvalidError
from ood.model.schema import APP_KEYS

FILE_BYTES_MAX = 16 << 20
"""Longest file that is read: a dump of hundreds of apps has less."""
EVALUATE_SECONDS_MAX = 20
"""How long an ecosystem file may take to say what it holds."""

_EVALUATE = (
    "const m = require(process.argv[1]);"
    "process.stdout.write('\\n\\u0001' + JSON.stringify(m && m.default ? m.default : m))"
)

RENAMED: Mapping[str, str] = {
    "script": "script",
    "pm_exec_path": "script",
    "cwd": "cwd",
    "pm_cwd": "cwd",
    "args": "args",
    "node_args": "nodeArgs",
    "interpreter_args": "nodeArgs",
    "max_memory_restart": "maxMemoryRestart",
    "min_uptime": "minUptime",
    "max_restarts": "maxRestarts",
    "autorestart": "autorestart",
    "restart_delay": "restartDelay",
    "exp_backoff_restart_delay": "expBackoffRestartDelay",
    "cron_restart": "cronRestart",
    "watch": "watch",
    "ignore_watch": "ignoreWatch",
    "wait_ready": "waitReady",
    "listen_timeout": "listenTimeout",
    "kill_timeout": "killTimeout",
    "uid": "user",
    "username": "user",
    "gid": "group",
    "source_map_support": "sourceMapSupport",
}
"""PM2's keys and ood's names for them."""

NEEDLESS: Mapping[str, str] = {
    "exec_mode": "workers always share the port",
    "merge_logs": "an app has one log, each line with its worker",
    "combine_logs": "an app has one log, each line with its worker",
    "log_date_format": "each log line has an RFC 3339 time stamp",
    "time": "each log line has a time stamp",
    "instance_var": "the worker's number is NODE_APP_INSTANCE",
    "pmx": "nothing is injected for monitoring",
    "automation": "nothing is injected for monitoring",
    "vizion": "ood does not read version control",
    "treekill": "the whole process group is always ended",
    "force": "one script may serve several apps",
    "windowsHide": "ood runs on Linux",
    "autostart": "ood start starts an app, and the service remembers it",
    "kill_retry_time": "ood asks the kernel when a process is gone",
    "watch_delay": "a restart waits until nothing has changed for 200 ms",
    "name": "",
    "version": "read from package.json",
}
"""Keys that need no counterpart, and why."""

_LOG_KEYS = ("out_file", "error_file", "err_file", "log_file", "output", "error", "log")
_ERROR = re.compile(r"\w*Error\b")
_RUNNERS = ("npm", "pnpm", "yarn")
_OFF = frozenset({"cron_restart", "watch"})
"""Keys for which 0 and false mean that there is none."""
_DUMP_STATE = re.compile(
    r"^(pm_(?!exec_path|cwd)\w+|status|created_at|restart_time|unstable_restarts|exit_code|"
    r"axm_\w+|km_link|node_version|versioning|unique_id|prev_restart_delay|vizion_running|"
    r"env|namespace|filter_env|NODE_APP_INSTANCE|_\w+|[A-Z][A-Z0-9_]*)$"
)


@dataclass
class Imported:
    """An entry of PM2's in ood's words.

    :ivar name: the app's name, made fit for a host name.
    :ivar values: what ``ood init`` is given.
    :ivar notes: what could not be carried over, or is done otherwise.
    """

    name: str
    values: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def fitting_name(text: str) -> str:
    """Return ``text`` as a name that an app may have."""
    plain = re.sub(r"[^a-z0-9_.-]+", "-", text.lower())
    return re.sub(r"\.[-.]*", ".", plain).strip("-.")[:60] or "app"


def _package_script(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return program and script of an entry such as ``npm`` with ``run start``, else None."""
    runner = os.path.basename(str(entry.get("script") or entry.get("pm_exec_path") or ""))
    args = entry.get("args") or ()
    words = shlex.split(args) if isinstance(args, str) else [str(one) for one in args]
    words = words[1:] if words[:1] in (["run"], ["run-script"]) else words
    if runner in _RUNNERS and len(words) == 1 and not words[0].startswith("-"):
        return runner, words[0]
    return None


def _interpreter(entry: Mapping[str, Any]) -> str | None:
    name = entry.get("interpreter") or entry.get("exec_interpreter")
    if name is None or os.path.basename(str(name)) in {"node", "nodejs"}:
        return None
    return str(name)


def _instances(value: Any, processors: int) -> Any:
    if value in {0, "0", "max"}:
        return "max"
    if isinstance(value, int) and value < 0:
        return max(1, processors + value)
    return value


def _environment(entry: Mapping[str, Any], choice: str | None) -> dict[str, str]:
    merged: dict[str, Any] = {}
    for key in ("env", f"env_{choice}"):
        part = entry.get(key)
        merged.update(part if isinstance(part, dict) else {})
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in merged.items()
        if value is not None and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
    }


def translate(
    entry: Mapping[str, Any], base: Path, *, choice: str | None = None, processors: int = 1
) -> Imported:
    """Return what one of PM2's entries becomes.

    :param base: the directory that relative paths start from.
    :param choice: which ``env_<choice>`` is merged into the environment.
    :param processors: what ``instances: -1`` counts down from.
    """
    is_dump = "pm_exec_path" in entry
    name = str(entry.get("name") or Path(str(entry.get("script", "app"))).stem)
    result = Imported(fitting_name(name), {})
    if result.name != name:
        result.notes.append(f"name: {name} became {result.name}")
    for key, value in entry.items():
        if value is not None:
            _carry(result, key, value, choice, is_dump=is_dump)
    if "instances" in entry:
        result.values["instances"] = _instances(entry["instances"], processors)
    interpreter = _interpreter(entry)
    if interpreter is not None:
        result.values["interpreter"] = interpreter
    environment = _environment(entry, choice)
    if environment.pop("PORT", None) is not None:
        result.notes.append("env.PORT: ood says which port; several apps may listen on the same")
    if environment:
        result.values["env"] = environment
    if is_dump:
        taken = ", ".join(environment) or "none"
        result.notes.append(
            f"env: a dump mixes the app's variables with the shell's; taken as the app's: {taken}"
        )
    _settle_interpreter(result)
    _settle_watch(result)
    _settle_paths(result.values, base)
    package = _package_script(entry)
    if package is not None:
        runner, result.values["script"] = package
        result.values["interpreter"] = "npm"
        result.values.pop("args", None)
        if runner != "npm":
            result.notes.append(f"script: {runner} runs as npm run {package[1]}")
    return result


def _carry(result: Imported, key: str, value: Any, choice: str | None, *, is_dump: bool) -> None:
    """Carry one key over, or note why not."""
    target = RENAMED.get(key)
    if target is not None and target in APP_KEYS:
        if value not in ("", []) and not (key in _OFF and value in (0, "0")):
            result.values[target] = value
    elif key in {"instances", "interpreter", "exec_interpreter"} or NEEDLESS.get(key) == "":
        return
    elif is_dump and (key in NEEDLESS or _DUMP_STATE.match(key) or key.startswith("env_")):
        return  # defaults of PM2's that nobody set, and variables that are in env already
    elif key in {"env", f"env_{choice}"}:
        return
    elif key.startswith("env_"):
        result.notes.append(f"{key}: import with --env {key[4:]} to take these variables")
    elif key in _LOG_KEYS:
        result.notes.append(f"{key}: ood keeps the log itself; see ood log {result.name}")
    elif key in NEEDLESS:
        result.notes.append(f"{key}: not needed, {NEEDLESS[key]}")
    else:
        result.notes.append(f"{key}: ood has no such setting")


def _settle_interpreter(result: Imported) -> None:
    """Leave out what only Node takes."""
    interpreter = result.values.get("interpreter")
    if interpreter is not None and result.values.pop("nodeArgs", None):
        result.notes.append(
            f"interpreter_args: only node gets some; make a script that calls {interpreter}"
        )


def _settle_watch(result: Imported) -> None:
    """Leave out patterns that are regular expressions: ood takes globs."""
    patterns = result.values.pop("ignoreWatch", [])
    patterns = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(patterns, list):
        patterns = [patterns]
    globs = [one for one in patterns if isinstance(one, str) and one and "\\" not in one]
    if globs:
        result.values["ignoreWatch"] = globs
    for one in patterns:
        if one not in globs:
            shown = one if isinstance(one, str) else "a regular expression"
            result.notes.append(
                f"ignore_watch: {shown} is no glob; names that begin with a dot are never watched"
            )


def _settle_paths(values: dict[str, Any], base: Path) -> None:
    """Make ``cwd`` absolute and ``script`` relative to it where that is possible."""
    given = values.get("cwd")
    cwd = Path(os.path.normpath(base / given)) if given else base
    script = values.get("script")
    if script is not None:
        path = Path(os.path.normpath((cwd if given else base) / script))
        if path.is_relative_to(cwd):
            values["script"] = str(path.relative_to(cwd))
        else:
            values["script"] = str(path)
    values["cwd"] = str(cwd)


def read(path: Path, node: str | None) -> list[Mapping[str, Any]]:
    """Return the entries of an ecosystem file or a dump.

    :param node: the Node that evaluates a ``.js`` file.
    :raises InvalidError: it can't be read, or holds no apps.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise _refused(path, f"is longer than {FILE_BYTES_MAX >> 20} MiB")
        plain = (
            _evaluate(path, node)
            if path.suffix in {".js", ".cjs", ".mjs"}
            else json.loads(path.read_text(encoding="utf-8"))
        )
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from None
    except ValueError as error:
        raise _refused(path, f"is not valid JSON: {error}") from None
    entries = plain.get("apps", [plain]) if isinstance(plain, dict) else plain
    entries = [entries] if isinstance(entries, dict) else entries
    if not isinstance(entries, list) or not entries:
        raise _refused(path, "holds no apps")
    if not all(isinstance(one, dict) and {"script", "pm_exec_path"} & set(one) for one in entries):
        raise _refused(path, "has an app without a script")
    return entries


def _refused(path: Path, why: str) -> InvalidError:
    allowed = "ecosystem.config.js, a .json of the same form, or dump.pm2"
    return InvalidError([Fault(str(path), why, allowed)])


def _evaluate(path: Path, node: str | None) -> Any:
    """Let Node say what a ``.js`` file exports; only its own process can be hurt by it."""
    if node is None:
        raise _refused(path, "needs Node to be read, and there is none on the PATH")
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the user named this file
            [node, "-e", _EVALUATE, str(path.absolute())],
            capture_output=True,
            text=True,
            timeout=EVALUATE_SECONDS_MAX,
            check=False,
            cwd=path.parent,
        )
    except subprocess.TimeoutExpired:
        raise _refused(path, f"did not end within {EVALUATE_SECONDS_MAX} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if _ERROR.match(line)]
        raise _refused(path, f"Node says: {lines[0] if lines else 'it failed'}")
    return json.loads(done.stdout.rpartition("\n\x01")[2])
