"""The API for other machines: the setting ``apiTls``."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import msgspec

from ood.model import kinds
from ood.model.kinds import Kind

FILES = ("cert", "key", "clientCa")


class ApiTls(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where the API listens with TLS, and what it shows and wants to see.

    :ivar address: an IP address of this machine with a port.
    :ivar cert: PEM file with the server's certificate, and those between it and a root.
    :ivar key: PEM file with its private key.
    :ivar client_ca: PEM file with the CAs whose clients are let in.
    """

    address: str
    cert: str
    key: str
    client_ca: str

    @property
    def host(self) -> str:
        """The IP address."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port."""
        return int(self.address.rpartition(":")[2])


def _address(value: Any) -> str:
    text = str(kinds.TEXT.parse(value))
    host, _, port = text.rpartition(":")
    try:
        version = ipaddress.ip_address(host.strip("[]")).version
        right = port.isascii() and port.isdigit() and 0 < int(port) < 65536
    except ValueError:
        right, version = False, 4
    if not right or (version == 6) != host.startswith("["):
        raise ValueError("address is not like 10.0.0.5:2017 or [2001:db8::5]:2017")
    return text


def _api_tls(value: Any) -> ApiTls:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("is not valid JSON") from None
    if not isinstance(value, dict):
        raise ValueError("is not an object")
    keys = {"address", *FILES}
    if set(value) != keys:
        raise ValueError(f"has to have {', '.join(sorted(keys))}, and nothing else")
    paths = {key: _path(key, value[key]) for key in FILES}
    return ApiTls(
        address=_address(value["address"]),
        cert=paths["cert"],
        key=paths["key"],
        client_ca=paths["clientCa"],
    )


def _path(key: str, value: Any) -> str:
    try:
        return str(kinds.ABSOLUTE_PATH.parse(value))
    except ValueError as error:
        raise ValueError(f"{key} {error}") from None


_TEXT = {"type": "string"}

API_TLS = Kind(
    _api_tls,
    '{"address": "IP:PORT", "cert": FILE, "key": FILE, "clientCa": FILE}',
    {
        "type": "object",
        "properties": dict.fromkeys(("address", *FILES), _TEXT),
        "required": ["address", *FILES],
        "additionalProperties": False,
    },
)
