"""How often a client may ask: the generic cell rate algorithm, a bucket that leaks."""

from __future__ import annotations

import ipaddress

from ood.proxy.core.rules.networks import read_address

CLIENTS_MAX = 65_536
"""Clients remembered, some 150 bytes each; beyond it the one that asked longest ago goes."""
_ROUNDING_SECONDS = 1e-9
"""Sums of intervals are this far off at most; it must not cost a client its burst."""


def client_key(address: str) -> str | int:
    """Return what stands for a client: its address, of IPv6 the /64 that one customer has."""
    if ":" not in address:
        return address
    read = read_address(address)
    if isinstance(read, ipaddress.IPv6Address):
        return int(read) >> 64
    return str(read)


class RateLimit:
    """Lets each client's requests come at a rate, and a burst of them at once.

    Per client one number is kept: when the requests so far would have come had they
    come evenly.  A request may be ahead of that by the burst.
    """

    def __init__(self, requests: int, seconds: int, burst: int) -> None:
        self._interval = seconds / requests
        self._ahead = self._interval * (burst - 1) + _ROUNDING_SECONDS
        self._due: dict[str | int, float] = {}

    def __len__(self) -> int:
        return len(self._due)

    def take(self, address: str, now: float) -> float:
        """Count a request; return 0, or after how many seconds it would be in order."""
        key = client_key(address)
        due = max(self._due.pop(key, now), now)
        late = due - now - self._ahead
        if late > 0:
            self._due[key] = due
            return late
        if len(self._due) >= CLIENTS_MAX:
            del self._due[next(iter(self._due))]
        self._due[key] = due + self._interval
        return 0
