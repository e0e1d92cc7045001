"""Host names: which of them a public CA can vouch for, and which a certificate covers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ood.model.localnames import LOCAL_SUFFIXES

RESERVED_SUFFIXES = ("invalid", "onion", "alt", "arpa")
"""Further names that no public CA signs (RFC 6761, 7686, 9476)."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBERS = re.compile(r"[0-9.]+|.*:.*|\[.*\]")


def _below(name: str, suffixes: Iterable[str]) -> str:
    """Return the suffix that ``name`` is, or is below; empty if none."""
    return next((one for one in suffixes if name == one or name.endswith(f".{one}")), "")


def is_local(name: str) -> bool:
    """Tell whether ood itself vouches for ``name``: it means nothing outside."""
    return not name.startswith("*.") and bool(_below(name, LOCAL_SUFFIXES))


def why_not_public(name: str) -> str:
    """Return why no public CA is asked for ``name``; empty if one is."""
    bare = name.removeprefix("*.")
    if _NUMBERS.fullmatch(bare):
        return f"{name} is an address, not a name"
    if "." not in bare:
        return f"{name} is a single word, which means nothing outside this network"
    suffix = _below(bare, (*LOCAL_SUFFIXES, *RESERVED_SUFFIXES))
    if suffix:
        return f"names below .{suffix} mean nothing outside this network"
    wrong = next((label for label in bare.split(".") if not _LABEL.fullmatch(label)), None)
    if wrong is not None:
        return f"{wrong or 'an empty label'} in {name} is not allowed in a certificate"
    return ""


def wildcard_of(name: str) -> str:
    """Return the wildcard that would cover ``name``."""
    return "*." + name.partition(".")[2]


def covers(names: Iterable[str], name: str) -> bool:
    """Tell whether a certificate for ``names`` is valid for ``name``, which may be a wildcard."""
    return any(one in (name, wildcard_of(name)) for one in names)
