"""What is answered over plain HTTP where HTTPS is there: validations, and where to go."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from ood.proxy.core.errand import BodyFilter
from ood.proxy.core.request import Request
from ood.proxy.core.response import Response
from ood.proxy.core.route import normalise

VALIDATIONS = b"/.well-known/acme-challenge/"
"""Below this path a certificate authority asks whether a host is ours (RFC 8555 8.3)."""
HTTP_PORT = 80
HTTPS_PORT = 443

_TOKEN = re.compile(rb"[A-Za-z0-9_-]{1,200}")
_IPV4 = re.compile(r"[0-9.]+")
_OWN_HSTS = re.compile(rb"(?i:(?:^|\n)strict-transport-security:)")


def validation_token(target: bytes) -> str | None:
    """Return the token that a validation asks for, if the target is one's."""
    if not target.startswith(VALIDATIONS):
        return None
    token = target[len(VALIDATIONS) :]
    return token.decode("ascii") if _TOKEN.fullmatch(token) else None


def is_local(host: str) -> bool:
    """Tell whether a host's name can't have a certificate that browsers trust."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return host.startswith("[") or _IPV4.fullmatch(host) is not None


def https_location(request: Request, http_port: int, https_port: int) -> bytes:
    """Return the same address over HTTPS.

    A client that names no port came to port 80.  If we listen on another one, somebody
    forwards 80 to it, and so 443 to our port for HTTPS.
    """
    host = (request.host or b"").lower()
    name = normalise(host).encode("latin-1")
    forwarded = http_port != HTTP_PORT and not host.rpartition(b":")[2].isdigit()
    port = b"" if https_port == HTTPS_PORT or forwarded else b":%d" % https_port
    target = b"/" if request.target == b"*" else request.target
    return b"https://" + name + port + target


class HstsChange(msgspec.Struct, frozen=True):
    """Tells browsers to come by HTTPS only, unless the app says so itself.

    :ivar line: the field with its line end.
    """

    line: bytes

    def is_said(self, fields: Mapping[str, str]) -> bool:
        """Tell whether a site's own fields of answers say something of it already."""
        return any(name.lower() == "strict-transport-security" for name in fields)

    def change(self, response: Response) -> tuple[Response, BodyFilter | None]:
        """Return the response with the field; the body is as it was."""
        if _OWN_HSTS.search(response.fields):
            return response, None
        return msgspec.structs.replace(response, fields=response.fields + self.line), None


def hsts_change(seconds: int) -> HstsChange:
    """Return the change for so many seconds."""
    return HstsChange(b"Strict-Transport-Security: max-age=%d\r\n" % seconds)
