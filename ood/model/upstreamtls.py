"""How TLS is spoken to a server that ood does not run: what may be said of it, and what not."""

from __future__ import annotations

import ipaddress
import os.path
from collections.abc import Mapping
from typing import Any

import msgspec

from ood.model.kinds import BOOLEAN, TEXT, parse_app_name

FILES = ("caFile", "certFile", "keyFile")
"""What names a file."""
KEYS = ("serverName", *FILES, "verify")
"""All keys of an upstream that only make sense with ``https://``."""
SCHEMA: Mapping[str, Mapping[str, Any]] = {
    "serverName": {"type": "string"},
    **{key: {"type": "string", "pattern": "^/"} for key in FILES},
    "verify": {"type": "boolean"},
}
"""The same as JSON schemas."""


class Tls(msgspec.Struct, frozen=True):
    """What is to be known to speak TLS to a server.

    :ivar server_name: for whom its certificate has to be, and who is asked for (SNI).
    :ivar ca_file: whose CAs are trusted instead of the system's.
    :ivar cert_file: the certificate that is shown if the server asks for one.
    :ivar key_file: its key.
    :ivar verify: whether the server's certificate is looked at.
    """

    server_name: str
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    verify: bool = True

    def named_files(self) -> dict[str, str]:
        """Return the files that it needs, by key."""
        paths = dict(zip(FILES, (self.ca_file, self.cert_file, self.key_file), strict=True))
        return {key: path for key, path in paths.items() if path}


def parse_options(plain: Mapping[str, Any], address: str, *, secure: bool) -> dict[str, Any]:
    """Return what an upstream says about TLS, as fields.

    :param secure: TLS is spoken to it at all.
    :raises ValueError: it makes no sense.
    """
    given = {key: plain[key] for key in KEYS if plain.get(key, "") not in ("", None)}
    verify = _verify(given.pop("verify", True), address)
    if not secure and (given or not verify):
        key = next(iter(given), "verify=false")
        raise ValueError(f"{address}: {key} needs an address with https://")
    if not verify and "caFile" in given:
        raise ValueError(f"{address}: caFile is for what verify=false switches off")
    if ("certFile" in given) != ("keyFile" in given):
        raise ValueError(f"{address}: certFile and keyFile belong together")
    return {
        "server_name": _server_name(given.get("serverName", ""), address),
        **{
            field: _path(given.get(key, ""), key, address)
            for key, field in zip(FILES, ("ca_file", "cert_file", "key_file"), strict=True)
        },
        "verify": verify,
    }


def _verify(value: Any, address: str) -> bool:
    try:
        found: bool = BOOLEAN.parse(value)
    except ValueError:
        raise ValueError(f"{address}: verify is neither true nor false") from None
    return found


def _path(value: Any, key: str, address: str) -> str:
    if value == "":
        return ""
    try:
        text: str = TEXT.parse(value)
    except ValueError as error:
        raise ValueError(f"{address}: {key} {error}") from None
    if not os.path.isabs(text):
        raise ValueError(f"{address}: {key} {text} is not an absolute path")
    return text


def _server_name(value: Any, address: str) -> str:
    if value == "":
        return ""
    problem = f"{address}: serverName {value} is not a host name or address"
    if not isinstance(value, str):
        raise ValueError(problem)
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    try:
        return parse_app_name(value.lower().removesuffix("."))
    except ValueError:
        raise ValueError(problem) from None
