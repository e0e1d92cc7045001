"""Services and servers as users write them: values, ids, and their JSON form.

Ids are ``type-host-port`` for a service and ``host-port`` for a server, with
``.`` and ``:`` of the host written ``_``.  An IPv4 host is four decimal groups
with single underscores; an IPv6 host (in its shortest form) always has either
a double underscore or seven single ones, so an id parses back without
ambiguity.  Addresses that embed IPv4 in IPv6, which would break that, are
refused: they are written as IPv4.  A firewall-mark service has no address of
its own: its id is ``fwmark-<mark>``, or ``fwmark6-<mark>`` for IPv6 traffic.
A server that is an app of ood is ``app-<name>``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "mh", "fo", "ovf")
"""Every scheduler, by the kernel's names."""

TYPES = ("tcp", "udp", "fwmark")
"""What a service listens for; ``fwmark`` takes packets that a firewall marked."""

FORWARDERS = {"g": "gatewaying", "i": "ipip", "m": "masquerading"}
"""How packets reach a server, by ipvsadm's letters."""

FLAGS = ("one-packet", "sh-fallback", "sh-port", "mh-fallback", "mh-port")
"""Options of the service's scheduling, by ipvsadm's names."""

CHECK_TYPES = ("tcp", "http", "script")
FAILURE_ACTIONS = ("remove", "quiesce")

DEFAULT_SCHEDULER = "wlc"
DEFAULT_TYPE = "tcp"
DEFAULT_FORWARDER = "g"

DRAIN_SECONDS = 30
"""How long a server that leaves may keep its live connections, unless told otherwise."""

LOOPBACK = "127.0.0.1"
"""Where ood's apps answer, whatever the family of the service."""

_IPV4_ID = re.compile(r"\d{1,3}(_\d{1,3}){3}\Z")


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a service's servers are found to be alive.

    :ivar type: ``tcp`` connects, ``http`` fetches ``path``, ``script`` runs a command.
    :ivar interval: seconds between two probes of one server.
    :ivar timeout: seconds after which a probe has failed.
    :ivar retries: failures in a row, beyond the first, before a server is down.
    :ivar rise: successes in a row before a server is up again.
    :ivar port: probed port; 0 is the server's own.
    :ivar path: what ``http`` asks for.
    :ivar host: the Host header of ``http``; empty is the server's address.
    :ivar status: lowest and highest status of ``http`` that count as alive.
    :ivar script: the command and its arguments; exit status 0 is alive.
    :ivar on_failure: ``remove`` takes a dead server out, ``quiesce`` gives it
        weight 0, so that its connections stay.
    """

    type: str = "tcp"
    interval: float = 5.0
    timeout: float = 3.0
    retries: int = 1
    rise: int = 1
    port: int = 0
    path: str = "/"
    host: str = ""
    status: tuple[int, int] = (200, 399)
    script: tuple[str, ...] = ()
    on_failure: str = "remove"


class Server(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One machine and port, or an app of ood, that takes a service's connections.

    :ivar app: the app's name; its address is looked up when it is needed, and
        ``host`` and ``port`` are empty where the server is configured.
    :ivar forwarder: ``g`` gatewaying, ``i`` ipip, ``m`` masquerading.
    :ivar weight: its share; 0 keeps its connections and sends it no new ones.
    :ivar upper_threshold: connections at which no more are sent; 0 is no limit.
    :ivar lower_threshold: connections below which they are sent again; 0 is
        three quarters of the upper one.
    """

    host: str = ""
    port: int = 0
    app: str = ""
    forwarder: str = DEFAULT_FORWARDER
    weight: int = 1
    upper_threshold: int = 0
    lower_threshold: int = 0

    @property
    def id(self) -> str:
        """Return the id that names this server within its service."""
        return f"app-{self.app}" if self.app else f"{host_id(self.host)}-{self.port}"

    def document(self) -> dict[str, object]:
        """Return the JSON form that the API answers with."""
        fields = msgspec.structs.asdict(self)
        if not self.app:
            del fields["app"]
        return {"id": self.id, **fields}

    def at(self, host: str, port: int) -> Server:
        """Return this app's server where the app answers now."""
        return msgspec.structs.replace(self, host=host, port=port)


