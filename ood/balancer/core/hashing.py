"""The schedulers that hash: sh, dh and mh (Maglev), bit for bit as the kernel."""

from __future__ import annotations

from math import gcd

from ood.balancer.core.schedulers import Scheduler
from ood.balancer.core.targets import Flow, Target, fold

GOLDEN_RATIO = 0x61C88647
"""Knuth's multiplier, as the kernel's hash_32 has it."""

BUCKETS = 256
"""The table size of sh and dh in every kernel configuration in use."""

MAGLEV_SLOTS = 4093
MAGLEV_BITS = 6
"""The default table of mh, and how many bits of weight it can tell apart."""

OFFSET_KEY = 2654435761
SKIP_KEY = 2654446892
"""The fixed keys that mh hashes with."""

_WORD = 0xFFFFFFFF
_LONG = 0xFFFFFFFFFFFFFFFF


def bucket_of(address: bytes, port: int = 0) -> int:
    """Return the bucket of sh and dh that an address belongs to."""
    return ((fold(address) + port) * GOLDEN_RATIO & _WORD) >> 24


class HashingScheduler(Scheduler):
    """A scheduler with a table that is made when it is needed, not at every change."""

    _table: list[Target] | None = None

    def changed(self) -> None:
        """Make the table anew before the next connection."""
        self._table = None

    @property
    def table(self) -> list[Target]:
        """Return which target stands in which place; empty without targets."""
        if self._table is None:
            self._table = self.fill() if self.targets else []
        return self._table

    def fill(self) -> list[Target]:
        """Return the table of the present targets: here each of them in turn."""
        return in_turns(self.targets)


def in_turns(targets: list[Target]) -> list[Target]:
    """Return the buckets of sh and dh, filled by going round ``targets``."""
    return [targets[index % len(targets)] for index in range(BUCKETS)]


class DestinationHashing(HashingScheduler):
    """dh: the bucket of the destination; buckets go round the list."""

    def pick(self, flow: Flow) -> Target | None:
        """Return the server in the destination's bucket if it is usable."""
        target = self.table[bucket_of(flow.destination)] if self.table else None
        return target if target is not None and target.usable else None


class SourceHashing(HashingScheduler):
    """sh: the bucket of the client; a server fills as many in a row as it weighs."""

    def fill(self) -> list[Target]:
        """Return the buckets, as many in a row for a target as it weighs."""
        # more than all buckets can't be filled, however heavy a target is
        return in_turns([t for t in self.targets for _ in range(min(max(t.weight, 1), BUCKETS))])

    def pick(self, flow: Flow) -> Target | None:
        """Return the server in the client's bucket, or with sh-fallback another one."""
        buckets = self.table
        if not buckets:
            return None
        first = bucket_of(flow.source, flow.source_port if "sh-port" in self.flags else 0)
        if buckets[first].usable:
            return buckets[first]
        if "sh-fallback" in self.flags:
            for offset in range(BUCKETS):
                # the kernel adds the first bucket's number twice
                target = buckets[(offset + first + first) % BUCKETS]
                if target.usable:
                    return target
        return None


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _LONG


def _sip_round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = (v0 + v1) & _LONG
    v1 = _rotate(v1, 13) ^ v0
    v0 = _rotate(v0, 32)
    v2 = (v2 + v3) & _LONG
    v3 = _rotate(v3, 16) ^ v2
    v0 = (v0 + v3) & _LONG
    v3 = _rotate(v3, 21) ^ v0
    v2 = (v2 + v1) & _LONG
    v1 = _rotate(v1, 17) ^ v2
    return v0, v1, _rotate(v2, 32), v3


def half_sip_hash(value: int, key: int) -> int:
    """Return the kernel's hsiphash (SipHash-1-3, cut to 32 bits) of one 32-bit word.

    Both halves of the key are ``key``, as mh has it.
    """
    block = 4 << 56 | value & _WORD
    state = (
        0x736F6D6570736575 ^ key,
        0x646F72616E646F6D ^ key,
        0x6C7967656E657261 ^ key,
        0x7465646279746573 ^ key ^ block,
    )
    v0, v1, v2, v3 = _sip_round(*state)
    state = (v0 ^ block, v1, v2 ^ 0xFF, v3)
    for _ in range(3):
        state = _sip_round(*state)
    v0, v1, v2, v3 = state
    return (v0 ^ v1 ^ v2 ^ v3) & _WORD


class MaglevHashing(HashingScheduler):
    """mh: consistent hashing of the client; few move when servers come and go."""

    def fill(self) -> list[Target]:
        """Let every server take its preferred slots in turns, by weight."""
        weights = [target.last_weight for target in self.targets if target.last_weight > 0]
        if not weights:
            return []
        step = gcd(*weights)
        shift = max((max(weights) // step).bit_length() - MAGLEV_BITS, 0)
        turns = [
            (target.last_weight // step >> shift) or int(target.last_weight != 0)
            for target in self.targets
        ]
        return self._populate(turns)

    def _populate(self, turns: list[int]) -> list[Target]:
        seeds = [fold(target.address) + target.port for target in self.targets]
        places = [half_sip_hash(seed, OFFSET_KEY) % MAGLEV_SLOTS for seed in seeds]
        skips = [half_sip_hash(seed, SKIP_KEY) % (MAGLEV_SLOTS - 1) + 1 for seed in seeds]
        slots: dict[int, Target] = {}
        while len(slots) < MAGLEV_SLOTS:
            for index, target in enumerate(self.targets):
                for _ in range(min(turns[index], MAGLEV_SLOTS - len(slots))):
                    while places[index] in slots:
                        places[index] = (places[index] + skips[index]) % MAGLEV_SLOTS
                    slots[places[index]] = target
        return [slots[slot] for slot in range(MAGLEV_SLOTS)]

    def pick(self, flow: Flow) -> Target | None:
        """Return the server in the client's slot, or with mh-fallback another one."""
        slots = self.table
        if not slots:
            return None
        seed = fold(flow.source) + (flow.source_port if "mh-port" in self.flags else 0)
        first = half_sip_hash(seed, OFFSET_KEY) % MAGLEV_SLOTS
        if slots[first].usable:
            return slots[first]
        if "mh-fallback" in self.flags:
            for offset in range(MAGLEV_SLOTS):
                again = seed + (offset + first) % MAGLEV_SLOTS
                target = slots[half_sip_hash(again, OFFSET_KEY) % MAGLEV_SLOTS]
                if target.usable:
                    return target
        return None
