"""What a setting may hold: one small parser for each kind of value.

A kind turns what a user wrote (a JSON value, or the text of a command line
argument) into the typed value, or raises :class:`ValueError` with what is wrong
with it.  ``allowed`` says in words what would be right, ``json_schema`` says it
to programs; both stand beside the parser so that they cannot drift apart.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from cronsim import CronSim, CronSimError

from ood.model.globs import Globs
from ood.model.units import parse_duration_ms, parse_size_bytes

TEXT_LENGTH_MAX = 4096
"""Longest text value in characters: PATH_MAX, and far above any name."""
LIST_LENGTH_MAX = 256
"""Most items of a list value: above any sensible number of domains or arguments."""
INSTANCES_MAX = 512
"""Most workers of one app: a worker takes some 40 MB, so more is a typing mistake."""
SIZE_BYTES_MIN = 16 << 20
"""Smallest limit of memory: no Node starts in less, so less is a wrong unit."""
SIZE_BYTES_MAX = 1 << 44
"""Largest one, 16 TiB: what JSON readers keep exact, and above any machine's memory."""
DURATION_MS_MAX = 7 * 86_400_000
"""Longest duration, a week in milliseconds: more is a wrong unit."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_DOMAIN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RELEASE = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}")
_URL_PATH = re.compile(r"/[!-~]*")
_HTTPS_URL = re.compile(r"https://[!-~]+")
_EMAIL = re.compile(r"[!-~]+@[a-z0-9.-]+", re.IGNORECASE)
_CHALLENGE = re.compile(r"[a-z0-9-]+")
_USER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?|\d{1,10}")


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    :ivar parse: the parser; raises ValueError with what is wrong.
    :ivar allowed: what is right, in words.
    :ivar json_schema: the same as a JSON schema of the stored value.
    :ivar entries: it is an object whose entries can be set one by one, as ``KEY.NAME``.
    """

    parse: Callable[[Any], Any]
    allowed: str
    json_schema: Mapping[str, Any] = field(default_factory=dict)
    entries: bool = False


def _no_control(text: str) -> str:
    if len(text) > TEXT_LENGTH_MAX:
        raise ValueError(f"is {len(text)} characters long")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("contains a control character")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {_type_name(value)}, not a text")
    if not value:
        raise ValueError("is empty")
    return _no_control(value)


def _type_name(value: Any) -> str:
    names = {dict: "an object", list: "a list", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "a text")


def _integer(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,15}", value.strip()):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{_show(value)} is not a whole number")


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


show, type_name = _show, _type_name
"""How values are shown to those who wrote them; for kinds in other modules."""


def integer(lowest: int, highest: int) -> Kind:
    """Return the kind of whole numbers from ``lowest`` to ``highest``."""

    def parse(value: Any) -> int:
        number = _integer(value)
        if not lowest <= number <= highest:
            raise ValueError(f"{number} is out of range")
        return number

    schema = {"type": "integer", "minimum": lowest, "maximum": highest}
    return Kind(parse, f"a whole number from {lowest} to {highest}", schema)


def port(*, zero: bool = False) -> Kind:
    """Return the kind of TCP ports; 0 stands for "off" where ``zero`` is set."""
    kind = integer(0 if zero else 1, 65535)
    return Kind(kind.parse, f"{kind.allowed}{' (0: off)' if zero else ''}", kind.json_schema)


def _boolean(value: Any) -> bool:
    words = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise ValueError(f"{_show(value)} is not a truth value")


def _duration(value: Any) -> int:
    try:
        milliseconds = parse_duration_ms(value) if isinstance(value, str) else _integer(value)
    except ValueError:
        raise ValueError(f"{_show(value)} is not a duration") from None
    if not 0 <= milliseconds <= DURATION_MS_MAX:
        raise ValueError(f"{_show(value)} is out of range")
    return milliseconds


def _size(value: Any) -> int:
    try:
        size = parse_size_bytes(value) if isinstance(value, str) else _integer(value)
    except ValueError:
        raise ValueError(f"{_show(value)} is not a size") from None
    if not SIZE_BYTES_MIN <= size <= SIZE_BYTES_MAX:
        raise ValueError(f"{_show(value)} is out of range")
    return size


def _schedule(value: Any) -> str:
    text = " ".join(_text(value).split())
    try:
        next(CronSim(text, datetime(2000, 1, 1, tzinfo=timezone.utc)))
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"{_show(text)} is no moment in a calendar: {error}") from None
    return text


def _absolute_path(value: Any) -> str:
    path = _text(value)
    if not path.startswith("/"):
        raise ValueError(f"{_show(path)} is not an absolute path")
    return path


