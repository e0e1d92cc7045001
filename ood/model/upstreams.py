"""The servers of an app that ood does not run: how they are written, and what holds for them."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from ood.model import kinds, upstreamtls
from ood.model.kinds import Kind, parse_app_name
from ood.model.upstreamtls import Tls

UPSTREAMS_MAX = 64
"""Most upstreams of one app: each is checked every second."""
WEIGHT_MAX = 1000
"""Largest weight: shares finer than a thousandth can't be told apart."""
UNIX_PATH_BYTES_MAX = 107
"""Longest path of a unix socket that the kernel takes."""
PORTS = {"http://": 80, "https://": 443}
"""The port of an address that names none, by how it begins."""

_TLS_WORDS = "serverName=NAME, caFile=PATH, certFile=PATH, keyFile=PATH or verify=false"
_BRACKETS = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::(.*))?")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True)
class Place:
    """Where a server listens: a host and a port, or the path of a unix socket.

    :ivar literal: whether ``host`` is an address and not a name.
    :ivar secure: whether TLS is spoken there.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    literal: bool = True
    secure: bool = False

    def __str__(self) -> str:
        """Return the one way in which it is written down."""
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https://' if self.secure else ''}{host}:{self.port}"


class Upstream(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A server of an app.

    :ivar address: ``HOST:PORT``, ``https://HOST:PORT`` or ``unix:PATH``.
    :ivar weight: its share of the requests, in relation to the others'.
    :ivar backup: it only gets requests while none of the others is well.
    :ivar server_name: for whom its certificate has to be, if not for the address's host.
    :ivar ca_file: see :class:`~ood.model.upstreamtls.Tls`, as for what follows.
    """

    address: str
    weight: int = 1
    backup: bool = False
    server_name: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    verify: bool = True

    def place(self) -> Place:
        """Return where it listens."""
        return parse_address(self.address)

    def tls(self) -> Tls | None:
        """Return how TLS is spoken to it; None if it is not."""
        place = self.place()
        if not place.secure:
            return None
        name = self.server_name or place.host
        return Tls(name, self.ca_file, self.cert_file, self.key_file, self.verify)


def parse_address(text: str) -> Place:
    """Return where ``text`` says that a server listens.

    :raises ValueError: it is no such address.
    """
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"), text)
    begin = next((one for one in PORTS if text.startswith(one)), "")
    plain = text.removeprefix(begin)
    if "://" in plain:
        raise ValueError(f"{text} begins neither with http:// nor with https://")
    plain = plain.removesuffix("/") if begin else plain
    if "/" in plain or "@" in plain:
        raise ValueError(f"{text} holds more than a host and a port: requests keep their path")
    host, port = _split(plain)
    if not port and not begin:
        raise ValueError(f"{text} has no port")
    if port and (not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535):
        raise ValueError(f"{text}: the port is not a number from 1 to 65535")
    number, secure = int(port) if port else PORTS[begin], begin == "https://"
    try:
        return Place(str(ipaddress.ip_address(host)), number, secure=secure)
    except ValueError:
        return Place(_name(host, text), number, literal=False, secure=secure)


def _unix(path: str, text: str) -> Place:
    path = "/" + path.lstrip("/") if path.startswith("//") else path
    if not path.startswith("/") or "\0" in path or len(path.encode()) > UNIX_PATH_BYTES_MAX:
        raise ValueError(f"{text} is not an absolute path of at most {UNIX_PATH_BYTES_MAX} bytes")
    return Place(path=path)


def _split(text: str) -> tuple[str, str]:
    match = _BRACKETS.fullmatch(text)
    if match is not None:
        return match[1], match[2] or ""
    host, _, port = text.partition(":")
    return host, port


def _name(host: str, text: str) -> str:
    try:
        return parse_app_name(host.lower().removesuffix("."))
    except ValueError:
        raise ValueError(f"{text}: {host or 'nothing'} is not a host name or address") from None


