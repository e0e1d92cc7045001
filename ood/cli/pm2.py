"""Reading what PM2 was told: ecosystem files and its dump.

PM2 evaluates ``ecosystem.config.js`` with Node, so ood does, too; ``.json`` and ``.yaml``
files and ``dump.pm2`` are data.  :func:`translate` is pure: it says what an entry becomes
and names every key that could not be carried over.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ood.cli.pm2command import SPELLINGS, Find, interpreter_of, package_script, spelled_out
from ood.errors import Fault, InvalidError
from ood.model.schema import APP_KEYS

FILE_BYTES_MAX = 16 << 20
"""Longest file that is read: a dump of hundreds of apps has less."""
EVALUATE_SECONDS_MAX = 20
"""How long an ecosystem file may take to say what it holds."""

_TELL = "process.stdout.write('\\n\\u0001' + JSON.stringify(m && m.default ? m.default : m))"
_MODULE = (
    "(async () => { const path = process.argv[1]; let m;"
    "try { m = require(path) } catch (error) {"
    "if (!/^ERR_REQUIRE_(ESM|ASYNC_MODULE)$/.test(error.code)) throw error;"
    "m = await import(require('url').pathToFileURL(path)) }"
    f"{_TELL} }})()"
)
"""Reads a module; what Node before 20.19 can't require, it imports."""
_EXPRESSION = (
    "const text = require('fs').readFileSync(process.argv[1], 'utf8');"
    f"const m = require('vm').runInNewContext('(' + text + '\\n)'); {_TELL}"
)
"""Reads an object that is written as JavaScript has it."""

