"""The PROXY protocol, versions 1 and 2: a balancer's word about its client.

It stands before the first byte of a connection
(https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
"""

from __future__ import annotations

import ipaddress
import re
import struct

import msgspec

from ood.proxy.core.rules.networks import read_address

V1_BYTES_MAX = 107
"""Longest line of version 1, as the protocol says."""
V2_BYTES_MAX = 4096
"""Longest header of version 2 here: with a certificate's names some balancers send 1 kB."""

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1 = b"PROXY "
_LINE = re.compile(
    rb"PROXY (?:(UNKNOWN)[^\r\n]*|TCP([46]) ([0-9A-Fa-f.:]+) [0-9A-Fa-f.:]+ (\d{1,5}) \d{1,5})\r\n"
)
_SIZES = {0x11: (4, ipaddress.IPv4Address), 0x21: (16, ipaddress.IPv6Address)}


class Greeting(msgspec.Struct, frozen=True):
    """A complete header.

    :ivar length: how many bytes it has.
    :ivar address: the client's address; empty if it comes from the balancer itself.
    :ivar port: its port.
    """

    length: int
    address: str = ""
    port: int = 0


def read_greeting(data: bytes) -> Greeting | None:
    """Return the header that ``data`` begins with; None if its end has not come yet.

    :raises ValueError: there is none, or it is malformed.
    """
    if data.startswith(_SIGNATURE[: len(data)]):
        return _read_v2(data) if len(data) >= 16 else None
    if not data.startswith(_V1[: len(data)]):
        raise ValueError("the connection does not begin with the PROXY protocol")
    end = data.find(b"\r\n", 0, V1_BYTES_MAX) + 2
    if end == 1:
        if len(data) >= V1_BYTES_MAX or b"\n" in data:
            raise ValueError("the PROXY line has no end")
        return None
    match = _LINE.fullmatch(data, 0, end)
    if match is None:
        raise ValueError("the PROXY line is malformed")
    if match[1]:
        return Greeting(end)
    address = read_address(match[3].decode("ascii"))
    colons = b":" in match[3]
    if address is None or colons != (match[2] == b"6") or int(match[4]) > 65535:
        raise ValueError("the PROXY line names no address")
    return Greeting(end, str(address), int(match[4]))


def _read_v2(data: bytes) -> Greeting | None:
    version, family, size = struct.unpack("!BBH", data[12:16])
    if version not in (0x20, 0x21):
        raise ValueError("the PROXY header is of another version or command")
    length = 16 + size
    if length > V2_BYTES_MAX:
        raise ValueError("the PROXY header is too long")
    if len(data) < length:
        return None
    if version == 0x20 or family not in _SIZES:
        if family & 0x0F == 2:
            raise ValueError("the PROXY header is for datagrams")
        return Greeting(length)  # the balancer's own health check, or nothing to tell
    width, kind = _SIZES[family]
    if size < 2 * width + 4:
        raise ValueError("the PROXY header is too short for its addresses")
    address = read_address(str(kind(data[16 : 16 + width])))
    (port,) = struct.unpack("!H", data[16 + 2 * width : 18 + 2 * width])
    return Greeting(length, str(address), port)
