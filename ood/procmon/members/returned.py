"""Connections that workers give back: other people's code sent the descriptor."""

from __future__ import annotations

import socket
from collections.abc import Collection

from ood.procmon.system.untouched import ReturnedSocket, read_bytes


def returned_socket(sock: socket.socket, ports: Collection[int]) -> ReturnedSocket | None:
    """Return ``sock`` if it is a client's connection to one of ``ports``, else None.

    If it is one, ``sock`` itself is used up.
    """
    try:
        internet = sock.family in (socket.AF_INET, socket.AF_INET6)
        if not internet or sock.type != socket.SOCK_STREAM:
            return None
        sock.getpeername()
        if sock.getsockname()[1] not in ports:
            return None
        before = read_bytes(sock)
    except OSError:
        return None
    returned = ReturnedSocket(fileno=sock.detach())
    returned.setblocking(False)
    returned.read_before = before
    return returned
