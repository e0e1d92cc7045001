"""A WebSocket on the proxied path: bytes both ways until both sides ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ood.net.stream import WRITE_HIGH_BYTES
from ood.proxy import limits
from ood.proxy.live import NEVER, Live

if TYPE_CHECKING:
    from ood.proxy.client import Client
    from ood.proxy.upstream import UpstreamConnection


class Tunnel:
    """Joins a client and an upstream after the upstream's 101.

    There is no deadline while both sides are open: an idle WebSocket is a healthy one.
    """

    __slots__ = ("_client", "_live", "_upstream", "_upstream_ended")

    def __init__(self, live: Live, client: Client, upstream: UpstreamConnection) -> None:
        self._live = live
        self._client = client
        self._upstream = upstream
        self._upstream_ended = False

    def start(self) -> None:
        """Pass on what the client sent along with its handshake, and then everything."""
        self._client.flow = self
        self._upstream.user = self
        self._client.deadline = NEVER
        self._client.resume_reading()
        self.client_received()

    def client_received(self) -> None:
        """Pass the client's bytes on."""
        data, self._client.input = self._client.input, b""
        if data:
            self._upstream.write(data)
        if self._upstream.broken:
            self._close()
        elif self._upstream.backlog > WRITE_HIGH_BYTES:
            self._client.pause_reading()
        self._moved()

    def client_ended(self) -> None:
        """Close the way to the upstream; the other way stays."""
        self._upstream.end_writing()
        self._half_closed()

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
        self._client.write(data)
        if self._client.broken:
            self._close()
        elif self._client.backlog > WRITE_HIGH_BYTES:
            self._upstream.pause_reading()
        self._moved()

    def upstream_ended(self) -> None:
        """Close the way to the client; the other way stays."""
        self._upstream_ended = True
        self._client.end_writing()
        self._half_closed()

    def upstream_drained(self) -> None:
        """Let the client send again."""
        if not self._client.at_end:
            self._client.resume_reading()

    def upstream_failed(self) -> None:
        """End the other side."""
        self._client.flow = None
        self._client.reset()

    def expired(self) -> None:
        """End what was half closed and silent for long."""
        self._close()

    def drain(self) -> None:
        """End: a WebSocket would not end by itself, and clients connect again."""
        self._close()

    def _moved(self) -> None:
        if self._client.deadline != NEVER:
            self._set_deadline()

    def _half_closed(self) -> None:
        if self._client.at_end and self._upstream_ended:
            self._close()
        else:
            self._set_deadline()

    def _set_deadline(self) -> None:
        self._client.deadline = self._live.now + limits.BODY_IDLE_SECONDS

    def _close(self) -> None:
        client, upstream = self._client, self._upstream
        client.flow = None
        upstream.user = None
        client.finish()
        upstream.finish()
