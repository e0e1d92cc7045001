"""Listening sockets, bound before anything else starts, with errors that help."""

from __future__ import annotations

import _socket
import errno
import socket
from typing import TYPE_CHECKING

import psutil

from ood.errors import StartupError

if TYPE_CHECKING:
    from ood.net.supervisor import Supervisor

    RawSocket = socket.socket
else:
    RawSocket = _socket.socket
    """The socket type without Python's wrapper, which costs 1 us for each connection."""

BACKLOG_CONNECTIONS = 4096
"""Connections the kernel keeps for us between two looks; it caps this at net.core.somaxconn."""
DEFER_ACCEPT_SECONDS = 5
"""The kernel holds a connection back until its first bytes came, about this long at most."""
FIRST_UNPRIVILEGED_PORT = 1024
"""Ports below need root or CAP_NET_BIND_SERVICE."""


def bind_public(
    port: int, *, what: str, supervisor: Supervisor | None = None
) -> list[socket.socket]:
    """Bind ``port`` on all addresses, IPv4 and (where there is any) IPv6.

    :param what: what the port is for, and the setting's name, for the error.
    :param supervisor: it may have the sockets from before, and keeps them for later.
    :raises StartupError: it can't be bound; nothing stays open.
    """
    sockets = [_bind_kept("0.0.0.0", port, what, supervisor)]  # noqa: S104
    if socket.has_ipv6:
        try:
            ipv6_port = sockets[0].getsockname()[1]
            sockets.append(_bind_kept("::", ipv6_port, what, supervisor))
        except StartupError as error:
            if not _without_ipv6(error):
                sockets[0].close()
                raise
    return sockets


def _bind_kept(address: str, port: int, what: str, supervisor: Supervisor | None) -> socket.socket:
    if supervisor is None:
        return bind(address, port, what=what)
    sock = supervisor.take(address, port)
    if sock is None:
        sock = bind(address, port, what=what)
    else:
        _prepare(sock)
    supervisor.keep(sock)
    return sock


def bind(address: str, port: int, *, what: str) -> socket.socket:
    """Return a socket that listens on ``address`` and ``port``.

    :raises StartupError: it can't be bound.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _explain(error, address, port, what) from error
    try:
        _prepare(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(BACKLOG_CONNECTIONS)
    except OSError as error:
        sock.close()
        raise _explain(error, address, port, what) from error
    return sock


def port_is_free(port: int) -> bool:
    """Tell whether nobody listens on ``port``, on any address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def _prepare(sock: socket.socket) -> None:
    """Set what holds for the connections, too; for a socket that listens already as well."""
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it


def _without_ipv6(error: StartupError) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (
        errno.EAFNOSUPPORT,
        errno.EADDRNOTAVAIL,
        errno.EPROTONOSUPPORT,
    )


def _explain(error: OSError, address: str, port: int, what: str) -> StartupError:
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    if error.errno == errno.EADDRINUSE:
        return StartupError(
            f"{what}: {where} is in use{_occupant(port)}", "stop that, or choose another port"
        )
    if error.errno in (errno.EACCES, errno.EPERM) and port < FIRST_UNPRIVILEGED_PORT:
        return StartupError(
            f"{what}: this user may not listen on {where}",
            f"run ood as root, or choose a port from {FIRST_UNPRIVILEGED_PORT} on",
        )
    return StartupError(
        f"{what}: can't listen on {where}: {error.strerror}", "choose another address or port"
    )


def _occupant(port: int) -> str:
    """Return " by NAME (pid N)" for the process that listens on ``port``, if it can be seen."""
    try:
        connections = psutil.net_connections("tcp")
        pids = {
            connection.pid
            for connection in connections
            if connection.status == psutil.CONN_LISTEN and port in connection.laddr
        }
        pid = next((pid for pid in pids if pid), None)
        return "" if pid is None else f" by {psutil.Process(pid).name()} (pid {pid})"
    except (psutil.Error, OSError):
        return ""