RENAMED: Mapping[str, str] = {
    "script": "script",
    "pm_exec_path": "script",
    "cwd": "cwd",
    "pm_cwd": "cwd",
    "args": "args",
    "node_args": "nodeArgs",
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
_TRUTHS = ("autorestart", "waitReady")
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


def _instances(value: Any, processors: int) -> Any:
    if value in {0, "0", "max"}:
        return "max"
    if isinstance(value, int) and value < 0:
        return max(1, processors + value)
    return value


def _environment(result: Imported, entry: Mapping[str, Any], choice: str | None) -> dict[str, str]:
    merged: dict[str, Any] = {}
    for key in ("env", f"env_{choice}"):
        part = entry.get(key)
        merged.update(part if isinstance(part, dict) else {})
    found: dict[str, str] = {}
    for name, value in merged.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            result.notes.append(f"env: {name} is no name that a variable may have")
        elif value is None:
            result.notes.append(f"env.{name}: has no value")
        else:
            found[name] = value if isinstance(value, str) else json.dumps(value)
    return found


def _no_program(_name: str, _cwd: str) -> str | None:
    return None


def translate(
    entry: Mapping[str, Any],
    base: Path,
    *,
    choice: str | None = None,
    processors: int = 1,
    find: Find = _no_program,
) -> Imported:
    """Return what one of PM2's entries becomes.

    :param base: the directory that relative paths start from.
    :param choice: which ``env_<choice>`` is merged into the environment.
    :param processors: what ``instances: -1`` counts down from.
    :param find: finds programs.
    """
    entry = spelled_out(entry)
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
    environment = _environment(result, entry, choice)
    if environment.pop("PORT", None) is not None:
        result.notes.append("env.PORT: ood says which port; several apps may listen on the same")
    if environment:
        result.values["env"] = environment
    if is_dump:
        taken = ", ".join(environment) or "none"
        result.notes.append(
            f"env: a dump mixes the app's variables with the shell's; taken as the app's: {taken}"
        )
    _settle_values(result)
    _settle_watch(result)
    _settle_paths(result.values, base)
    _settle_program(result, entry, find)
    return result


def _settle_program(result: Imported, entry: Mapping[str, Any], find: Find) -> None:
    """Say what runs the script: node, npm, another interpreter, or itself."""
    package = package_script(entry)
    if package is not None:
        result.values |= {"script": package.name, "interpreter": "npm", "args": [*package.args]}
        if not package.args:
            del result.values["args"]
        if package.runner != "npm":
            result.notes.append(f"script: {package.runner} runs as npm run {package.name}")
        return
    interpreter, note = interpreter_of(entry)
    if note:
        result.notes.append(note)
    script = str(entry.get("script") or "")
    program = find(script, result.values["cwd"]) if script and "/" not in script else None
    if program is not None and interpreter is None:
        result.values["script"], interpreter = program, "none"
    if interpreter is not None:
        result.values["interpreter"] = interpreter
        if result.values.pop("nodeArgs", None):
            result.notes.append(
                f"interpreter_args: only node gets some; make a script that calls {interpreter}"
            )


def _settle_values(result: Imported) -> None:
    """Write values as ood's settings take them."""
    values = result.values
    for key in ("user", "group"):
        if isinstance(values.get(key), int):
            values[key] = str(values[key])
    for key in _TRUTHS:
        if values.get(key) in (0, 1):
            values[key] = bool(values[key])
    if values.get("maxRestarts") in (0, "0"):
        del values["maxRestarts"]
        result.notes.append("max_restarts: 0 is not carried over; autorestart false keeps it down")


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
    cwd = Path(os.path.normpath(base / Path(given).expanduser())) if given else base
    script = values.get("script")
    if script is not None:
        path = Path(os.path.normpath((cwd if given else base) / Path(script).expanduser()))
        if path.is_relative_to(cwd):
            values["script"] = str(path.relative_to(cwd))
        else:
            values["script"] = str(path)
    values["cwd"] = str(cwd)


def read(path: Path, node: str | None) -> list[Mapping[str, Any]]:
    """Return the entries of an ecosystem file or a dump.

    :param node: the Node that evaluates what is no plain JSON.
    :raises InvalidError: it can't be read, or holds no apps.
    """
    return entries_of(path, load(path, node))


def load(path: Path, node: str | None) -> Any:
    """Return what an ecosystem file or a dump holds.

    :raises InvalidError: it can't be read.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise _refused(path, f"is longer than {FILE_BYTES_MAX >> 20} MiB")
        if path.suffix in {".js", ".cjs", ".mjs"}:
            return _evaluate(_MODULE, path, node)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from None
    except ValueError as error:
        raise _refused(path, f"is no text: {error}") from None
    if path.suffix in {".yaml", ".yml"}:
        return _yaml(path, text)
    try:
        return json.loads(text)
    except ValueError as error:
        if node is None:
            raise _refused(path, f"is not valid JSON: {error}") from None
    return _evaluate(_EXPRESSION, path, node)  # comments and the like: PM2 does so, too


def _yaml(path: Path, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise _refused(path, f"is not valid YAML: {' '.join(str(error).split())}") from None


def entries_of(path: Path, plain: Any) -> list[Mapping[str, Any]]:
    """Return the entries in what ``path`` holds.

    :raises InvalidError: there are none.
    """
    entries = plain.get("apps", [plain]) if isinstance(plain, dict) else plain
    entries = [entries] if isinstance(entries, dict) else entries
    if not isinstance(entries, list) or not entries:
        raise _refused(path, "holds no apps")
    scripts = {"script", "pm_exec_path", *(key for key, to in SPELLINGS.items() if to == "script")}
    if not all(isinstance(one, dict) and scripts & set(one) for one in entries):
        raise _refused(path, "has an app without a script")
    return entries


def beside(plain: Any) -> list[str]:
    """Return notes on what a file holds beside its apps."""
    if not isinstance(plain, dict) or "apps" not in plain:
        return []
    others = {"deploy": "not carried over; instead: ood deploy APP GIT-URL --ref REF"}
    keys = [key for key in plain if key != "apps"]
    return [f"{key}: {others.get(key, 'ood has no such setting')}" for key in keys]


def _refused(path: Path, why: str) -> InvalidError:
    allowed = "ecosystem.config.js, a .json or .yaml of the same form, or dump.pm2"
    return InvalidError([Fault(str(path), why, allowed)])


def _evaluate(program: str, path: Path, node: str | None) -> Any:
    """Let Node say what a file holds; only its own process can be hurt by it."""
    if node is None:
        raise _refused(path, "needs Node to be read, and there is none on the PATH")
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the user named this file
            [node, "-e", program, str(path.absolute())],
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
    try:
        return json.loads(done.stdout.rpartition("\n\x01")[2])
    except ValueError:
        raise _refused(path, "exports nothing") from None
