"""Reading services and servers from JSON, naming every fault at once.

The words of the faults that clients of the seed system know are kept: see
:data:`KNOWN_PROBLEMS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any, TypeVar

from ood.errors import Fault, InvalidError
from ood.model.services import (
    CHECK_TYPES,
    DEFAULT_FORWARDER,
    DEFAULT_SCHEDULER,
    DEFAULT_TYPE,
    DRAIN_SECONDS,
    FAILURE_ACTIONS,
    FLAGS,
    FORWARDERS,
    SCHEDULERS,
    TYPES,
    Check,
    Server,
    Service,
    address,
)

Value = TypeVar("Value")

BAD_SCHEDULER = "Invalid Service Scheduler"
BAD_FORWARDER = "Invalid Server Forwarder"
BAD_FORWARDER_PORT = "Invalid Server Port for Forwarder"
BAD_PROTOCOL = "Unsupported Protocol - '{}'"
SOCKET_IN_USE = "Socket in use: '{}:{}'"

KNOWN_PROBLEMS = (
    BAD_SCHEDULER,
    BAD_FORWARDER,
    BAD_FORWARDER_PORT,
    "Unsupported Protocol",
    "Socket in use",
)
"""Beginnings of faults that existing clients compare as they stand, without a key."""

LARGEST_PORT = 65535
LARGEST_WEIGHT = 65535
"""ipvsadm's limit; the kernel multiplies weights with connection counts."""
LARGEST_COUNT = 2**31 - 1
"""Thresholds beyond this are signed trouble in the kernel's comparisons."""
LARGEST_MARK = 2**32 - 1
LONGEST_PERSISTENCE_SECONDS = 31 * 24 * 3600
"""ipvsadm's limit; longer ones overflow the kernel's timers on 32-bit machines."""
LONGEST_DRAIN_SECONDS = 24 * 3600
"""A day; connections that live longer are not waited for."""
SHORTEST_CHECK_SECONDS = 0.1
"""More than ten probes a second burden a server rather than watch it."""
LONGEST_CHECK_SECONDS = 3600.0
MOST_RETRIES = 100
MOST_SERVERS = 4093
"""The slots of the mh scheduler's table; nothing larger can be scheduled by it."""
_APP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}\Z")

SHOWN_CHARACTERS = 40
"""How much of a wrong value a fault repeats."""


class Fields:
    """One JSON object that is being read; collects what is wrong with it."""

    def __init__(self, raw: object, at: str, faults: list[Fault]) -> None:
        self.at = at
        self.faults = faults
        self.raw: Mapping[str, Any] = {}
        self._known: set[str] = set()
        if isinstance(raw, Mapping):
            self.raw = raw
        else:
            faults.append(Fault(at or "body", "is not a JSON object"))

    def key(self, name: str) -> str:
        """Return where the field ``name`` stands."""
        return f"{self.at}.{name}" if self.at else name

    def wrong(self, name: str, problem: str, allowed: str = "") -> None:
        """Note what is wrong with the field ``name``."""
        self.faults.append(Fault(self.key(name), problem, allowed))

    def take(self, name: str, default: object, *others: str) -> Any:
        """Return the field's value by its name or one of its ``others``."""
        self._known.update((name, *others))
        given = [spelling for spelling in (name, *others) if spelling in self.raw]
        values = [self.raw[spelling] for spelling in given]
        if len(values) > 1 and values[0] != values[1]:
            self.wrong(name, f"contradicts {given[1]}")
        return values[0] if values else default

    def number(
        self, name: str, default: int, lowest: int, highest: int, others: Sequence[str] = ()
    ) -> int:
        """Return a whole number between two limits."""
        value = self.take(name, default, *others)
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        self.wrong(name, f"{shown(value)} is not valid", f"a whole number {lowest} to {highest}")
        return default

    def seconds(self, name: str, default: float) -> float:
        """Return a duration of a health check."""
        value = self.take(name, default)
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and SHORTEST_CHECK_SECONDS <= value <= LONGEST_CHECK_SECONDS
        ):
            return float(value)
        allowed = f"seconds, {SHORTEST_CHECK_SECONDS} to {LONGEST_CHECK_SECONDS:.0f}"
        self.wrong(name, f"{shown(value)} is not valid", allowed)
        return default

    def text(self, name: str, default: str) -> str:
        """Return a text."""
        value = self.take(name, default)
        if isinstance(value, str):
            return value
        self.wrong(name, f"{shown(value)} is not a text")
        return default

    def choice(self, name: str, default: str, allowed: Iterable[str], problem: str = "") -> str:
        """Return one of the ``allowed`` words; the empty text is the default."""
        value = self.text(name, default) or default
        if value in allowed:
            return value
        self.wrong(
            name,
            problem.format(value) if problem else f"{shown(value)} is unknown",
            "" if problem else ", ".join(allowed),
        )
        return default

    def words(self, name: str, allowed: Iterable[str] = ()) -> tuple[str, ...]:
        """Return a list of texts, each of them allowed if ``allowed`` names some."""
        value = self.take(name, ())
        if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
            self.wrong(name, "is not a list of texts")
            return ()
        for word in value:
            if allowed and word not in allowed:
                self.wrong(name, f"{shown(word)} is unknown", ", ".join(allowed))
        return tuple(value)

    def host(self, family: int = 0) -> str:
        """Return an address in its shortest form, of ``family`` unless that is 0."""
        value = self.text("host", "")
        parsed = address(value)
        if parsed is None:
            self.wrong("host", f"{shown(value)} is not an address", "an IPv4 or IPv6 address")
            return "0.0.0.0"  # noqa: S104 - a stand-in; the fault refuses it
        if family and parsed.version != family:
            self.wrong("host", f"{value} is not IPv{family}, as its service is")
        return str(parsed)

    def finish(self, *ignored: str) -> None:
        """Note every field that nothing asked for."""
        for name in self.raw:
            if name not in self._known and name not in ignored:
                self.wrong(str(name), "is not a known field", ", ".join(sorted(self._known)))


