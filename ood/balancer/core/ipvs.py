"""The messages of the kernel's IPVS: services, servers, statistics, time-outs.

Encoding packs a server's attributes in one go, because thousands of them are
sent at once.
"""

from __future__ import annotations

from struct import Struct
from sys import byteorder
from typing import NamedTuple

from ood.balancer.core.netlink import ACK, DUMP, attribute, attributes, request
from ood.balancer.core.state import (
    PERSISTENT,
    ActualServer,
    Counts,
    ServerKey,
    ServerSettings,
    Traffic,
    VirtualKey,
    VirtualSettings,
)

FAMILY_NAME = "IPVS"

NEW_SERVICE, SET_SERVICE, DEL_SERVICE, GET_SERVICE = 1, 2, 3, 4
NEW_DEST, SET_DEST, DEL_DEST, GET_DEST = 5, 6, 7, 8
SET_CONFIG, GET_CONFIG = 12, 13
SET_INFO, GET_INFO = 14, 15
ZERO, FLUSH = 16, 17

SERVICE, DEST = 1, 2
TIMEOUT_TCP, TIMEOUT_TCP_FIN, TIMEOUT_UDP = 4, 5, 6

(SVC_AF, SVC_PROTOCOL, SVC_ADDRESS, SVC_PORT, SVC_MARK) = range(1, 6)
(SVC_SCHEDULER, SVC_FLAGS, SVC_TIMEOUT, SVC_NETMASK, SVC_STATS) = range(6, 11)
SVC_STATS64 = 12

(DEST_ADDRESS, DEST_PORT, DEST_FORWARD, DEST_WEIGHT, DEST_UPPER, DEST_LOWER) = range(1, 7)
(DEST_ACTIVE, DEST_INACTIVE, DEST_PERSISTENT, DEST_STATS, DEST_FAMILY) = range(7, 12)
DEST_STATS64 = 12

AF_INET, AF_INET6 = 2, 10
FAMILIES = {4: AF_INET, 6: AF_INET6}
VERSIONS = {AF_INET: 4, AF_INET6: 6}

OUR_FLAGS = PERSISTENT | 0x04 | 0x08 | 0x10
"""The service flags that ood sets and compares; the kernel has more for itself."""

FORWARD_MASK = 0x07
"""The bits of a server's connection flags that say how packets reach it."""

_U32 = Struct("=I")
_U16 = Struct("=H")
_PORT = Struct("!H")
_PAIR = Struct("=II")
_DEST = Struct("=HH HH16s HH2s2x HHI HHI HHI HHI HHH2x".replace(" ", ""))
_DEST_ID = Struct("=HH HH16s HH2s2x HHH2x".replace(" ", ""))
_SIZES = {4: 4, 6: 16}

DESTINATION_HEAD = _DEST.size
DESTINATION_ID_HEAD = _DEST_ID.size


class Timeouts(NamedTuple):
    """How long the kernel keeps idle connections, in seconds; 0 in a request leaves one."""

    tcp: int = 0
    tcp_fin: int = 0
    udp: int = 0


class Info(NamedTuple):
    """What the kernel says about its IPVS."""

    version: tuple[int, int, int]
    table_size: int


class ServiceRecord(NamedTuple):
    """A service in a dump."""

    key: VirtualKey
    settings: VirtualSettings
    traffic: Traffic


class ServerRecord(NamedTuple):
    """A server in a dump."""

    key: ServerKey
    server: ActualServer


def service_id(key: VirtualKey) -> bytes:
    """Return the attribute that names a service."""
    return attribute(SERVICE, _service_id(key))


def _service_id(key: VirtualKey) -> bytes:
    family = attribute(SVC_AF, _U16.pack(FAMILIES[key.family]))
    if key.mark:
        return family + attribute(SVC_MARK, _U32.pack(key.mark))
    return (
        family
        + attribute(SVC_PROTOCOL, _U16.pack(key.protocol))
        + attribute(SVC_ADDRESS, key.address.ljust(16, b"\0"))
        + attribute(SVC_PORT, _PORT.pack(key.port))
    )


def service_fields(key: VirtualKey, settings: VirtualSettings) -> bytes:
    """Return the attribute that describes a service in full."""
    mask = settings.netmask
    packed_mask = mask.to_bytes(4, "big") if key.family == 4 else _U32.pack(mask)
    return attribute(
        SERVICE,
        _service_id(key)
        + attribute(SVC_SCHEDULER, settings.scheduler.encode() + b"\0")
        + attribute(SVC_FLAGS, _PAIR.pack(settings.flags, OUR_FLAGS))
        + attribute(SVC_TIMEOUT, _U32.pack(settings.timeout))
        + attribute(SVC_NETMASK, packed_mask),
    )


def server_fields(key: ServerKey, settings: ServerSettings) -> bytes:
    """Return the attribute that describes a server in full."""
    return _DEST.pack(
        *(DESTINATION_HEAD, DEST),
        *(20, DEST_ADDRESS, key.address),
        *(6, DEST_PORT, _PORT.pack(key.port)),
        *(8, DEST_FORWARD, settings.forwarder),
        *(8, DEST_WEIGHT, settings.weight),
        *(8, DEST_UPPER, settings.upper),
        *(8, DEST_LOWER, settings.lower),
        *(6, DEST_FAMILY, AF_INET if len(key.address) == 4 else AF_INET6),
    )


