"""Keys of apps that are just files, and of answers that are compressed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ood.model import kinds
from ood.model.kinds import Kind

_NAME = re.compile(r"[^./][^/]*")
_FIELD_VALUE = re.compile(r"[!-~](?:[\t -~]*[!-~])?")


def _name(value: Any) -> str:
    text: str = kinds.TEXT.parse(value)
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text} is not the name of a file")
    return text


def _path(value: Any) -> str:
    text: str = kinds.TEXT.parse(value)
    if not all(map(_NAME.fullmatch, text.split("/"))):
        raise ValueError(f"{text} is not a path below cwd")
    return text


def _cache_control(value: Any) -> str:
    text: str = kinds.TEXT.parse(value)
    if not _FIELD_VALUE.fullmatch(text):
        raise ValueError("is not what a header can hold")
    return text


FILE_KEYS: Mapping[str, tuple[Kind, str]] = {
    "index": (
        Kind(_name, "a file's name", {"type": "string"}),
        "With type static: the file that is shown for a directory.",
    ),
    "fallback": (
        Kind(_path, "a path from cwd, such as index.html", {"type": "string"}),
        "With type static: the file that answers for unknown paths without an extension: an "
        "application in the browser knows them.",
    ),
    "precompressed": (
        kinds.BOOLEAN,
        "With type static: whether FILE.br, FILE.zst or FILE.gz is sent in place of FILE to "
        "clients that take it; one that is older than FILE is not.",
    ),
    "cacheControl": (
        Kind(_cache_control, "a header's value, such as max-age=3600", {"type": "string"}),
        "With type static: the Cache-Control of files.",
    ),
}
"""Kind and meaning of each key that only files have."""
COMPRESS_KEYS: Mapping[str, tuple[Kind, str]] = {
    "compress": (
        kinds.BOOLEAN,
        "Whether ood compresses answers for clients that take it; then it forwards every request.",
    )
}
"""The same of the key that other apps have, too."""

WORKER_KEYS = (
    "script",
    "args",
    "nodeArgs",
    "interpreter",
    "env",
    "instances",
    "user",
    "group",
    "handoff",
    "waitReady",
    "listenTimeout",
    "killTimeout",
    "stopSignal",
    "healthPath",
    "healthTimeout",
    "autorestart",
    "minUptime",
    "maxRestarts",
    "expBackoffRestartDelay",
    "restartDelay",
    "maxMemoryRestart",
    "cronRestart",
    "watch",
    "ignoreWatch",
    "spare",
)
"""Keys that say how programs are run, and what is asked of them."""
