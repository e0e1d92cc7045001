"""Connections whose TLS is the app's own: joined to it byte by byte."""

from __future__ import annotations

from ood.errors import UnavailableError
from ood.net.stream import WRITE_HIGH_BYTES, Stream
from ood.proxy import limits
from ood.proxy.context import Context, Incoming
from ood.proxy.live import NEVER
from ood.proxy.upstream import UpstreamConnection


class Passage(Stream):
    """A client's connection that goes to an app as it is, its first message still unread.

    :ivar deadline: when it is given up; never while both sides are open.
    """

    __slots__ = ("_app", "_context", "_ended", "_tries", "_upstream", "deadline")

    def __init__(self, context: Context, incoming: Incoming, app: str) -> None:
        super().__init__(context.reactor, incoming.sock)
        self._context = context
        self._app = app
        self._upstream: UpstreamConnection | None = None
        self._tries = 0
        self._ended = 0
        self.deadline = NEVER  # the pool bounds the wait for a worker
        context.live.add(self)

    def start(self) -> None:
        """Find a worker."""
        self._tries += 1
        upstream = self._context.upstreams.take(self._app, fresh=True)
        if upstream is None:
            self._context.background.run("waiting for a worker", self._wait())
            return
        self._upstream = upstream
        upstream.user = self
        if not upstream.connecting:
            self.upstream_connected()

    async def _wait(self) -> None:
        try:
            if self._tries > limits.DISPATCH_TRIES_MAX:
                raise UnavailableError("the site's program takes no connections now")
            await self._context.pool.when_available(self._app)
        except UnavailableError:
            self.close()  # only the app could say something that its client would read
            return
        if not self.closed:
            self.start()

    # The client's side.

    def received(self, data: bytes) -> None:
        """Pass the client's bytes on."""
        upstream = self._upstream
        assert upstream is not None
        upstream.write(data)
        if upstream.broken:
            self.reset()
        elif upstream.backlog > WRITE_HIGH_BYTES:
            self.pause_reading()
        self._moved()

    def ended(self) -> None:
        """Close the way to the app; the other way stays."""
        if self._upstream is not None:
            self._upstream.end_writing()
        self._half_closed()

    def flushed(self) -> None:
        """Count that as activity."""
        self._moved()

    def drained(self) -> None:
        """Let the app send again."""
        if self._upstream is not None:
            self._upstream.resume_reading()

    def gone(self) -> None:
        """End the app's side, and leave the books."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.user = None
            upstream.finish()
        self._context.live.discard(self)

    # The app's side.

    def upstream_connected(self) -> None:
        """Pass on what has come, and everything that will."""
        self.resume_reading()

    def upstream_received(self, data: bytes) -> None:
        """Pass the app's bytes on."""
        self.write(data)
        if self.broken:
            self.reset()
        elif self.backlog > WRITE_HIGH_BYTES and self._upstream is not None:
            self._upstream.pause_reading()
        self._moved()

    def upstream_ended(self) -> None:
        """Close the way to the client; the other way stays."""
        self.end_writing()
        self._half_closed()

    def upstream_drained(self) -> None:
        """Let the client send again."""
        if not self._ended:
            self.resume_reading()

    def upstream_failed(self) -> None:
        """End the client's side."""
        self._upstream = None
        self.reset()

    # Ends.

    def _half_closed(self) -> None:
        self._ended += 1
        if self._ended > 1:
            self.finish()
        else:
            self._moved()

    def _moved(self) -> None:
        if self._ended:
            self.deadline = self._context.live.now + limits.BODY_IDLE_SECONDS

    def expired(self) -> None:
        """End what was half closed and silent for long."""
        self.close()

    def drain(self) -> None:
        """End: nobody here sees whether a request is under way."""
        self.close()
