"""Rendezvous hashing: a key stays with one of several places, whoever asks.

When a place goes only its own keys move, and when it comes back they return.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from math import log
from typing import Protocol, TypeVar

_HASHES = 1 << 64
_NETWORK_BYTES = 8


class Place(Protocol):
    """What keys belong to."""

    @property
    def place(self) -> bytes:
        """What tells it from the others; the same after a restart."""

    @property
    def weight(self) -> int:
        """Its share of the keys."""


P = TypeVar("P", bound=Place)


def by_key(places: Sequence[P], key: bytes) -> P:
    """Return the place that ``key`` belongs to; there is at least one."""
    return places[0] if len(places) == 1 else max(places, key=lambda one: _score(one, key))


def _score(one: Place, key: bytes) -> float:
    digest = blake2b(key, digest_size=8, key=one.place[:64]).digest()
    return -one.weight / log((int.from_bytes(digest, "big") + 1) / (_HASHES + 1))


def address_key(address: str) -> bytes:
    """Return the key of a client's address; of IPv6 its network, since the rest changes daily."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address.encode("latin-1", "replace")
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return parsed.packed[:_NETWORK_BYTES]
        parsed = parsed.ipv4_mapped
    return parsed.packed
