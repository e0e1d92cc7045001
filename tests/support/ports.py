"""Ports that tests may listen on: no two processes that test are given the same ones."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

LOWEST_PORT = 10_240
HIGHEST_PORT = 32_767
"""From 32768 on the kernel gives ports to outgoing connections, and they collide."""
BLOCK_PORTS = 512
BLOCKS = range(LOWEST_PORT // BLOCK_PORTS, (HIGHEST_PORT + 1) // BLOCK_PORTS)


def _take_block() -> tuple[int, socket.socket | None]:
    """Return a block that no other process has, and what holds it.

    A port that is free now and listened on a moment later may be taken in between; so tests
    that run at the same time share none. A block is held by the name of a socket, which the
    kernel gives back when this process ends, however it does. Without any left, one is shared.
    """
    for block in random.sample(BLOCKS, len(BLOCKS)):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.bind(f"\0ood-test-ports-{block}")
        except OSError:
            sock.close()
        else:
            return block, sock
    return random.choice(BLOCKS), None


_block, _held = _take_block()


def _turns() -> Iterator[int]:
    """Go through this process's ports again and again: one that was used rests for long."""
    first = _block * BLOCK_PORTS
    ports = random.sample(range(first, first + BLOCK_PORTS), BLOCK_PORTS)
    while True:
        yield from ports


_ports = _turns()


def _is_unused(port: int) -> bool:
    """Tell whether ``port`` is free even for who does not set SO_REUSEADDR.

    Without it, connections that were closed a minute ago still have the port.
    """
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a port that nobody uses now."""
    for port in _ports:
        if _is_unused(port):
            return port
    raise AssertionError("unreachable")


def free_ports(count: int) -> list[int]:
    """Return ``count`` different ports that nobody uses now."""
    return [free_port() for _ in range(count)]
