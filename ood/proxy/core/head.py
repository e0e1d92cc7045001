"""What a connection's first bytes are: the question that a peek answers."""

from __future__ import annotations

import enum
from collections.abc import Callable

from ood.proxy.core.request import Request, parse_request

_H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_TLS_HANDSHAKE = 0x16


class Preface(enum.Enum):
    """First bytes that are no HTTP/1.1 request."""

    INCOMPLETE = "more must come to tell"
    TLS = "a TLS handshake"
    HTTP2 = "HTTP/2 with prior knowledge"


def classify(
    data: bytes, read: Callable[[bytes], Request | None] = parse_request
) -> Request | Preface:
    """Tell what ``data``, the first bytes of a connection (not none), begins.

    :param read: what reads a request's head.
    :raises MalformedError: an HTTP/1 request that is to be refused.
    """
    first = data[0]
    if first == _TLS_HANDSHAKE:
        return Preface.TLS
    if first == 0x50 and _H2_PREFACE.startswith(data[:24]) and len(data) > 3:
        return Preface.HTTP2 if len(data) >= 24 else Preface.INCOMPLETE
    return read(data) or Preface.INCOMPLETE
