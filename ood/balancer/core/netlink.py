"""Netlink and generic netlink messages: bytes in, values out, and back.

Numbers are in the machine's byte order, as the kernel has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

CONTROL_FAMILY = 0x10
"""The family that knows the numbers of the others."""

NOOP, ERROR, DONE = 1, 2, 3
"""Message types that belong to netlink itself."""

REQUEST, ACK = 0x01, 0x04
DUMP = 0x300
DUMP_INTERRUPTED = 0x10
"""What a dump says when the table changed while it was being read."""

CAP_ACK = 10
EXT_ACK = 11
"""Socket options: acknowledgements without a copy of the request; with reasons."""

_GET_FAMILY = 3
_FAMILY_ID, _FAMILY_NAME = 1, 2
_TYPE_MASK = 0x3FFF
"""The upper two bits of an attribute's type are flags."""

_HEADER = Struct("=IHHIIBBH")
_MESSAGE = Struct("=IHHII")
_ATTRIBUTE = Struct("=HH")
_INT = Struct("=i")
_SHORT = Struct("=H")

HEADER_BYTES = 16
GENERIC_BYTES = 4


class NetlinkError(Exception):
    """Bytes that are not a netlink message."""


class Message(NamedTuple):
    """One message.

    :ivar command: the generic command; 0 for messages of netlink itself.
    :ivar error: the kernel's errno for an acknowledgement (0 is success),
        None for anything else.
    :ivar payload: the attributes, after all headers.
    """

    type: int
    flags: int
    sequence: int
    command: int
    payload: bytes
    error: int | None = None


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute, padded to four bytes."""
    length = len(value) + 4
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def request(family: int, command: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """Return a request to a generic netlink family, whose version is 1."""
    length = HEADER_BYTES + GENERIC_BYTES + len(payload)
    return _HEADER.pack(length, family, flags | REQUEST, sequence, 0, command, 1, 0) + payload


def acknowledgement(sequence: int, error: int = 0) -> bytes:
    """Return what the kernel answers to a request; ``error`` is an errno."""
    return _MESSAGE.pack(HEADER_BYTES + 4, ERROR, 0, sequence, 0) + _INT.pack(-error)


def done(sequence: int) -> bytes:
    """Return the end of a dump."""
    return _MESSAGE.pack(HEADER_BYTES + 4, DONE, 2, sequence, 0) + _INT.pack(0)


def messages(data: bytes) -> Iterator[Message]:
    """Return the messages in a datagram, one by one."""
    at, end = 0, len(data)
    while at < end:
        if end - at < HEADER_BYTES:
            raise NetlinkError(f"{end - at} bytes are too few for a header")
        length, kind, flags, sequence, _ = _MESSAGE.unpack_from(data, at)
        if length < HEADER_BYTES or at + length > end:
            raise NetlinkError(f"a message of {length} bytes where {end - at} are left")
        yield _message(data[at + HEADER_BYTES : at + length], kind, flags, sequence)
        at += length + 3 & ~3


def _message(body: bytes, kind: int, flags: int, sequence: int) -> Message:
    if kind in {ERROR, DONE}:
        if len(body) < 4:
            raise NetlinkError("an acknowledgement without a status")
        error = -_INT.unpack_from(body)[0]
        return Message(kind, flags, sequence, 0, body[4:], error)
    if kind == NOOP:
        return Message(kind, flags, sequence, 0, body)
    if len(body) < GENERIC_BYTES:
        raise NetlinkError("a generic message without a command")
    return Message(kind, flags, sequence, body[0], body[GENERIC_BYTES:])


def attributes(data: bytes) -> dict[int, bytes]:
    """Return attributes by their type; of doubled ones the last."""
    found: dict[int, bytes] = {}
    at, end = 0, len(data)
    unpack = _ATTRIBUTE.unpack_from
    while at + 4 <= end:
        length, kind = unpack(data, at)
        if length < 4 or at + length > end:
            raise NetlinkError(f"an attribute of {length} bytes where {end - at} are left")
        found[kind & _TYPE_MASK] = data[at + 4 : at + length]
        at += length + 3 & ~3
    return found


def family_request(name: str, sequence: int) -> bytes:
    """Return the question for a generic family's number."""
    wanted = attribute(_FAMILY_NAME, name.encode() + b"\0")
    return request(CONTROL_FAMILY, _GET_FAMILY, 0, sequence, wanted)


def family_answer(message: Message) -> int:
    """Return a generic family's number from the answer to :func:`family_request`."""
    number: int = _SHORT.unpack(attributes(message.payload)[_FAMILY_ID])[0]
    return number


def encode_family(sequence: int, name: str, number: int) -> bytes:
    """Return the answer to :func:`family_request`, as the kernel gives it."""
    payload = attribute(_FAMILY_ID, _SHORT.pack(number)) + attribute(
        _FAMILY_NAME, name.encode() + b"\0"
    )
    return request(CONTROL_FAMILY, 1, 0, sequence, payload)