def _written(value: Any) -> dict[str, Any]:
    """Return an upstream written as a text, ``ADDRESS [weight=N] [backup] ...``, as an object."""
    if not isinstance(value, str):
        if not isinstance(value, dict):
            raise ValueError("an upstream is neither a text nor an object")
        return value
    address, *words = value.split() or [""]
    plain: dict[str, Any] = {"address": address}
    for word in words:
        key, equals, text = word.partition("=")
        if word == "backup":
            plain["backup"] = True
        elif key == "weight" and equals:
            plain["weight"] = int(text) if text.isdecimal() else text
        elif key in upstreamtls.KEYS and text:
            plain[key] = text
        else:
            raise ValueError(f"{word} is none of weight=N, backup, {_TLS_WORDS}")
    return plain


def _upstream(value: Any) -> Upstream:
    plain = _written(value)
    unknown = sorted(set(plain) - {"address", "weight", "backup", *upstreamtls.KEYS})
    if unknown:
        raise ValueError(f"an upstream has no {unknown[0]}")
    address, weight = plain.get("address"), plain.get("weight", 1)
    backup = plain.get("backup", False)
    if not isinstance(address, str) or not address:
        raise ValueError("an upstream has no address")
    if not isinstance(weight, int) or isinstance(weight, bool) or not 1 <= weight <= WEIGHT_MAX:
        raise ValueError(f"{address}: weight is not a whole number from 1 to {WEIGHT_MAX}")
    if not isinstance(backup, bool):
        raise ValueError(f"{address}: backup is neither true nor false")
    place = parse_address(address)
    options = upstreamtls.parse_options(plain, address, secure=place.secure)
    return Upstream(str(place), weight, backup, **options)


def unverified(upstreams: Iterable[Upstream]) -> tuple[str, ...]:
    """Return the servers that could be anybody: those whose certificate nobody looks at."""
    return tuple(one.address for one in upstreams if not one.verify)


def _upstreams(value: Any) -> tuple[Upstream, ...]:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                raise ValueError("is not valid JSON") from None
        else:
            value = [part for part in text.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        raise ValueError("is not a list")
    if len(value) > UPSTREAMS_MAX:
        raise ValueError(f"has {len(value)} items, more than {UPSTREAMS_MAX}")
    found = tuple(one if isinstance(one, Upstream) else _upstream(one) for one in value)
    if len({one.address for one in found}) != len(found):
        raise ValueError("names the same server twice")
    if found and all(one.backup for one in found):
        raise ValueError("has nothing but backups")
    return found


_OBJECT = {
    "type": "object",
    "properties": {
        "address": {"type": "string"},
        "weight": {"type": "integer", "minimum": 1, "maximum": WEIGHT_MAX},
        "backup": {"type": "boolean"},
        **upstreamtls.SCHEMA,
    },
    "required": ["address"],
    "additionalProperties": False,
}

UPSTREAMS = Kind(
    _upstreams,
    "addresses such as http://10.0.0.5:8080, https://api.example, name:8080 or "
    "unix:/run/app.sock, each with weight=N or backup after it if wanted, and those with "
    f"https:// with {_TLS_WORDS}",
    {"type": "array", "items": {"anyOf": [{"type": "string"}, _OBJECT]}},
)

UPSTREAM_KEYS = {
    "upstreams": (UPSTREAMS, "With type proxy: the servers that answer."),
    "balance": (
        kinds.choice("leastConn", "roundRobin", "random", "ipHash", "cookie"),
        "With type proxy: which server gets the next request; ipHash and cookie are as sticky.",
    ),
    "healthInterval": (
        kinds.DURATION,
        "With type proxy: pause between two checks of a server, by healthPath, or else by just "
        "connecting; 0 is none.",
    ),
    "maxFails": (
        kinds.integer(1, 1000),
        "With type proxy: failures in a row after which a server gets no requests.",
    ),
    "failTimeout": (
        kinds.DURATION,
        "With type proxy: how long a server gets none after failed requests.",
    ),
    "sticky": (
        kinds.choice("off", "ip", "cookie"),
        "Whether a client stays with its worker or server: by its address, or by a cookie, for "
        "which all its requests go through ood.",
    ),
}
"""Keys of apps by which the proxy finds workers and servers: kind and meaning."""
UPSTREAM_FIELDS = ("upstreams", "balance", "health_interval", "max_fails", "fail_timeout", "sticky")
"""The same as fields."""
