"""The servers of one process, and which of them is the app's main one."""

from __future__ import annotations

from dataclasses import dataclass

SERVERS_MAX = 64
"""Servers of one process: the protocol's ids go no further."""


@dataclass(frozen=True)
class Server:
    """A server that listens.

    :ivar name: its id (joined) or key (cluster channel).
    :ivar plain: whether it speaks HTTP without TLS, as far as known.
    """

    name: int | str
    port: int
    plain: bool = True


class Servers:
    """What listens in one process.

    :ivar main: the server that gets the app's connections.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._servers: dict[int | str, Server] = {}
        self.main: Server | None = None

    def __len__(self) -> int:
        return len(self._servers)

    def add(self, server: Server) -> bool:
        """Note that ``server`` listens; False if there are too many."""
        if len(self._servers) >= SERVERS_MAX and server.name not in self._servers:
            return False
        self._servers[server.name] = server
        self._choose()
        return True

    def remove(self, name: int | str) -> None:
        """Note that the server ``name`` closed."""
        self._servers.pop(name, None)
        self._choose()

    def clear(self) -> None:
        """Note that all are gone."""
        self._servers.clear()
        self.main = None

    def _choose(self) -> None:
        """The one on the app's port, else the first that speaks plain HTTP, else the first."""
        every = list(self._servers.values())
        on_port = (server for server in every if server.port == self._port)
        plain = (server for server in every if server.plain)
        self.main = next(on_port, None) or next(plain, None) or next(iter(every), None)

    def on(self, port: int) -> Server | None:
        """Return the server that listens on ``port``."""
        return next((one for one in self._servers.values() if one.port == port), None)

    def extra_ports(self) -> frozenset[int]:
        """Return the ports of all but the main server."""
        main = self.main.port if self.main is not None else 0
        ports = (server.port for server in self._servers.values())
        return frozenset(port for port in ports if port not in (main, self._port))
