"""The first message of a TLS connection, read before anything is decided about it.

It names the host (SNI) and the protocols (ALPN) that the client wants, so that
the certificate is chosen, or the connection passed on unread, without a TLS
library.  It is read as strictly as OpenSSL reads it: two that read it
differently could be played off against one another.
"""

from __future__ import annotations

import re
import struct

import msgspec

HELLO_BYTES_MAX = 16_384
"""Longest first message with its framing: browsers send up to 2 KB, with keys for post-quantum
groups; what is longer is not from one."""
HANDSHAKE = 0x16
"""The first byte of every TLS connection."""

HANDSHAKE_FAILURE = 40
ILLEGAL_PARAMETER = 47
DECODE_ERROR = 50
UNRECOGNIZED_NAME = 112
NO_APPLICATION_PROTOCOL = 120

_RECORD_HEADER_BYTES = 5
_RECORD_BYTES_MAX = 16_384
_CLIENT_HELLO = 1
_VERSION_AND_RANDOM_BYTES = 34
_SESSION_ID_BYTES_MAX = 32
_SERVER_NAME = 0
_ALPN = 16
_NAME_BYTES_MAX = 255
_EXTENSION_HEAD = struct.Struct(">HH").unpack_from
_NAME_HEAD = struct.Struct(">HBH").unpack_from
_NAME = re.compile(rb"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_ADDRESS = re.compile(rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[?[0-9a-f.]*:[0-9a-f.:]+(?:%[a-z0-9]+)?\]?")


class HelloError(Exception):
    """This is no TLS that anybody here speaks.

    :ivar alert: the number of the alert that says so.
    """

    def __init__(self, alert: int, why: str) -> None:
        super().__init__(why)
        self.alert = alert


class Hello(msgspec.Struct, frozen=True):
    """What a client says before anything else.

    :ivar server_name: the host it wants, in lower case without a final dot; empty if unsaid,
        or if it is an address, which RFC 6066 forbids and some clients send all the same.
    :ivar protocols: what it would speak, by its preference; empty if unsaid.
    """

    server_name: str
    protocols: tuple[bytes, ...]


def alert_record(alert: int) -> bytes:
    """Return a fatal alert as it is sent before a version is agreed on."""
    return b"\x15\x03\x03\x00\x02\x02" + bytes([alert])


def read_hello(data: bytes) -> Hello | None:
    """Read the hello at the start of ``data``; None if its end has not come yet.

    :raises HelloError: it is none, or too long.
    """
    message = _join_records(data)
    if message is None:
        if len(data) >= HELLO_BYTES_MAX:
            raise HelloError(DECODE_ERROR, "the first message is too long")
        return None
    return _read_message(message)


def _join_records(data: bytes) -> bytes | None:
    """Return the first handshake message's body, which may come in several records."""
    message = b""
    at = 0
    while len(data) >= at + _RECORD_HEADER_BYTES:
        length = int.from_bytes(data[at + 3 : at + 5], "big")
        if data[at] != HANDSHAKE or data[at + 1] != 3 or not 0 < length <= _RECORD_BYTES_MAX:
            raise HelloError(DECODE_ERROR, "this is no TLS record of a handshake")
        at += _RECORD_HEADER_BYTES
        message += data[at : at + length]
        at += length
        if message[:1] not in (b"", bytes([_CLIENT_HELLO])):
            raise HelloError(DECODE_ERROR, "the first message is no hello")
        end = 4 + int.from_bytes(message[1:4], "big")
        if len(message) >= 4 and end > HELLO_BYTES_MAX:
            raise HelloError(DECODE_ERROR, "the first message is too long")
        if len(message) >= end and len(message) >= 4:
            if len(message) > end:
                raise HelloError(DECODE_ERROR, "something follows the first message")
            return message[4:]
    return None


class _Reader:
    """Takes fields with lengths in front from a byte string, and never reads beyond it."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        end = self._at + size
        if end > len(self._data):
            raise HelloError(DECODE_ERROR, "a length is beyond the end")
        data, self._at = self._data[self._at : end], end
        return data

    def number(self, size: int) -> int:
        """Return the number in the next ``size`` bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Return what the length in the next ``size`` bytes announces."""
        return self.take(self.number(size))

    def end(self) -> None:
        """Check that nothing is left."""
        if self:
            raise HelloError(DECODE_ERROR, "a length is too small")


def _read_message(body: bytes) -> Hello:
    reader = _Reader(body)
    reader.take(_VERSION_AND_RANDOM_BYTES)
    session_id, ciphers, compressions = reader.vector(1), reader.vector(2), reader.vector(1)
    if len(session_id) > _SESSION_ID_BYTES_MAX or not ciphers or len(ciphers) % 2:
        raise HelloError(DECODE_ERROR, "the session or the ciphers are malformed")
    if not compressions:
        raise HelloError(DECODE_ERROR, "no compression is offered, not even none")
    extensions = _extensions(reader.vector(2)) if reader else {}
    reader.end()
    names, protocols = extensions.get(_SERVER_NAME), extensions.get(_ALPN)
    return Hello(
        "" if names is None else _server_name(names),
        () if protocols is None else _protocols(_Reader(protocols)),
    )


def _extensions(body: bytes) -> dict[int, bytes]:
    """Return all extensions; without a reader, which would take most of a hello's time."""
    found: dict[int, bytes] = {}
    at, end = 0, len(body)
    while at < end:
        try:
            kind, size = _EXTENSION_HEAD(body, at)
        except struct.error:
            raise HelloError(DECODE_ERROR, "an extension is cut off") from None
        start, at = at + 4, at + 4 + size
        if kind in found:
            raise HelloError(ILLEGAL_PARAMETER, "an extension occurs twice")
        found[kind] = body[start:at]
    if at > end:
        raise HelloError(DECODE_ERROR, "a length is beyond the end")
    return found


def _server_name(body: bytes) -> str:
    try:
        listed, kind, size = _NAME_HEAD(body)
    except struct.error:
        raise HelloError(DECODE_ERROR, "the name is cut off") from None
    if listed != len(body) - 2 or size != len(body) - 5:
        raise HelloError(DECODE_ERROR, "the name's length is wrong")
    if kind != 0:
        raise HelloError(DECODE_ERROR, "the name is not a host's")
    name = body[5:].lower().removesuffix(b".")
    if _ADDRESS.fullmatch(name):
        return ""  # RFC 6066 3 forbids it, some clients say it: no host is named by it
    if len(name) > _NAME_BYTES_MAX or not _NAME.fullmatch(name):
        raise HelloError(UNRECOGNIZED_NAME, "the name is no host's")
    return name.decode("ascii")


def _protocols(body: _Reader) -> tuple[bytes, ...]:
    listed = _Reader(body.vector(2))
    body.end()
    protocols = []
    while listed:
        name = listed.vector(1)
        if not name:
            raise HelloError(DECODE_ERROR, "a protocol's name is empty")
        protocols.append(name)
    if not protocols:
        raise HelloError(DECODE_ERROR, "no protocol is named")
    return tuple(protocols)
