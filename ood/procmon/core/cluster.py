"""The messages of Node's own cluster channel, as its primary sees them.

Node speaks one JSON object a line.  Names and numbers are Node's; they have
not changed from Node 16 to 26.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

MESSAGE_BYTES_MAX = 1 << 20
"""Longest message: ``process.send`` of an app may be big, ood only looks for ``ready``."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

HANDLE_ACK = b'{"cmd":"NODE_HANDLE_ACK"}\n'
"""Answers a message that came with a descriptor."""
SHUTDOWN = b'"shutdown"\n'
"""The message that PM2's users ask for instead of a signal."""


@dataclass(frozen=True)
class Query:
    """``server.listen()``: the worker asks for a listening handle."""

    seq: int
    address: str | None
    port: int
    address_type: int | str
    index: int
    fd: int | None
    data: Any

    @property
    def key(self) -> str:
        """What Node calls this server, in every worker alike."""
        return f"{self.address}:{self.port}:{self.address_type}:{self.fd}:{self.index}"


@dataclass(frozen=True)
class Listening:
    """A server listens; the same as the query, but for a port that was 0."""

    address: str | None
    port: int
    address_type: int | str
    index: int


@dataclass(frozen=True)
class Close:
    """The server ``key`` closed."""

    key: str


@dataclass(frozen=True)
class ExitedAfterDisconnect:
    """The worker leaves on purpose and waits for the answer."""

    seq: int


@dataclass(frozen=True)
class Ack:
    """The worker has taken, or not, what was sent with ``seq``."""

    seq: int
    accepted: bool


@dataclass(frozen=True)
class Received:
    """The next descriptor that was sent arrived, or not."""

    arrived: bool


@dataclass(frozen=True)
class Handle:
    """A message that brought a descriptor, which nobody asked for."""


@dataclass(frozen=True)
class Unfit:
    """The guard can't work in this Node."""

    why: str


@dataclass(frozen=True)
class User:
    """A message of the app: ``process.send(value)``."""

    value: Any


Message = Query | Listening | Close | ExitedAfterDisconnect | Ack | Received | Handle | Unfit | User


def _integer(value: Any) -> int:
    return value if type(value) is int and -1 <= value < 1 << 53 else -1


def _address(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= 256 else None


def _query(plain: dict[str, Any]) -> Query:
    fd = plain.get("fd")
    return Query(
        seq=_integer(plain.get("seq")),
        address=_address(plain.get("address")),
        port=_integer(plain.get("port")),
        address_type=_address_type(plain),
        index=_integer(plain.get("index")),
        fd=None if fd is None else _integer(fd),
        data=plain.get("data"),
    )


def _address_type(plain: dict[str, Any]) -> int | str:
    value = plain.get("addressType")
    return value if value in (4, 6, "udp4", "udp6") else -1


def _listening(plain: dict[str, Any]) -> Listening:
    return Listening(
        address=_address(plain.get("address")),
        port=_integer(plain.get("port")),
        address_type=_address_type(plain),
        index=_integer(plain.get("index")),
    )


def _cluster(plain: dict[str, Any]) -> Message | None:
    if "ack" in plain:
        return Ack(_integer(plain["ack"]), plain.get("accepted") is True)
    act = plain.get("act")
    if act == "queryServer":
        return _query(plain)
    if act == "listening":
        return _listening(plain)
    if act == "close":
        return Close(str(plain.get("key")))
    if act == "exitedAfterDisconnect":
        return ExitedAfterDisconnect(_integer(plain.get("seq")))
    return None


def decode(line: bytes) -> Message | None:
    """Return the message on ``line``; None for what needs no answer.

    :raises ValueError: it is not JSON.
    """
    try:
        plain = _decode(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from None
    command = plain.get("cmd") if isinstance(plain, dict) else None
    if not isinstance(command, str) or not command.startswith("NODE_"):
        return User(plain)
    if command == "NODE_CLUSTER":
        return _cluster(plain)
    if command == "NODE_HANDLE":
        return Handle()
    if command in ("NODE_HANDLE_ACK", "NODE_HANDLE_NACK"):
        return Received(arrived=command == "NODE_HANDLE_ACK")
    if command == "NODE_OOD" and plain.get("ood") == "unfit":
        return Unfit(str(plain.get("why"))[:200])
    return None


def _line(message: dict[str, Any]) -> bytes:
    return _encode(message) + b"\n"


def _with_handle(kind: str, message: dict[str, Any]) -> bytes:
    return _line({"cmd": "NODE_HANDLE", "type": kind, "msg": message})


def _reply(query: Query, seq: int, data: Any) -> dict[str, Any]:
    head = {"cmd": "NODE_CLUSTER", "errno": 0, "key": query.key}
    return {**head, "ack": query.seq, "data": data, "seq": seq}


def listen_reply(query: Query, seq: int, data: Any) -> bytes:
    """Answer a TCP server: connections will be handed over one by one."""
    address = query.address or "::"
    family = "IPv6" if ":" in address else "IPv4"
    sockname = {"address": address, "family": family, "port": query.port}
    return _line({**_reply(query, seq, data), "sockname": sockname})


def shared_reply(query: Query, seq: int, data: Any) -> bytes:
    """Answer with a real handle; the descriptor goes along."""
    kind = "dgram.Native" if isinstance(query.address_type, str) else "net.Native"
    return _with_handle(kind, _reply(query, seq, data))


def error_reply(query: Query, seq: int, errno: int) -> bytes:
    """Answer that the server can't listen; ``errno`` is positive, as Python has it."""
    return _line({**_reply(query, seq, None), "errno": -errno})


def acknowledge(seq: int) -> bytes:
    """Answer a message that waits for nothing but an answer."""
    return _line({"cmd": "NODE_CLUSTER", "ack": seq})


def new_connection(key: str, seq: int) -> bytes:
    """Hand a connection to the server ``key``; the descriptor goes along."""
    message = {"cmd": "NODE_CLUSTER", "act": "newconn", "key": key, "seq": seq}
    return _with_handle("net.Native", message)


def disconnect(seq: int) -> bytes:
    """Ask the worker to close its servers and leave."""
    return _line({"cmd": "NODE_CLUSTER", "act": "disconnect", "seq": seq})
