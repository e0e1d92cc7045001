"""A request whose body is bounded, whatever its sender says or does."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.web.server import Request

BODY_BYTES_MAX = 2 << 20
"""Longest body that is read: ten thousand servers of the balancer, some 110 bytes each."""
BODY_DISCARDED_BYTES_MAX = 16 << 20
"""How much too long a body may be until the connection is cut.

Up to here the rest is read and thrown away, so that the sender, who sends
before it reads, gets to see the answer 413.
"""
FORM_TYPES = (b"multipart/form-data", b"application/x-www-form-urlencoded")
"""What browsers send from forms.  twisted.web would parse it; the API has no use for it."""


class LimitedRequest(Request):
    """A request that keeps no more than :data:`BODY_BYTES_MAX` of its body.

    :ivar too_large: whether the body was longer.
    """

    TOO_LARGE = (
        f"the request's body is longer than {BODY_BYTES_MAX} bytes",
        "no value of ood is that long",
    )

    def __init__(self, channel: Any, queued: object = None) -> None:
        untyped: Any = super()
        untyped.__init__(channel, queued)
        self.too_large = False
        self._received_bytes = 0
        self._body = BytesIO()

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory: it is short, and a file could block."""
        self.content = self._body = BytesIO()
        self.too_large = length is not None and length > BODY_BYTES_MAX

    def handleContentChunk(self, data: bytes) -> None:
        """Take the next piece of the body."""
        self._received_bytes += len(data)
        self.too_large = self.too_large or self._received_bytes > BODY_BYTES_MAX
        if not self.too_large:
            self._body.write(data)
        elif self._received_bytes > BODY_DISCARDED_BYTES_MAX:
            channel: Any = self.channel
            channel.forceAbortClient()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Begin the work; hide a form from twisted.web, which would parse it."""
        kind = self.requestHeaders.getRawHeaders(b"content-type", [b""])[0]
        if kind.partition(b";")[0].strip().lower() in FORM_TYPES:
            self.requestHeaders.removeHeader(b"content-type")
        self._mark_working()
        untyped: Any = super()
        untyped.requestReceived(command, path, version)

    def _mark_working(self) -> None:
        """Tell the site that this connection has work in progress, until the answer is out."""
        channel: Any = self.channel
        working: set[object] = channel.site.working
        connection = channel.transport
        working.add(connection)
        _ = self.notifyFinish().addBoth(lambda _: working.discard(connection))
