"""Whether anybody has read from a TCP connection: a question to the kernel."""

from __future__ import annotations

import fcntl
import socket
import struct

RECEIVED_OFFSET = 128
"""Offset of ``tcpi_bytes_received`` in the kernel's ``struct tcp_info`` (Linux 4.1)."""
_INFO_BYTES = RECEIVED_OFFSET + 8
_FIONREAD = 0x541B
"""Linux's number of the question "how many bytes wait to be read"."""
FIN = 1
"""The kernel counts a client's FIN as one byte received that is never read."""


class ReturnedSocket(socket.socket):
    """A client connection that a worker gave back.

    :ivar read_before: bytes that were read from it until then.
    """

    read_before = 0


def waiting_bytes(sock: socket.socket) -> int:
    """Return how many bytes wait to be read."""
    answer = fcntl.ioctl(sock.fileno(), _FIONREAD, b"\0\0\0\0")
    return int(struct.unpack("i", answer)[0])


def read_bytes(sock: socket.socket) -> int:
    """Return how many bytes were read from ``sock`` since it was accepted.

    :raises OSError: it is no TCP socket, or too old a kernel.
    """
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    if len(info) < _INFO_BYTES:
        raise OSError("the kernel does not count received bytes")
    received: int = struct.unpack_from("Q", info, RECEIVED_OFFSET)[0]
    return received - waiting_bytes(sock)


def untouched(sock: socket.socket) -> bool:
    """Tell whether nothing was read from ``sock`` since ood had it.

    A worker that died may have begun a request whose rest still waits: given to
    another one, that rest would be taken for a request of its own.
    """
    before = getattr(sock, "read_before", 0)
    try:
        return 0 <= read_bytes(sock) - before <= FIN
    except OSError:
        return False
