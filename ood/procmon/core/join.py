"""The messages of the join protocol (``docs/join-protocol.md``).

What comes from a worker is other people's code speaking: everything is
checked here before anything is done with it.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ood.traffic.histogram import BUCKETS

MESSAGE_BYTES_MAX = 65_536
"""Longest message, either way; the protocol says so."""
SERVER_IDS = 64
"""A server's id must fit into the second byte of a hand-off, after 64."""
LAST_MOMENT_MS = 253_402_300_799_000
"""The end of the year 9999 since the epoch: later moments can't be written."""
ACCESS_PREFIX = b'{"ood":"access",'
"""How the guard begins this message, the only one that comes in bulk."""
SLOW_REQUESTS_MAX = 16
"""Requests that take long, in one message; the guard tells of half as many."""
VERSION = 1
"""The protocol's version that both sides must speak."""

ServerId = Annotated[int, Meta(ge=0, lt=SERVER_IDS)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Count = Annotated[int, Meta(ge=0, lt=1 << 53)]
Number = Annotated[float, Meta(ge=0)]
SlowRequest = tuple[
    Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)], Number
]
"""Method, path and age in milliseconds."""


class InvalidMessageError(ValueError):
    """A peer sent what the protocol does not allow."""


class Hello(msgspec.Struct, frozen=True):
    """A process introduces itself."""

    v: int
    token: Annotated[str, Meta(max_length=128)]
    pid: Annotated[int, Meta(ge=1)]
    node: Annotated[str, Meta(max_length=64)] = ""


class Listening(msgspec.Struct, frozen=True):
    """A server listens."""

    id: ServerId
    port: Port
    host: Annotated[str, Meta(max_length=256)] | None = None
    tls: bool = False
    http: bool = True


class Close(msgspec.Struct, frozen=True):
    """A server closed."""

    id: ServerId


class Ack(msgspec.Struct, frozen=True):
    """Connections up to ``n`` are settled."""

    n: Count


class Nack(msgspec.Struct, frozen=True):
    """Connection ``n`` was not taken; ``full`` if there was no descriptor for it."""

    n: Annotated[int, Meta(ge=1, lt=1 << 53)]
    full: bool = False


class Back(msgspec.Struct, frozen=True):
    """A connection comes back, with a descriptor."""


class Ready(msgspec.Struct, frozen=True):
    """The app said ``process.send('ready')``."""


Five = Annotated[list[Count], Meta(min_length=5, max_length=5)]
Buckets = Annotated[list[Count], Meta(min_length=BUCKETS, max_length=BUCKETS)]


class Meter(msgspec.Struct, frozen=True, rename="camel"):
    """What a process has counted of the app's requests that came one way.

    :ivar status: answers by the first digit of their status, from 1; upgrades count as 1.
    :ivar buckets: answers by their duration; see :mod:`ood.traffic.histogram`.
    :ivar ms: their durations together, in milliseconds.
    :ivar bytes: of the answers, their heads included.
    """

    status: Five = msgspec.field(default_factory=lambda: [0] * 5)
    buckets: Buckets = msgspec.field(default_factory=lambda: [0] * BUCKETS)
    ms: Number = 0
    bytes: Count = 0
    in_flight: Count = 0


class Stats(msgspec.Struct, frozen=True, rename="camel"):
    """What the process has counted since it began."""

    requests: Count = 0
    in_flight: Count = 0
    connections: Count = 0
    rss: Number = 0
    lag: Number = 0
    misdirected: Count = 0
    s2: Count = 0
    s3: Count = 0
    s4: Count = 0
    s5: Count = 0
    handed: Meter = Meter()
    piped: Meter = Meter()
    slow: Annotated[tuple[SlowRequest, ...], Meta(max_length=SLOW_REQUESTS_MAX)] = ()


class Line(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A finished request, for the access log; ``docs/join-protocol.md`` says what is what."""

    time: Annotated[float, Meta(ge=0, le=LAST_MOMENT_MS)]
    client: str
    method: str
    target: str
    version: str
    status: Annotated[int, Meta(ge=100, le=599)]
    size: Count
    ms: Number
    referer: str
    agent: str
    host: str
    request_id: str


class Access(msgspec.Struct, frozen=True):
    """Finished requests, and how many more could not be told."""

    lines: list[Line]
    lost: Count = 0


class Drained(msgspec.Struct, frozen=True):
    """Nothing but ``left`` upgraded connections is open."""

    left: Count = 0


class Unfit(msgspec.Struct, frozen=True):
    """The guard can't work in this Node (from a process without an IPC channel)."""

    why: Annotated[str, Meta(max_length=1024)] = ""


Message = Hello | Listening | Close | Ack | Nack | Back | Ready | Stats | Drained | Unfit | Access

_KINDS: dict[str, type[Message]] = {
    "hello": Hello,
    "listening": Listening,
    "close": Close,
    "ack": Ack,
    "nack": Nack,
    "back": Back,
    "ready": Ready,
    "stats": Stats,
    "drained": Drained,
    "unfit": Unfit,
    "access": Access,
}

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_access = msgspec.json.Decoder(Access).decode
_encode = msgspec.json.Encoder().encode


def decode(line: bytes) -> Message | None:
    """Return the message on ``line``, None for a kind that is not known.

    :raises InvalidMessageError: it is no message, or a value is not allowed.
    """
    try:
        if line.startswith(ACCESS_PREFIX):
            return _decode_access(line)
        plain = _decode_object(line)
        kind = _KINDS.get(str(plain.get("ood")))
        return None if kind is None else msgspec.convert(plain, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessageError(str(error)) from None


class Hosts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which requests are an app's own.

    :ivar own: its host names; may hold ``*.example.com``.
    :ivar foreign: names that it must not answer to though ``default`` or one of its
        wildcards would have it so.
    :ivar default: whether it answers for hosts that nobody names.
    :ivar port: its own loopback port.
    :ivar log: whether ood wants to know of each finished request.
    :ivar every: every request is for ood, which must look at it, whatever its host.
    :ivar public: ood's own ports; on others that the app listens on, hosts don't matter.
    """

    own: tuple[str, ...]
    foreign: tuple[str, ...]
    default: bool
    port: int
    log: bool = False
    every: bool = False
    public: tuple[int, ...] = ()


def encode_hosts(hosts: Hosts) -> bytes:
    """Return the message; the default gives way if the names do not fit.

    Without ``default``, requests for unknown hosts go back to ood, which routes them
    right: slower, never wrong.
    """
    message = _hosts_line(hosts)
    if len(message) > MESSAGE_BYTES_MAX:
        message = _hosts_line(msgspec.structs.replace(hosts, foreign=(), default=False))
    return message


def _hosts_line(hosts: Hosts) -> bytes:
    return _encode({"ood": "hosts", **msgspec.to_builtins(hosts)}) + b"\n"


DRAIN = b'{"ood":"drain"}\n'
"""Send idle connections back, and each other one when its answer is done."""
WATCH = {True: b'{"ood":"watch","on":true}\n', False: b'{"ood":"watch","on":false}\n'}
"""Write each request down before the app sees it, or cease to."""
LEAVE = b'{"ood":"leave"}\n'
"""Close the servers."""


def connection(server: int, *, sealed: bool = False) -> bytes:
    """Return the two bytes that go with a connection for server ``server``.

    :param sealed: the kernel does the connection's TLS.
    """
    return bytes((ord("T" if sealed else "C"), 64 + server))
