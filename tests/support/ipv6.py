"""Whether this machine has IPv6: many containers have none, even of their own."""

from __future__ import annotations

import socket
from contextlib import suppress


def has_ipv6() -> bool:
    """Tell whether one can listen on IPv6's loopback address."""
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False
