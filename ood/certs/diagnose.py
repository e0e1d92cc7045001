"""What may be wrong with a name that a CA could not validate."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

RESOLVE_SECONDS = 20.0
"""How long looking a name up may take."""
ADDRESSES_SHOWN = 3

Resolve = Callable[[str], Deferred[list[str]]]
"""Fires with a name's addresses; an empty list if there are none."""


def lookup(name: str) -> list[str]:
    """Return a name's addresses; blocks, so it belongs into a thread."""
    try:
        found: Any = socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def is_ours(address: str) -> bool:
    """Tell whether this machine has the address: then a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True


async def diagnose(name: str, resolve: Resolve, ours: Callable[[str], bool] = is_ours) -> str:
    """Return what may be wrong with ``name``; empty if nothing is found."""
    if name.startswith("*."):
        return ""
    addresses = await resolve(name)
    if not addresses:
        return "the name does not resolve: add an A or AAAA record for it"
    foreign = [address for address in addresses if not ours(address)]
    if not foreign:
        return ""
    shown = ", ".join(foreign[:ADDRESSES_SHOWN])
    return f"the name resolves to {shown}, not to this host (behind NAT that may be right)"
