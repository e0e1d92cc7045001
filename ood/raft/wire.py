"""What members and clients say to each other, as bytes.

The type of a call is one of the words below; its arguments are msgpack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ood.raft.core.types import Message
from ood.raft.errors import FrameError

# Both sides of a connection must speak the same version; see docs/raft.md.
PROTOCOL_VERSION = 1

HELLO = "hello"
MESSAGES = "raft"
COMMAND = "command"
QUERY = "query"
LEADER = "leader"
JOIN = "join"
LEAVE = "leave"
TRANSFER = "transfer"
STATUS = "status"


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """The first call on every connection, and its answer.

    :ivar id: who speaks; with TLS the certificate has to name it.
    :ivar incarnation: of the speaker's disk; "" for a client.
    :ivar address: where the speaker can be connected to; ``None`` for a client.
    :ivar empty: the speaker holds no log yet, so it can be joined.
    """

    version: int
    cluster: str
    id: str
    incarnation: str = ""
    address: Any = None
    empty: bool = False


class Command(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A command on its way to the leader."""

    data: bytes
    session: str | None = None
    sequence: int = 0


_encoder = msgspec.msgpack.Encoder()
_messages = msgspec.msgpack.Decoder(list[Message])
_hello = msgspec.msgpack.Decoder(Hello)
_command = msgspec.msgpack.Decoder(Command)

encode = _encoder.encode


def encode_messages(messages: Sequence[Message]) -> bytes:
    """Return messages for one member as one body."""
    return _encoder.encode(messages)


def decode_messages(body: bytes) -> list[Message]:
    """Return the messages of a body.

    :raises FrameError: it holds something else.
    """
    return _decode(_messages, body)  # type: ignore[no-any-return]


def decode_hello(body: bytes) -> Hello:
    """Return who speaks."""
    return _decode(_hello, body)  # type: ignore[no-any-return]


def decode_command(body: bytes) -> Command:
    """Return a command."""
    return _decode(_command, body)  # type: ignore[no-any-return]


def decode(body: bytes) -> Any:
    """Return any value."""
    return _decode(_any, body)


_any: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder()


def _decode(decoder: msgspec.msgpack.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(f"arguments that can't be decoded: {error}") from error
