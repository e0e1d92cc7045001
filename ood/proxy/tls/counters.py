"""What is counted of TLS, for metrics."""

from __future__ import annotations

from collections import Counter

UNKNOWN_NAME = "unknown_name"
NO_PROTOCOL = "no_protocol"
MALFORMED = "malformed"
FAILED = "failed"
LATE = "late"
LOST = "lost"
PLAIN = "plain_http"
UNUSABLE = "unusable_certificate"


class TlsCounters:
    """What happened since the start.

    :ivar handshakes: complete ones by version of TLS.
    :ivar refused: others by what was wrong: one of the words above.
    :ivar sealed: connections whose TLS the kernel does after the handshake.
    :ivar passed_through: connections that an app answers with its own TLS.
    """

    __slots__ = ("handshakes", "passed_through", "refused", "sealed")

    def __init__(self) -> None:
        self.handshakes: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.passed_through = 0
        self.sealed = 0
