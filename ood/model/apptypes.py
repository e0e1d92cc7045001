"""The types of apps: what each of them needs, and what has no meaning for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ood.errors import Fault
from ood.model import kinds
from ood.model.files import FILE_KEYS, WORKER_KEYS
from ood.model.upstreams import UPSTREAMS

NODE = "node"
"""Programs that ood runs: Node.js, or others."""
PROXY = "proxy"
"""Servers that somebody else runs."""
STATIC = "static"
"""Files."""
APP_TYPES = (NODE, PROXY, STATIC)
MEANINGLESS = {
    NODE: frozenset(FILE_KEYS),
    PROXY: frozenset((*FILE_KEYS, *WORKER_KEYS)) - {"healthPath", "healthTimeout"},
    STATIC: frozenset(WORKER_KEYS),
}
"""The keys that an app of each type does not heed."""


def type_faults(plain: Any, prefix: str = "") -> list[Fault]:
    """Return what is missing, or too much, for an app of its type.

    :param plain: the app as the user wrote it; what else is wrong with it is told elsewhere.
    """
    if not isinstance(plain, Mapping):
        return []
    kind = plain.get("type", NODE)
    try:
        upstreams = UPSTREAMS.parse(plain.get("upstreams", ()))
    except ValueError:
        return []
    if kind == NODE and "cwd" not in plain:
        return [Fault(f"{prefix}cwd", "is missing", kinds.ABSOLUTE_PATH.allowed)]
    if kind == PROXY and not upstreams:
        problem = "is missing: an app of type proxy has servers elsewhere"
        return [Fault(f"{prefix}upstreams", problem, UPSTREAMS.allowed)]
    if kind == STATIC and "cwd" not in plain:
        problem = "is missing: the directory with the files"
        return [Fault(f"{prefix}cwd", problem, kinds.ABSOLUTE_PATH.allowed)]
    if kind != PROXY and upstreams:
        problem = f"has no meaning for an app of type {kind}"
        return [Fault(f"{prefix}upstreams", problem, "nothing, or set type to proxy")]
    return _meaningless(plain, kind, prefix)


def _meaningless(plain: Mapping[str, Any], kind: Any, prefix: str) -> list[Fault]:
    """Return a fault for each key that an app of this type does not heed."""
    if kind not in APP_TYPES:
        return []  # that is told elsewhere
    problem = f"has no meaning for an app of type {kind}"
    keys = MEANINGLESS[kind]
    return [Fault(prefix + key, problem, _instead(key)) for key in plain if key in keys]


def _instead(key: str) -> str:
    if key in FILE_KEYS:
        return "nothing, or set type to static"
    return f"nothing: ood runs no program for it (--unset {key})"
