"""Ports that tests may listen on."""

from __future__ import annotations

import random

from ood.net.listen import port_is_free

LOWEST_PORT = 10_000
HIGHEST_PORT = 32_767
"""From 32768 on the kernel gives ports to outgoing connections, and they collide."""
ATTEMPTS = 100


def free_ports(count: int) -> list[int]:
    """Return ``count`` different ports on which nothing listens now."""
    found: list[int] = []
    for port in random.sample(range(LOWEST_PORT, HIGHEST_PORT + 1), ATTEMPTS):
        if port_is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} free ports in {ATTEMPTS} attempts")
