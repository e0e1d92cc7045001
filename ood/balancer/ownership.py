"""Which of the kernel's services are ours, kept where a restart finds it.

The record is written before a service is created, so that a crash in between
leaves at worst a name without a service, and never a service without a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from ood.atomic import replace_file
from ood.balancer.core.state import VirtualKey

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Ownership(Protocol):
    """Remembers our services, with the seconds that their servers may drain."""

    def load(self) -> dict[VirtualKey, int]:
        """Return what was saved last."""

    def save(self, owned: Mapping[VirtualKey, int]) -> None:
        """Keep ``owned`` in place of what was saved before."""


class MemoryOwnership:
    """For an engine whose services end with the process anyway."""

    def __init__(self) -> None:
        self._owned: dict[VirtualKey, int] = {}

    def load(self) -> dict[VirtualKey, int]:
        """Return what was saved last."""
        return dict(self._owned)

    def save(self, owned: Mapping[VirtualKey, int]) -> None:
        """Keep ``owned``."""
        self._owned = dict(owned)


class _Record(msgspec.Struct, frozen=True):
    boot: str
    services: list[tuple[int, int, str, int, int, int]]


class FileOwnership:
    """A file for the kernel's services; it counts only until the next boot.

    After a boot the kernel's table is empty, and what is found there then was
    made by somebody else.
    """

    def __init__(self, path: Path, boot_id: Path = BOOT_ID) -> None:
        self._path = path
        self._boot = boot_id.read_text().strip()

    def load(self) -> dict[VirtualKey, int]:
        """Return what was saved last, in this boot."""
        try:
            record = msgspec.json.decode(self._path.read_bytes(), type=_Record)
        except (FileNotFoundError, msgspec.MsgspecError):
            # without a record nothing is ours: what the kernel has is left alone
            return {}
        if record.boot != self._boot:
            return {}
        return {
            VirtualKey(family, protocol, bytes.fromhex(address), port, mark): drain
            for family, protocol, address, port, mark, drain in record.services
        }

    def save(self, owned: Mapping[VirtualKey, int]) -> None:
        """Write the record in one piece."""
        services = [
            (key.family, key.protocol, key.address.hex(), key.port, key.mark, drain)
            for key, drain in owned.items()
        ]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, msgspec.json.encode(_Record(self._boot, services)))
