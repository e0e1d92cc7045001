"""What proxies in front of ood say about their clients, where they are believed."""

from __future__ import annotations

import re

import msgspec

from ood.proxy.core.forward import Peer
from ood.proxy.core.rules.networks import Networks, read_address

HOPS_MAX = 32
"""Addresses looked at, from the right: nobody has a longer chain of proxies."""

_FIELDS = re.compile(rb"\n(?i:(x-forwarded-(?:for|proto|host|port)|forwarded)):([^\r\n]*)(?=\r\n)")
_ELEMENT = re.compile(rb'[ \t]*(?:([A-Za-z]+)=(?:"([^"\\]*)"|([^;,"\s]*)))?[ \t]*([;,]|$)')
_ADDRESS = re.compile(
    rb'"?(?:(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(\d{1,5}))?|([0-9A-Fa-f:.]{2,45}))"?'
)
_HOST = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")
_PORT = re.compile(rb"[0-9]{1,5}")

_DEFAULT_PORTS = {b"http": 80, b"https": 443}


def real_peer(peer: Peer, fields: bytes, trusted: Networks) -> Peer:
    """Return whom a request comes from, believing trusted proxies only.

    Addresses are read from right to left: each proxy adds the one it sees at the right, so
    the first that is no trusted proxy is the client; everything left of it may be made up.
    ``X-Forwarded-For`` counts, and where there is none ``Forwarded``.
    """
    found: dict[bytes, bytes] = {}
    for name, value in _FIELDS.findall(b"\n" + fields):
        key = name.lower()
        found[key] = found[key] + b"," + value if key in found else value
    if b"x-forwarded-for" in found:
        hops = [one.strip(b" \t") for one in found[b"x-forwarded-for"].split(b",")]
        protos = _list(found.get(b"x-forwarded-proto", b""))
        hosts = _list(found.get(b"x-forwarded-host", b""))
    else:
        elements = _elements(found.get(b"forwarded", b""))
        hops = [one.get(b"for", b"") for one in elements]
        protos = [one.get(b"proto", b"") for one in elements] if elements else []
        hosts = [one.get(b"host", b"") for one in elements] if elements else []
        protos = protos or _list(found.get(b"x-forwarded-proto", b""))
        hosts = hosts or _list(found.get(b"x-forwarded-host", b""))
    address, port, place = _client(peer, hops, trusted)
    scheme = _beside(protos, place, len(hops)).lower()
    host = _beside(hosts, place, len(hops))
    scheme = scheme if scheme in _DEFAULT_PORTS else peer.scheme
    given = found.get(b"x-forwarded-port", b"").rpartition(b",")[2].strip()
    return msgspec.structs.replace(
        peer,
        address=address,
        port=port,
        scheme=scheme,
        local_port=_port(given, scheme, peer),
        host=host if _HOST.fullmatch(host) else b"",
        told=True,
    )


def _list(value: bytes) -> list[bytes]:
    return [one.strip(b" \t") for one in value.split(b",")] if value else []


def _elements(value: bytes) -> list[dict[bytes, bytes]]:
    """Return the elements of Forwarded; none if it is malformed."""
    elements: list[dict[bytes, bytes]] = [{}]
    position = 0
    while position < len(value):
        match = _ELEMENT.match(value, position)
        if match is None:
            return []
        if match[1]:
            elements[-1][match[1].lower()] = match[2] if match[2] is not None else match[3]
        if match[4] == b",":
            elements.append({})
        position = match.end()
    return [one for one in elements if one]


def _client(peer: Peer, hops: list[bytes], trusted: Networks) -> tuple[str, int, int]:
    """Return the client's address, its port if it is known, and its place in ``hops``."""
    address, port, place = peer.address, peer.port, len(hops)
    for position in range(len(hops) - 1, max(-1, len(hops) - 1 - HOPS_MAX), -1):
        match = _ADDRESS.fullmatch(hops[position])
        read = read_address((match[1] or match[2] or match[4]).decode("ascii")) if match else None
        if read is None:  # "unknown", or not an address: who said so is all we know
            break
        assert match is not None
        address, port, place = str(read), _number(match[3]), position
        if not trusted.find(address):
            break
    return address, port, place


def _number(text: bytes | None) -> int:
    return int(text) if text and int(text) < 65536 else 0


def _beside(values: list[bytes], place: int, hops: int) -> bytes:
    """Return what was said together with the client's address: at its place, else the last."""
    if not values:
        return b""
    return values[place] if len(values) == hops and place < hops else values[-1]


def _port(given: bytes, scheme: bytes, peer: Peer) -> int:
    if _PORT.fullmatch(given) and 0 < int(given) < 65536:
        return int(given)
    return peer.local_port if scheme == peer.scheme else _DEFAULT_PORTS[scheme]
