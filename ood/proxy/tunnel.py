"""A WebSocket on the proxied path: bytes both ways until both sides ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ood.net.stream import WRITE_HIGH_BYTES
from ood.proxy import limits
from ood.proxy.live import NEVER

if TYPE_CHECKING:
    from ood.proxy.core.pages import Page
    from ood.proxy.downstream import Downstream
    from ood.proxy.upstream import UpstreamConnection


class Tunnel:
    """Joins a client and an upstream after the upstream's 101.

    There is no deadline while both sides are open: an idle WebSocket is a healthy one.
    """

    __slots__ = ("_client_ended", "_downstream", "_upstream", "_upstream_ended")

    def __init__(self, downstream: Downstream, upstream: UpstreamConnection) -> None:
        self._downstream = downstream
        self._upstream = upstream
        self._client_ended = False
        self._upstream_ended = False

    def start(self) -> None:
        """Pass on what the client sent along with its handshake, and then everything."""
        self._downstream.flow = self
        self._upstream.user = self
        self._downstream.touch(NEVER)
        self._downstream.resume_body()

    def body(self, payload: bytes) -> None:
        """Pass the client's bytes on."""
        self._upstream.write(payload)
        if self._upstream.broken:
            self._close()
            return
        if self._upstream.backlog > WRITE_HIGH_BYTES:
            self._downstream.pause_body()
        self._moved()

    def body_ended(self, trailers: bytes) -> None:  # noqa: ARG002 a tunnel has none
        """Close the way to the upstream; the other way stays."""
        self._client_ended = True
        self._upstream.end_writing()
        self._half_closed()

    def body_failed(self, page: Page) -> None:  # noqa: ARG002 nothing can be answered any more
        """End both sides: the client's protocol broke around the tunnel."""
        self.cancel()

    def client_flushed(self) -> None:
        """Count that as activity."""
        self._moved()

    def client_drained(self) -> None:
        """Let the upstream send again."""
        if not self._upstream_ended:
            self._upstream.resume_reading()

    def client_failed(self) -> None:
        """End the other side."""
        self._upstream.user = None
        self._upstream.close()

    def upstream_connected(self) -> None:
        """Not called: a tunnel begins on a connection that stands."""

    def upstream_received(self, data: bytes) -> None:
        """Pass the upstream's bytes on."""
        self._downstream.data(data)
        if self._downstream.broken:
            self._close()
            return
        if self._downstream.full:
            self._upstream.pause_reading()
        self._moved()

    def upstream_ended(self) -> None:
        """Close the way to the client; the other way stays."""
        self._upstream_ended = True
        self._downstream.end()
        self._half_closed()

    def upstream_drained(self) -> None:
        """Let the client send again."""
        if not self._client_ended:
            self._downstream.resume_body()

    def upstream_failed(self) -> None:
        """End the other side."""
        self._downstream.abort()

    def expired(self) -> None:
        """End what was half closed and silent for long."""
        self._close()

    def drain(self) -> None:
        """End: a WebSocket would not end by itself, and clients connect again."""
        self._close()

    def cancel(self) -> None:
        """End both sides at once."""
        self.client_failed()
        self._downstream.abort()

    def _moved(self) -> None:
        if self._client_ended or self._upstream_ended:
            self._downstream.touch(limits.BODY_IDLE_SECONDS)

    def _half_closed(self) -> None:
        if self._client_ended and self._upstream_ended:
            self._close()
        else:
            self._moved()

    def _close(self) -> None:
        upstream = self._upstream
        upstream.user = None
        upstream.finish()
        self._downstream.close()
