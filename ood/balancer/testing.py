"""A kernel's IPVS table for tests: bytes in, bytes out, errors where the kernel has them.

The contract in ``tests/balancer/contract.py`` runs against this and, in
user-mode Linux, against the real kernel.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from ood.balancer.core import ipvs
from ood.balancer.core.netlink import (
    CONTROL_FAMILY,
    DUMP,
    Message,
    acknowledgement,
    attribute,
    attributes,
    done,
    encode_family,
    messages,
    request,
)
from ood.balancer.core.state import (
    ActualServer,
    Counts,
    ServerKey,
    ServerSettings,
    VirtualKey,
    VirtualSettings,
)
from ood.model.services import SCHEDULERS

FAMILY = 0x1C
"""The number that this kernel gave to IPVS."""

DUMP_BYTES = 16384
"""How much of a dump goes into one datagram."""

INT_MAX = 2**31 - 1

_U32 = Struct("=I")
_U16 = Struct("=H")
_PORT = Struct("!H")
_COUNTERS = {ipvs.DEST_ACTIVE: 0, ipvs.DEST_INACTIVE: 1, ipvs.DEST_PERSISTENT: 2}


class KernelError(Exception):
    """What the kernel answers with a negative number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Service(NamedTuple):
    settings: VirtualSettings
    servers: dict[ServerKey, ActualServer]


class FakeKernel:
    """Acts as the transport to a kernel; :attr:`services` is its table.

    :ivar closed: whether the socket was closed.
    :ivar datagrams: how many were sent.
    """

    def __init__(self) -> None:
        self.services: dict[VirtualKey, _Service] = {}
        self.timeouts = ipvs.Timeouts(900, 120, 300)
        self.closed = False
        self.datagrams = 0
        self._answers: deque[bytes] = deque()
        self._handlers: dict[int, Callable[[bytes], None]] = {
            ipvs.NEW_SERVICE: self._new_service,
            ipvs.SET_SERVICE: self._set_service,
            ipvs.DEL_SERVICE: self._delete_service,
            ipvs.NEW_DEST: self._new_server,
            ipvs.SET_DEST: self._set_server,
            ipvs.DEL_DEST: self._delete_server,
            ipvs.SET_CONFIG: self._set_config,
            ipvs.ZERO: self._zero,
            ipvs.FLUSH: lambda _: self.services.clear(),
        }

    def send(self, data: bytes) -> int:
        """Work a datagram off."""
        self.datagrams += 1
        for message in messages(data):
            if message.type == CONTROL_FAMILY:
                self._answers.append(encode_family(message.sequence, ipvs.FAMILY_NAME, FAMILY))
            elif message.flags & DUMP == DUMP:
                self._dump(message)
            elif message.command in {ipvs.GET_INFO, ipvs.GET_CONFIG}:
                self._tell(message)
            else:
                self._change(message)
        return len(data)

    def recv(self, size: int) -> bytes:
        """Return the next answer."""
        if not self._answers:
            raise BlockingIOError(errno.EAGAIN, "nothing was asked")
        answer = self._answers.popleft()
        assert len(answer) <= size, "a datagram that does not fit is cut"
        return answer

    def close(self) -> None:
        """Let go of the socket; the table stays."""
        self.closed = True

    def set_counts(self, service: VirtualKey, server: ServerKey, counts: Counts) -> None:
        """Let a server have these connections."""
        servers = self.services[service].servers
        servers[server] = servers[server]._replace(counts=counts)

    def _change(self, message: Message) -> None:
        error = 0
        try:
            self._handlers[message.command](message.payload)
        except KernelError as failure:
            error = failure.number
        except KeyError:
            error = errno.EINVAL  # an attribute is missing
        self._answers.append(acknowledgement(message.sequence, error))

    def _tell(self, message: Message) -> None:
        if message.command == ipvs.GET_INFO:
            payload = ipvs.info_fields(ipvs.Info((1, 2, 1), 4096))
            answer = request(FAMILY, ipvs.SET_INFO, 0, message.sequence, payload)
        else:
            payload = ipvs.timeout_fields(self.timeouts)
            answer = request(FAMILY, ipvs.SET_CONFIG, 0, message.sequence, payload)
        self._answers.append(answer)

    def _dump(self, message: Message) -> None:
        if message.command == ipvs.GET_SERVICE:
            rows = [
                _service_row(message.sequence, key, service)
                for key, service in self.services.items()
            ]
        else:
            key = ipvs.read_key(_nested(message.payload, ipvs.SERVICE))
            found = self.services.get(key)
            servers = found.servers.items() if found else ()
            rows = [_server_row(message.sequence, *item) for item in reversed(servers or [])]
        datagram = b""
        for row in rows:
            if len(datagram) + len(row) > DUMP_BYTES:
                self._answers.append(datagram)
                datagram = b""
            datagram += row
        if datagram:
            self._answers.append(datagram)
        self._answers.append(done(message.sequence))

    def _service(self, payload: bytes) -> tuple[VirtualKey, _Service]:
        key = ipvs.read_key(_nested(payload, ipvs.SERVICE))
        service = self.services.get(key)
        if service is None:
            raise KernelError(errno.ESRCH)
        return key, service

    def _new_service(self, payload: bytes) -> None:
        key = ipvs.read_key(_nested(payload, ipvs.SERVICE))
        settings = _settings(payload)
        if key in self.services:
            raise KernelError(errno.EEXIST)
        self.services[key] = _Service(settings, {})

    def _set_service(self, payload: bytes) -> None:
        settings = _settings(payload)
        key, service = self._service(payload)
        self.services[key] = service._replace(settings=settings)

    def _delete_service(self, payload: bytes) -> None:
        key, _ = self._service(payload)
        del self.services[key]

    def _zero(self, payload: bytes) -> None:
        if payload:
            self._service(payload)

    def _new_server(self, payload: bytes) -> None:
        _, service = self._service(payload)
        key, settings = _server(payload)
        if key in service.servers:
            raise KernelError(errno.EEXIST)
        service.servers[key] = ActualServer(settings)

    def _set_server(self, payload: bytes) -> None:
        _, service = self._service(payload)
        key, settings = _server(payload)
        if key not in service.servers:
            raise KernelError(errno.ENOENT)
        service.servers[key] = service.servers[key]._replace(settings=settings)

    def _delete_server(self, payload: bytes) -> None:
        _, service = self._service(payload)
        if service.servers.pop(_server_key(payload), None) is None:
            raise KernelError(errno.ENOENT)

    def _set_config(self, payload: bytes) -> None:
        given = ipvs.read_timeouts(payload)
        if any(value > INT_MAX for value in given):
            raise KernelError(errno.EINVAL)
        pairs = zip(given, self.timeouts, strict=True)
        self.timeouts = ipvs.Timeouts(*(new or old for new, old in pairs))