def choice(*words: str) -> Kind:
    """Return the kind whose values are just ``words``."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"{_show(value)} is not one of them")
        return str(value)

    return Kind(parse, ", ".join(words), {"type": "string", "enum": list(words)})


def _instances(value: Any) -> int | str:
    if value == "max":
        return "max"
    number = _integer(value)
    if not 1 <= number <= INSTANCES_MAX:
        raise ValueError(f"{number} is out of range")
    return number


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        text = _text(value)
        if not pattern.fullmatch(text):
            raise ValueError(f"{_show(text)} is not {what}")
        return text

    return parse


def _domain(value: Any) -> str:
    text = _text(value).lower().rstrip(".")
    try:
        text = text if text.isascii() else _to_ascii(text)
    except UnicodeError:
        raise ValueError(f"{_show(value)} is not a host name") from None
    if len(text) > 253 or not _DOMAIN.fullmatch(text):
        raise ValueError(f"{_show(value)} is not a host name")
    return text


def _to_ascii(name: str) -> str:
    """Return a name as it stands in the DNS, and as browsers ask for it.

    :raises UnicodeError: there is none.
    """
    import idna  # noqa: PLC0415 - few names need its large tables

    star, name = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        return star + idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:  # signs and pictures: only the older standard has them
        return star + name.encode("idna").decode("ascii")


parse_domain = _domain
"""Read a host name, which may begin with ``*.``; for kinds in other modules."""


def _as_list(value: Any, split: Callable[[str], list[str]]) -> list[Any]:
    if isinstance(value, str):
        text = value.strip()
        if not text.startswith("["):
            return split(text)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("is not valid JSON") from None
    if not isinstance(value, list | tuple):
        raise ValueError(f"is {_type_name(value)}, not a list")
    return list(value)


def list_of(item: Callable[[Any], str], allowed: str, *, shell_words: bool = False) -> Kind:
    """Return the kind of lists of ``item``.

    From a command line a list is written as JSON, or separated by commas, or
    (``shell_words``) as a shell would split it.
    """

    def split(text: str) -> list[str]:
        if shell_words:
            return shlex.split(text)
        return [part for part in re.split(r"[,\s]+", text) if part]

    def parse(value: Any) -> tuple[str, ...]:
        items = _as_list(value, split)
        if len(items) > LIST_LENGTH_MAX:
            raise ValueError(f"has {len(items)} items, more than {LIST_LENGTH_MAX}")
        parsed = tuple(item(one) for one in items)
        if not shell_words and len(set(parsed)) != len(parsed):
            raise ValueError("names the same thing twice")
        return parsed

    return Kind(parse, allowed, {"type": "array", "items": {"type": "string"}})


_paths = list_of(_text, "files and directories")


def _watch(value: Any) -> bool | tuple[str, ...]:
    with suppress(ValueError):
        return _boolean(value)
    paths: tuple[str, ...] = _paths.parse(value)
    return paths or False


def _glob(value: Any) -> str:
    text = _text(value)
    Globs([text])
    return text


def _env_value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{_show(value)} is not a text")
    text = str(value)
    if "\0" in text or len(text) > 1 << 17:
        raise ValueError("holds a NUL character or is longer than 128 KiB")
    return text


def _environment(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("is not a JSON object; one variable: --set env.NAME VALUE") from None
    if not isinstance(value, dict):
        raise ValueError(f"is {_type_name(value)}, not an object")
    for name in value:
        if not _ENV_NAME.fullmatch(name):
            raise ValueError(f"{_show(name)} is not a variable's name")
    return {name: _env_value(text) for name, text in value.items()}


_STRING = {"type": "string"}

TEXT = Kind(_text, "a text", {**_STRING, "minLength": 1, "maxLength": TEXT_LENGTH_MAX})
BOOLEAN = Kind(_boolean, "true or false", {"type": "boolean"})
DURATION = Kind(
    _duration,
    "milliseconds, or a number with ms, s, m, h or d, as in 10s",
    {"type": "integer", "minimum": 0, "maximum": DURATION_MS_MAX},
)
SIZE = Kind(
    _size,
    "bytes, or a number with K, M or G, as in 300M; at least 16M",
    {"type": "integer", "minimum": SIZE_BYTES_MIN, "maximum": SIZE_BYTES_MAX},
)
SCHEDULE = Kind(_schedule, "a cron expression such as 0 4 * * *", _STRING)
ABSOLUTE_PATH = Kind(_absolute_path, "an absolute path", {**_STRING, "pattern": "^/"})
INSTANCES = Kind(
    _instances,
    f"max (one for each processor), or a number from 1 to {INSTANCES_MAX}",
    {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": INSTANCES_MAX},
            {"type": "string", "enum": ["max"]},
        ]
    },
)
URL_PATH = Kind(
    _matching(_URL_PATH, "a path"), "a path such as /health?deep=1", {**_STRING, "pattern": "^/"}
)
HTTPS_URL = Kind(
    _matching(_HTTPS_URL, "an https address"),
    "an address with https://",
    {**_STRING, "pattern": "^https://"},
)
EMAIL = Kind(_matching(_EMAIL, "a mail address"), "a mail address", _STRING)
CHALLENGES = list_of(
    _matching(_CHALLENGE, "a challenge"), "some of http-01, tls-alpn-01, dns-01 and plugins' names"
)
USER = Kind(_matching(_USER_NAME, "a user's name"), "a user's or group's name or number", _STRING)
RELEASE = Kind(_matching(_RELEASE, "a release's name"), "a release's name", _STRING)
DOMAINS = list_of(_domain, "host names such as example.com or *.example.com")
WATCH = Kind(
    _watch,
    "true, false, or paths from cwd such as src,server.js",
    {"anyOf": [{"type": "boolean"}, {"type": "array", "items": _STRING}]},
)
GLOBS = list_of(_glob, "names or globs such as uploads, *.json or data/**/cache")
ARGUMENTS = list_of(
    lambda value: _no_control(_env_value(value)), "a list of arguments", shell_words=True
)
ENVIRONMENT = Kind(
    _environment,
    "an object of texts",
    {"type": "object", "additionalProperties": {"type": "string"}},
    entries=True,
)

APP_NAME_ALLOWED = "a host name such as example.com, or a word of a-z, 0-9, - and _"


def parse_app_name(value: Any) -> str:
    """Return ``value`` if it can name an app: it is also a directory and a host.

    :raises ValueError: it can't.
    """
    text = _text(value)
    if len(text) > 100 or not _HOST.fullmatch(text):
        raise ValueError(f"{_show(text)} can't name an app")
    return text


APPS = list_of(parse_app_name, "names of apps")
