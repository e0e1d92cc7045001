"""Why a server elsewhere is not trusted, or does not trust us, in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

NAMES_SHOWN = 4
"""Names of a certificate that are told: some have a hundred."""
OPENSSL = "TLS: "
"""What follows is in OpenSSL's words."""
ENDED = "it ended the connection in its midst: TLS's own end did not come"

_NOT_YET, _EXPIRED, _PURPOSE = 9, 10, 26
_UNKNOWN_ISSUER = frozenset((2, 18, 19, 20, 21, 27))
_REASONS = (
    ("wrong version number", "it speaks no TLS there"),
    ("packet length too long", "it speaks no TLS there"),
    ("http request", "it speaks no TLS there"),
    ("unexpected eof", ENDED),
    ("certificate required", "it asks for a certificate (certFile and keyFile)"),
    ("alert unknown ca", "it does not know the CA of the certificate in certFile"),
    ("alert bad certificate", "it refuses the certificate in certFile"),
    ("alert certificate", "it refuses the certificate in certFile"),
    ("unrecognized name", "it has no certificate for that name (serverName)"),
    ("no application protocol", "it does not speak HTTP/1.1 there"),
    ("unsupported protocol", "it speaks only TLS that is older than 1.2"),
    ("alert protocol version", "it speaks only TLS that is older than 1.2"),
)
"""What is meant by OpenSSL's words, of which a part is enough."""


def mismatch(names: Sequence[str], wanted: str) -> str:
    """Return what is wrong with a certificate that is for others."""
    if not names:
        return f"its certificate is for no host at all, and not for {wanted}"
    shown = ", ".join(names[:NAMES_SHOWN])
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"its certificate is for {shown}{more}, not for {wanted}"


def verdict(
    number: int, text: str, depth: int, lifetime: tuple[datetime, datetime], ca_file: str
) -> str:
    """Return why a certificate is not trusted.

    :param number: OpenSSL's number for it.
    :param text: OpenSSL's words for it.
    :param depth: how far the certificate is from the server's own, 0.
    :param lifetime: from when to when it is valid.
    """
    whose = "its certificate" if not depth else "the certificate of its CA"
    if number == _EXPIRED:
        return f"{whose} expired on {lifetime[1]:%Y-%m-%d}"
    if number == _NOT_YET:
        return f"{whose} is not valid before {lifetime[0]:%Y-%m-%d %H:%M} UTC"
    if number in _UNKNOWN_ISSUER:
        where = f"a CA in {ca_file}" if ca_file else "a CA that this machine knows (caFile)"
        return f"its certificate is not signed by {where}"
    if number == _PURPOSE:
        return f"{whose} is not meant for servers"
    return f"{whose} is not trusted: {text}"


def meaning(reason: str) -> str:
    """Return what OpenSSL's words mean here."""
    low = reason.lower()
    for part, meant in _REASONS:
        if part in low:
            return meant
    return f"TLS with it fails: {reason}"


def told(text: str) -> str:
    """Return what an error of a TLS connection means, which may be in OpenSSL's words."""
    reason = text.removeprefix(OPENSSL)
    return text if reason == text else meaning(reason)