class Service(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One address and port (or firewall mark) and the servers behind it.

    :ivar persistence: seconds that a client stays with its server; 0 is off.
    :ivar netmask: which clients count as one: a mask for IPv4 (empty is
        ``255.255.255.255``), a prefix length for IPv6 (empty is ``128``).
    :ivar mark: the firewall mark of a ``fwmark`` service.
    :ivar flags: names of :data:`FLAGS`.
    :ivar drain: seconds that a server which leaves may keep its connections.
    :ivar check: how its servers are watched; None is not at all.
    """

    host: str
    port: int
    type: str = DEFAULT_TYPE
    scheduler: str = DEFAULT_SCHEDULER
    persistence: int = 0
    netmask: str = ""
    servers: tuple[Server, ...] = ()
    mark: int = 0
    flags: tuple[str, ...] = ()
    drain: int = DRAIN_SECONDS
    check: Check | None = None

    @property
    def id(self) -> str:
        """Return the id that names this service."""
        if self.type == "fwmark":
            return f"fwmark{'' if self.family == 4 else 6}-{self.mark}"
        return f"{self.type}-{host_id(self.host)}-{self.port}"

    @property
    def family(self) -> int:
        """Return 4 or 6."""
        return 6 if ":" in self.host else 4

    def server(self, server_id: str) -> Server | None:
        """Return the server with this id, if there is one."""
        return next((server for server in self.servers if server.id == server_id), None)

    def resolved(self, port_of: Callable[[str], int | None]) -> Service:
        """Return this service with its apps where they answer now; absent ones are left out.

        :param port_of: returns the loopback port of an app that runs.
        """
        if not any(server.app for server in self.servers):
            return self
        servers = []
        for server in self.servers:
            port = port_of(server.app) if server.app else None
            if not server.app:
                servers.append(server)
            elif port is not None:
                servers.append(server.at(LOOPBACK, port))
        return self.with_servers(tuple(servers))

    def with_servers(self, servers: tuple[Server, ...]) -> Service:
        """Return this service with other servers."""
        return msgspec.structs.replace(self, servers=servers)

    def document(self) -> dict[str, object]:
        """Return the JSON form that the API answers with.

        What is beyond the fields every client knows appears only when it was
        set, so that older clients see what they have always seen.
        """
        answer: dict[str, object] = {
            "id": self.id,
            "host": self.host,
            "port": self.port,
            "type": self.type,
            "scheduler": self.scheduler,
            "persistence": self.persistence,
            "netmask": self.netmask,
            "servers": [server.document() for server in self.servers],
        }
        if self.mark:
            answer["mark"] = self.mark
        if self.flags:
            answer["flags"] = list(self.flags)
        if self.drain != DRAIN_SECONDS:
            answer["drain"] = self.drain
        if self.check is not None:
            answer["check"] = msgspec.to_builtins(self.check)
        return answer


def address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that ``host`` writes, or None when it isn't a usable one."""
    try:
        parsed = ip_address(host)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and (parsed.scope_id or parsed.ipv4_mapped):
        return None
    return parsed


def packed(host: str) -> bytes:
    """Return a valid host's address as 4 or 16 bytes."""
    return ip_address(host).packed


def host_id(host: str) -> str:
    """Return ``host`` as it stands in an id."""
    return host.replace(".", "_").replace(":", "_")


def host_of_id(text: str) -> str | None:
    """Return the host that :func:`host_id` made ``text`` of, or None."""
    host = text.replace("_", "." if _IPV4_ID.match(text) else ":")
    parsed = address(host)
    return host if parsed is not None and str(parsed) == host else None


def is_service_id(text: str) -> bool:
    """Say whether ``text`` has the form of a service's id."""
    kind, _, rest = text.partition("-")
    if kind in {"fwmark", "fwmark6"}:
        return rest.isdecimal()
    host, _, port = rest.rpartition("-")
    return kind in TYPES and port.isdecimal() and host_of_id(host) is not None