def shown(value: object) -> str:
    """Return a wrong value as a fault repeats it."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def read_services(raw: object, at: str = "") -> tuple[Service, ...]:
    """Return the services of a JSON array; ids must differ.

    :param at: where the array stands, for the faults.
    """
    return _read(raw, lambda value, faults: _services(value, at, faults))


def read_service(raw: object) -> Service:
    """Return the service of a JSON object."""
    return _read(raw, lambda value, faults: _service(Fields(value, "", faults)))


def read_server(raw: object, service: Service) -> Server:
    """Return the server of a JSON object that is to join ``service``."""
    return _read(raw, lambda value, faults: _server(Fields(value, "", faults), service))


def read_servers(raw: object, service: Service) -> tuple[Server, ...]:
    """Return the servers of a JSON array that are to be those of ``service``."""
    return _read(raw, lambda value, faults: _servers(value, "", service, faults))


def _read(raw: object, reader: Callable[[object, list[Fault]], Value]) -> Value:
    faults: list[Fault] = []
    value = reader(raw, faults)
    if faults:
        raise InvalidError(faults)
    return value


def _items(raw: object, at: str, faults: list[Fault]) -> list[tuple[str, object]]:
    if isinstance(raw, list | tuple):
        return [(f"{at}[{index}]", item) for index, item in enumerate(raw)]
    faults.append(Fault(at or "body", "is not a JSON array"))
    return []


def _services(raw: object, at: str, faults: list[Fault]) -> tuple[Service, ...]:
    items = _items(raw, at, faults)
    services = [_service(Fields(item, at, faults)) for at, item in items]
    _refuse_doubles([service.id for service in services], items, faults)
    return tuple(services)


def _refuse_doubles(ids: list[str], items: list[tuple[str, object]], faults: list[Fault]) -> None:
    if faults:  # stand-ins of faulty values would only look doubled
        return
    seen: dict[str, str] = {}
    for (at, _), name in zip(items, ids, strict=True):
        if name in seen:
            faults.append(Fault(at, f"{name} is already {seen[name]}"))
        seen.setdefault(name, at)


def _service(fields: Fields) -> Service:
    kind = fields.choice("type", DEFAULT_TYPE, TYPES, BAD_PROTOCOL)
    if kind == "fwmark":
        host, port, mark = _mark(fields)
    else:
        host = fields.host()
        port = fields.number("port", 0, 1, LARGEST_PORT)
        mark = fields.number("mark", 0, 0, 0)
    bare = Service(
        host=host,
        port=port,
        type=kind,
        scheduler=fields.choice("scheduler", DEFAULT_SCHEDULER, SCHEDULERS, BAD_SCHEDULER),
        persistence=fields.number("persistence", 0, 0, LONGEST_PERSISTENCE_SECONDS),
        netmask=_netmask(fields, 6 if ":" in host else 4),
        mark=mark,
        flags=fields.words("flags", FLAGS),
        drain=fields.number("drain", DRAIN_SECONDS, 0, LONGEST_DRAIN_SECONDS),
        check=_check(fields),
    )
    raw_servers = fields.take("servers", ())
    servers = _servers(raw_servers or (), fields.key("servers"), bare, fields.faults)
    fields.finish("id", "statistics")
    return bare.with_servers(servers)


def _mark(fields: Fields) -> tuple[str, int, int]:
    mark = fields.number("mark", 0, 1, LARGEST_MARK)
    host = fields.text("host", "") or "0.0.0.0"  # noqa: S104 - the family, not an address
    if host not in {"0.0.0.0", "::"}:  # noqa: S104
        fields.wrong("host", f"{shown(host)} has no meaning with a mark", "0.0.0.0, ::")
    return host, fields.number("port", 0, 0, 0), mark


def _netmask(fields: Fields, family: int) -> str:
    text = fields.text("netmask", "")
    if not text:
        return text
    if family == 6:
        if not text.isdecimal() or not 1 <= int(text) <= 128:
            fields.wrong("netmask", f"{shown(text)} is not valid", "a prefix length, 1 to 128")
        return text
    mask = address(text)
    if not isinstance(mask, IPv4Address) or not _contiguous(int(mask)):
        fields.wrong("netmask", f"{shown(text)} is not valid", "a mask like 255.255.255.0")
    return text


def _contiguous(mask: int) -> bool:
    hosts = mask ^ 0xFFFFFFFF
    return mask != 0 and hosts & (hosts + 1) == 0


def _servers(raw: object, at: str, service: Service, faults: list[Fault]) -> tuple[Server, ...]:
    items = _items(raw, at, faults)
    if len(items) > MOST_SERVERS:
        faults.append(Fault(at or "body", f"has {len(items)} servers", f"at most {MOST_SERVERS}"))
        return ()
    servers = [_server(Fields(item, place, faults), service) for place, item in items]
    _refuse_doubles([server.id for server in servers], items, faults)
    return tuple(servers)


def _server(fields: Fields, service: Service) -> Server:
    marked = service.type == "fwmark"
    app = _app(fields, service)
    server = Server(
        host=fields.text("host", "") if app else fields.host(service.family),
        port=fields.number("port", 0, 0 if app or marked else 1, 0 if app else LARGEST_PORT),
        app=app,
        forwarder=_forwarder(fields, app),
        weight=fields.number("weight", 1, 0, LARGEST_WEIGHT),
        upper_threshold=fields.number("upper_threshold", 0, 0, LARGEST_COUNT, ["UpperThreshold"]),
        lower_threshold=fields.number("lower_threshold", 0, 0, LARGEST_COUNT, ["LowerThreshold"]),
    )
    if server.lower_threshold > server.upper_threshold:
        limit = f"at most upper_threshold ({server.upper_threshold})"
        fields.wrong("lower_threshold", f"{server.lower_threshold} is above the upper one", limit)
    # the kernel takes another port here and ignores it: packets keep theirs
    if server.forwarder != "m" and not (app or marked) and server.port != service.port:
        fields.wrong("port", BAD_FORWARDER_PORT)
    fields.finish("id", "statistics")
    return server


def _app(fields: Fields, service: Service) -> str:
    name = fields.text("app", "")
    if name and not _APP_NAME.match(name):
        fields.wrong("app", f"{shown(name)} is not an app's name")
    if name and fields.text("host", ""):
        fields.wrong("host", "goes without app: ood knows where its apps answer")
    if name and service.type != "tcp":
        fields.wrong("app", f"apps answer over tcp, not for type {service.type}")
    return name


def _forwarder(fields: Fields, app: str) -> str:
    if not app:
        return fields.choice("forwarder", DEFAULT_FORWARDER, FORWARDERS, BAD_FORWARDER)
    return fields.choice("forwarder", "m", ["m"], BAD_FORWARDER)


def _check(outer: Fields) -> Check | None:
    raw = outer.take("check", None)
    if raw is None:
        return None
    fields = Fields(raw, outer.key("check"), outer.faults)
    check = Check(
        type=fields.choice("type", "tcp", CHECK_TYPES),
        interval=fields.seconds("interval", 5.0),
        timeout=fields.seconds("timeout", 3.0),
        retries=fields.number("retries", 1, 0, MOST_RETRIES),
        rise=fields.number("rise", 1, 1, MOST_RETRIES),
        port=fields.number("port", 0, 0, LARGEST_PORT),
        path=fields.text("path", "/"),
        host=fields.text("host", ""),
        status=_status(fields),
        script=fields.words("script"),
        on_failure=fields.choice("on_failure", "remove", FAILURE_ACTIONS),
    )
    if (check.type == "script") != bool(check.script):
        fields.wrong("script", "goes with type script, and only with it", "a command, arguments")
    if not check.path.startswith("/") or any(ord(letter) <= 32 for letter in check.path):
        fields.wrong("path", f"{shown(check.path)} is not valid", "a path that begins with /")
    if any(ord(letter) <= 32 for letter in check.host):
        fields.wrong("host", f"{shown(check.host)} is not a host name")
    fields.finish()
    return check


def _status(fields: Fields) -> tuple[int, int]:
    value = fields.take("status", (200, 399))
    if (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(status, int) and 100 <= status <= 599 for status in value)
        and value[0] <= value[1]
    ):
        return (value[0], value[1])
    fields.wrong("status", f"{shown(value)} is not valid", "lowest and highest status")
    return (200, 399)
