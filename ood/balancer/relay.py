"""What the relays of TCP and UDP share: a service's pool, its meters, its sockets."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from ood.balancer.core.meter import Meter
from ood.balancer.core.pool import Pool
from ood.balancer.core.state import (
    ActualServer,
    ActualService,
    Counts,
    ServerKey,
    ServerSettings,
    VirtualKey,
    VirtualSettings,
)
from ood.balancer.core.targets import Flow, Target
from ood.balancer.poller import Poller
from ood.errors import OodError

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class ListenError(OodError):
    """A service's address can't be listened on."""

    code = "cannot_listen"


@dataclass
class Timeouts:
    """How long idle connections are kept, in seconds; the kernel's defaults."""

    tcp_seconds: float = 900.0
    udp_seconds: float = 300.0
    connect_seconds: float = 10.0


@dataclass
class RelayContext:
    """What every relay of an engine is given."""

    poller: Poller
    clock: IReactorTime
    timeouts: Timeouts


def bound_socket(key: VirtualKey, kind: socket.SocketKind) -> socket.socket:
    """Return a non-blocking socket on a service's address."""
    sock = socket.socket(FAMILIES[key.family], kind | socket.SOCK_NONBLOCK)
    try:
        if key.family == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host_of(key.address), key.port))
    except OSError as error:
        sock.close()
        raise _listen_error(key, error) from error
    return sock


def _listen_error(key: VirtualKey, error: OSError) -> ListenError:
    place = f"{host_of(key.address)} port {key.port}"
    number = error.errno or 0
    if number == errno.EADDRNOTAVAIL:
        hint = "add the address to an interface of this machine"
    elif number == errno.EADDRINUSE:
        hint = "another program listens there; stop it or use another port"
    elif number == errno.EACCES:
        hint = "ports below 1024 need root or CAP_NET_BIND_SERVICE"
    else:
        hint = ""
    return ListenError(f"{place} can't be listened on: {os.strerror(number)}", hint)


def host_of(address: bytes) -> str:
    """Return how an address is written."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


class Relay:
    """One service of the userspace engine; TCP and UDP add the traffic."""

    def __init__(self, key: VirtualKey, settings: VirtualSettings, context: RelayContext) -> None:
        self.key = key
        self.context = context
        self.pool = Pool(settings)
        self.meter = Meter()
        self._meters: dict[ServerKey, Meter] = {}
        self._settings: dict[ServerKey, ServerSettings] = {}
        self._family = FAMILIES[key.family]
        self._addresses: dict[Target, tuple[str, int]] = {}

    def edit(self, settings: VirtualSettings) -> None:
        """Change the service in place."""
        self.pool.edit(settings)

    def add_server(self, key: ServerKey, settings: ServerSettings) -> None:
        """Let a server join."""
        self.pool.add(key, settings)
        self._settings[key] = settings
        self._meters[key] = Meter()

    def edit_server(self, key: ServerKey, settings: ServerSettings) -> None:
        """Change a server in place."""
        self.pool.edit_server(key, settings)
        self._settings[key] = settings

    def remove_server(self, key: ServerKey) -> None:
        """Take a server out and end what it still carries."""
        self.pool.remove(key)
        del self._settings[key], self._meters[key]
        self.end(lambda target: (target.address, target.port) == key)

    def meter_of(self, target: Target) -> Meter:
        """Return where a server's traffic is counted."""
        return self._meters[ServerKey(target.address, target.port)]

    def flow(self, host: str, port: int, now: float) -> Flow:
        """Return who wants to reach this service."""
        host = host.partition("%")[0]  # a link-local client's address names an interface
        return Flow(socket.inet_pton(self._family, host), port, self.key.address, now)

    def actual(self) -> ActualService:
        """Return the service as it stands."""
        servers = {
            key: ActualServer(settings, Counts(*self.pool.counts(key)), self._meters[key].traffic())
            for key, settings in self._settings.items()
        }
        return ActualService(self.pool.settings, servers, self.meter.traffic())

    def sample(self) -> None:
        """Estimate the rates."""
        self.meter.sample()
        for meter in self._meters.values():
            meter.sample()

    def sweep(self, now: float) -> None:
        """Expire what has been idle for too long."""
        self.pool.expire(now)

    def end(self, chosen: Callable[[Target], bool]) -> None:
        """End the connections whose target is chosen."""
        raise AssertionError(f"{type(self).__name__} carries nothing to end for {chosen}")

    def close(self) -> None:
        """Stop listening and end every connection."""
        self.end(lambda _: True)
