"""Which networks an address is in."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

ADDRESSES_REMEMBERED_MAX = 4096
"""Addresses whose answer is remembered; clients can have any number of them."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def read_address(text: str) -> Address | None:
    """Return the address that ``text`` is; an IPv4 one within IPv6 as what it is."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class Networks:
    """Networks that each say yes or no; the longest one that holds an address decides.

    :param said: what each network says; of the same network twice, no counts.
    """

    def __init__(self, said: Iterable[tuple[str, bool]]) -> None:
        self._lengths: dict[int, list[tuple[int, dict[int, bool]]]] = {4: [], 6: []}
        self._known: dict[str, bool | None] = {}
        tables: dict[tuple[int, int], dict[int, bool]] = {}
        for text, word in said:
            network = ipaddress.ip_network(text)
            shift = network.max_prefixlen - network.prefixlen
            table = tables.setdefault((network.version, shift), {})
            key = int(network.network_address) >> shift
            table[key] = word and table.get(key, True)
        for version, shift in sorted(tables):
            self._lengths[version].append((shift, tables[version, shift]))

    def find(self, address: str) -> bool | None:
        """Return what is said of ``address``; None if no network holds it."""
        try:
            return self._known[address]
        except KeyError:
            if len(self._known) >= ADDRESSES_REMEMBERED_MAX:
                self._known.clear()
            word = self._known[address] = self._look_up(read_address(address))
            return word

    def _look_up(self, address: Address | None) -> bool | None:
        if address is None:
            return None
        number = int(address)
        for shift, table in self._lengths[address.version]:
            word = table.get(number >> shift)
            if word is not None:
                return word
        return None


class Access:
    """``allow`` and ``deny``: with an ``allow``, who is in no network stays outside."""

    def __init__(self, allow: Iterable[str], deny: Iterable[str]) -> None:
        allowed = tuple(allow)
        self._networks = Networks(
            [*((one, True) for one in allowed), *((one, False) for one in deny)]
        )
        self._otherwise = not allowed

    def enters(self, address: str) -> bool:
        """Tell whether a client may enter."""
        word = self._networks.find(address)
        return self._otherwise if word is None else word


def among(networks: Iterable[str]) -> Networks:
    """Return what tells whether an address is in one of ``networks``."""
    return Networks((one, True) for one in networks)