def _nested(payload: bytes, kind: int) -> dict[int, bytes]:
    return attributes(attributes(payload)[kind])


def _settings(payload: bytes) -> VirtualSettings:
    settings = ipvs.read_service(payload).settings
    if settings.scheduler not in SCHEDULERS:
        raise KernelError(errno.ENOENT)
    return settings


def _server_key(payload: bytes) -> ServerKey:
    found = _nested(payload, ipvs.DEST)
    size = 4 if _U16.unpack(found[ipvs.DEST_FAMILY])[0] == ipvs.AF_INET else 16
    return ServerKey(found[ipvs.DEST_ADDRESS][:size], _PORT.unpack(found[ipvs.DEST_PORT])[0])


def _server(payload: bytes) -> tuple[ServerKey, ServerSettings]:
    found = _nested(payload, ipvs.DEST)
    kinds = (ipvs.DEST_FORWARD, ipvs.DEST_WEIGHT, ipvs.DEST_UPPER, ipvs.DEST_LOWER)
    settings = ServerSettings(*(_U32.unpack(found[kind])[0] for kind in kinds))
    if settings.weight > INT_MAX or settings.lower > settings.upper:
        raise KernelError(errno.ERANGE)
    return _server_key(payload), settings


def _service_row(sequence: int, key: VirtualKey, service: _Service) -> bytes:
    return request(
        FAMILY, ipvs.NEW_SERVICE, 0, sequence, ipvs.service_fields(key, service.settings)
    )


def _server_row(sequence: int, key: ServerKey, server: ActualServer) -> bytes:
    fields = ipvs.server_fields(key, server.settings)[4:]
    counts = b"".join(
        attribute(kind, _U32.pack(server.counts[index])) for kind, index in _COUNTERS.items()
    )
    stats = ipvs.traffic_fields(ipvs.DEST_STATS64, server.traffic)
    return request(
        FAMILY, ipvs.NEW_DEST, 0, sequence, attribute(ipvs.DEST, fields + counts + stats)
    )
