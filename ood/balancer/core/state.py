"""What an engine has or shall have, as comparable values.

Named tuples, because tens of thousands of them are made and compared at once.
"""

from __future__ import annotations

from typing import NamedTuple

from ood.model.services import FORWARDERS, Server, Service, packed

PROTOCOLS = {"tcp": 6, "udp": 17, "fwmark": 0}

PERSISTENT = 0x01
"""The kernel's flag of a service with persistence; it is set by the timeout."""

FLAG_BITS = {
    "one-packet": 0x04,
    "sh-fallback": 0x08,
    "sh-port": 0x10,
    "mh-fallback": 0x08,
    "mh-port": 0x10,
}
"""The kernel's bits; sh and mh share theirs."""

FORWARDER_CODES = {"m": 0, "i": 2, "g": 3}
MASQUERADE = FORWARDER_CODES["m"]
assert set(FORWARDER_CODES) == set(FORWARDERS)

ALL_ADDRESSES = {4: 0xFFFFFFFF, 6: 128}
"""The netmask that tells every client apart."""


class VirtualKey(NamedTuple):
    """What identifies a service in an engine."""

    family: int
    protocol: int
    address: bytes
    port: int
    mark: int = 0


class VirtualSettings(NamedTuple):
    """What can be edited of a service in place."""

    scheduler: str
    flags: int = 0
    timeout: int = 0
    netmask: int = 0xFFFFFFFF

    def flag_names(self) -> tuple[str, ...]:
        """Return the names of the flags that this scheduler heeds."""
        return tuple(
            name
            for name, bit in FLAG_BITS.items()
            if self.flags & bit and (name == "one-packet" or name.startswith(self.scheduler + "-"))
        )


class ServerKey(NamedTuple):
    """What identifies a server within its service."""

    address: bytes
    port: int


class ServerSettings(NamedTuple):
    """What can be edited of a server in place."""

    forwarder: int
    weight: int
    upper: int = 0
    lower: int = 0


class Counts(NamedTuple):
    """The connections that a server has now."""

    active: int = 0
    inactive: int = 0
    persistent: int = 0


class Traffic(NamedTuple):
    """Totals since the start, and rates per second."""

    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    connections_per_second: int = 0
    packets_in_per_second: int = 0
    packets_out_per_second: int = 0
    bytes_in_per_second: int = 0
    bytes_out_per_second: int = 0


NO_COUNTS = Counts()
NO_TRAFFIC = Traffic()


class ActualServer(NamedTuple):
    """A server as an engine has it."""

    settings: ServerSettings
    counts: Counts = NO_COUNTS
    traffic: Traffic = NO_TRAFFIC


class ActualService(NamedTuple):
    """A service as an engine has it."""

    settings: VirtualSettings
    servers: dict[ServerKey, ActualServer]
    traffic: Traffic = NO_TRAFFIC


class DesiredService(NamedTuple):
    """A service as an engine shall have it.

    :ivar drain: seconds that a server which leaves may keep its connections.
    :ivar dead: servers that are left out because they do not answer.
    """

    settings: VirtualSettings
    servers: dict[ServerKey, ServerSettings]
    drain: int
    dead: frozenset[ServerKey] = frozenset()


Actual = dict[VirtualKey, ActualService]
Desired = dict[VirtualKey, DesiredService]


def virtual_key(service: Service) -> VirtualKey:
    """Return what identifies ``service`` in an engine."""
    if service.type == "fwmark":
        return VirtualKey(service.family, 0, b"", 0, service.mark)
    return VirtualKey(service.family, PROTOCOLS[service.type], packed(service.host), service.port)


def virtual_settings(service: Service) -> VirtualSettings:
    """Return how an engine shall run ``service``."""
    flags = PERSISTENT if service.persistence else 0
    for flag in service.flags:
        flags |= FLAG_BITS[flag]
    return VirtualSettings(service.scheduler, flags, service.persistence, _netmask(service))


def _netmask(service: Service) -> int:
    if not service.netmask:
        return ALL_ADDRESSES[service.family]
    if service.family == 6:
        return int(service.netmask)
    return int.from_bytes(packed(service.netmask), "big")


def server_key(server: Server) -> ServerKey:
    """Return what identifies ``server`` within its service."""
    return ServerKey(packed(server.host), server.port)


def server_settings(server: Server, *, quiesced: bool = False) -> ServerSettings:
    """Return how an engine shall use ``server``."""
    return ServerSettings(
        FORWARDER_CODES[server.forwarder],
        0 if quiesced else server.weight,
        server.upper_threshold,
        server.lower_threshold,
    )


def desired_state(
    services: tuple[Service, ...], down: frozenset[tuple[str, str]] = frozenset()
) -> Desired:
    """Return what an engine shall have, given the servers that do not answer.

    :param down: ids of services and of servers whose health checks fail.
    """
    return {virtual_key(service): _desired(service, down) for service in services}


def _desired(service: Service, down: frozenset[tuple[str, str]]) -> DesiredService:
    quiesce = service.check is not None and service.check.on_failure == "quiesce"
    servers: dict[ServerKey, ServerSettings] = {}
    dead = []
    for server in service.servers:
        failing = bool(down) and (service.id, server.id) in down
        if failing and not quiesce:
            dead.append(server_key(server))
        else:
            servers[server_key(server)] = server_settings(server, quiesced=failing)
    return DesiredService(virtual_settings(service), servers, service.drain, frozenset(dead))
