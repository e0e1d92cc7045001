"""A server as the schedulers see it, and who wants to reach it.

Counting and thresholds follow the kernel: every connection begins inactive and
is active while a TCP connection is established; a UDP flow stays inactive.
Thresholds count both.
"""

from __future__ import annotations

from typing import NamedTuple


class Flow(NamedTuple):
    """Where a new connection comes from and where it goes.

    :ivar source: the client's address, 4 or 16 bytes.
    :ivar source_port: the client's port.
    :ivar destination: the service's address, 4 or 16 bytes.
    :ivar time: when, in seconds.
    """

    source: bytes
    source_port: int
    destination: bytes
    time: float = 0.0


def fold(address: bytes) -> int:
    """Return an address as the 32 bits that hashing schedulers work on."""
    if len(address) == 4:
        return int.from_bytes(address, "big")
    words = (int.from_bytes(address[at : at + 4], "big") for at in range(0, 16, 4))
    folded = 0
    for word in words:
        folded ^= word
    return folded


class Target:
    """One server of a running service: its settings and what it carries now.

    :ivar last_weight: the latest weight that was not 0; Maglev keeps a
        quiesced server's slots by it.
    :ivar available: False once the server has left its service.
    """

    __slots__ = (
        "active",
        "address",
        "available",
        "inactive",
        "last_weight",
        "lower",
        "overloaded",
        "persistent",
        "port",
        "upper",
        "weight",
    )

    def __init__(
        self, address: bytes, port: int, weight: int = 1, upper: int = 0, lower: int = 0
    ) -> None:
        self.address = address
        self.port = port
        self.weight = weight
        self.last_weight = weight
        self.upper = upper
        self.lower = lower
        self.active = 0
        self.inactive = 0
        self.persistent = 0
        self.overloaded = False
        self.available = True

    def __repr__(self) -> str:
        return f"<Target {self.address.hex()}:{self.port} w={self.weight} a={self.active}>"

    @property
    def usable(self) -> bool:
        """Say whether new connections may come here."""
        return self.weight > 0 and not self.overloaded

    @property
    def connections(self) -> int:
        """Return what the thresholds count."""
        return self.active + self.inactive

    def edit(self, weight: int, upper: int, lower: int) -> None:
        """Change the settings; a limit that rose or went lifts the overload."""
        if upper == 0 or upper > self.upper:
            self.overloaded = False
        self.weight = weight
        if weight:
            self.last_weight = weight
        self.upper = upper
        self.lower = lower

    def bind(self) -> None:
        """Count a connection that begins."""
        self.inactive += 1
        if self.upper and self.connections >= self.upper:
            self.overloaded = True

    def activate(self) -> None:
        """Count one connection as established."""
        self.inactive -= 1
        self.active += 1

    def release(self, *, active: bool) -> None:
        """Count a connection that ended, and perhaps lift the overload."""
        if active:
            self.active -= 1
        else:
            self.inactive -= 1
        if self.lower:
            lifted = self.connections < self.lower
        else:
            lifted = not self.upper or self.connections * 4 < self.upper * 3
        if lifted:
            self.overloaded = False