def server_id(key: ServerKey) -> bytes:
    """Return the attribute that names a server."""
    return _DEST_ID.pack(
        *(DESTINATION_ID_HEAD, DEST),
        *(20, DEST_ADDRESS, key.address),
        *(6, DEST_PORT, _PORT.pack(key.port)),
        *(6, DEST_FAMILY, AF_INET if len(key.address) == 4 else AF_INET6),
    )


def change(family: int, command: int, sequence: int, payload: bytes) -> bytes:
    """Return a request that changes something and is acknowledged."""
    return request(family, command, ACK, sequence, payload)


def query(family: int, command: int, sequence: int, payload: bytes = b"") -> bytes:
    """Return a request that is answered by one message."""
    return request(family, command, 0, sequence, payload)


def dump(family: int, command: int, sequence: int, payload: bytes = b"") -> bytes:
    """Return a request that is answered by any number of messages."""
    return request(family, command, DUMP, sequence, payload)


def timeout_fields(timeouts: Timeouts) -> bytes:
    """Return the attributes that set time-outs."""
    kinds = (TIMEOUT_TCP, TIMEOUT_TCP_FIN, TIMEOUT_UDP)
    return b"".join(
        attribute(kind, _U32.pack(value)) for kind, value in zip(kinds, timeouts, strict=True)
    )


def read_timeouts(payload: bytes) -> Timeouts:
    """Return the time-outs in an answer."""
    found = attributes(payload)
    return Timeouts(
        _number(found, TIMEOUT_TCP), _number(found, TIMEOUT_TCP_FIN), _number(found, TIMEOUT_UDP)
    )


def read_info(payload: bytes) -> Info:
    """Return version and table size from an answer."""
    found = attributes(payload)
    version = _number(found, 1)
    return Info((version >> 16 & 0xFF, version >> 8 & 0xFF, version & 0xFF), _number(found, 2))


def info_fields(info: Info) -> bytes:
    """Return the attributes of :func:`read_info`, as the kernel answers."""
    major, minor, patch = info.version
    version = attribute(1, _U32.pack(major << 16 | minor << 8 | patch))
    return version + attribute(2, _U32.pack(info.table_size))


def _number(found: dict[int, bytes], kind: int) -> int:
    value = found.get(kind)
    number: int = _U32.unpack(value)[0] if value is not None else 0
    return number


def read_key(found: dict[int, bytes]) -> VirtualKey:
    """Return which service the attributes name."""
    family = VERSIONS[_U16.unpack(found[SVC_AF])[0]]
    if SVC_MARK in found:
        return VirtualKey(family, 0, b"", 0, _U32.unpack(found[SVC_MARK])[0])
    address = found[SVC_ADDRESS][: _SIZES[family]]
    protocol: int = _U16.unpack(found[SVC_PROTOCOL])[0]
    port: int = _PORT.unpack(found[SVC_PORT])[0]
    return VirtualKey(family, protocol, address, port)


def read_service(payload: bytes) -> ServiceRecord:
    """Return the service in a message of a dump."""
    found = attributes(attributes(payload)[SERVICE])
    key = read_key(found)
    mask = found[SVC_NETMASK]
    settings = VirtualSettings(
        scheduler=found[SVC_SCHEDULER].rstrip(b"\0").decode("ascii", "replace"),
        flags=_PAIR.unpack(found[SVC_FLAGS])[0] & OUR_FLAGS,
        timeout=_number(found, SVC_TIMEOUT),
        netmask=int.from_bytes(mask, "big") if key.family == 4 else _U32.unpack(mask)[0],
    )
    return ServiceRecord(key, settings, read_traffic(found, SVC_STATS64, SVC_STATS))


def read_server(payload: bytes, version: int, *, traffic: bool = True) -> ServerRecord:
    """Return the server in a message of a dump of a service of IP ``version``."""
    found = attributes(attributes(payload)[DEST])
    if DEST_FAMILY in found:  # kernels before 3.18 have none
        version = VERSIONS[_U16.unpack(found[DEST_FAMILY])[0]]
    number = _U32.unpack
    settings = ServerSettings(
        number(found[DEST_FORWARD])[0] & FORWARD_MASK,
        number(found[DEST_WEIGHT])[0],
        number(found[DEST_UPPER])[0],
        number(found[DEST_LOWER])[0],
    )
    counts = Counts(
        number(found[DEST_ACTIVE])[0],
        number(found[DEST_INACTIVE])[0],
        number(found[DEST_PERSISTENT])[0],
    )
    key = ServerKey(found[DEST_ADDRESS][: _SIZES[version]], _PORT.unpack(found[DEST_PORT])[0])
    if not traffic:
        return ServerRecord(key, ActualServer(settings, counts))
    stats = read_traffic(found, DEST_STATS64, DEST_STATS)
    return ServerRecord(key, ActualServer(settings, counts, stats))


def read_traffic(found: dict[int, bytes], wide: int, narrow: int) -> Traffic:
    """Return statistics, from 64-bit counters where the kernel has them."""
    stats = found.get(wide, found.get(narrow))
    if stats is None:
        return Traffic()
    values = attributes(stats)
    return Traffic(*(int.from_bytes(values.get(kind, b""), byteorder) for kind in range(1, 11)))


def traffic_fields(kind: int, traffic: Traffic) -> bytes:
    """Return the attribute of 64-bit statistics, as the kernel answers."""
    numbers = (
        attribute(index, value.to_bytes(8, byteorder)) for index, value in enumerate(traffic, 1)
    )
    return attribute(kind, b"".join(numbers))
