"""One request and its response on their way through the proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ood.errors import UnavailableError
from ood.net.stream import WRITE_HIGH_BYTES
from ood.proxy import limits
from ood.proxy.context import Context
from ood.proxy.core import forward, pages
from ood.proxy.core.forward import Peer
from ood.proxy.core.framing import (
    Body,
    ChunkedBody,
    CloseBody,
    LengthBody,
    encode_chunk,
    encode_end,
)
from ood.proxy.core.grammar import MalformedError
from ood.proxy.core.pages import Page
from ood.proxy.core.request import CHUNKED, Request
from ood.proxy.core.response import UNTIL_CLOSE, Response, parse_response
from ood.proxy.live import NEVER
from ood.proxy.tunnel import Tunnel
from ood.proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from ood.proxy.client import Client

_REPEATABLE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


class Exchange:
    """Forwards one request, its body, and the response, streamed both ways.

    It lives from the request's head to the response's last byte; then the client
    goes on to its next request and the upstream connection to another client.
    """

    __slots__ = (
        "_active",
        "_app",
        "_body",
        "_chunked",
        "_client",
        "_context",
        "_held",
        "_keep",
        "_peer",
        "_reply",
        "_reply_body",
        "_request",
        "_sent",
        "_tries",
        "_upstream",
        "_watched",
    )

    def __init__(
        self, context: Context, client: Client, request: Request, app: str, peer: Peer
    ) -> None:
        self._context = context
        self._client = client
        self._request = request
        self._app = app
        self._peer = peer
        self._active = True
        self._body: Body | None = None
        if request.length:
            chunked = request.length == CHUNKED
            self._body = ChunkedBody() if chunked else LengthBody(request.length)
        self._upstream: UpstreamConnection | None = None
        self._reply: Response | None = None
        self._reply_body: Body | None = None
        self._chunked = False
        self._keep = False
        self._held = b""
        self._sent = False
        self._tries = 0
        self._watched = False
        context.counters.in_flight += 1
        context.counters.proxied += 1

    # To the upstream.

    def start(self) -> None:
        """Find an upstream connection and send the request."""
        self._attempt(fresh=False)

    def _attempt(self, *, fresh: bool) -> None:
        upstream = self._context.upstreams.take(self._app, fresh=fresh)
        if upstream is None:
            self._context.background.run("waiting for a worker", self._wait())
            return
        self._upstream = upstream
        upstream.user = self
        self._client.touch(limits.WATCH_SECONDS)
        if upstream.connecting:
            self._client.pause_reading()
        elif upstream.used and not self._repeatable() and upstream.stale():
            self._lost_early()
        else:
            self.upstream_connected()

    async def _wait(self) -> None:
        self._tries += 1
        self._client.touch(limits.WAIT_SECONDS)
        self._client.watch()
        try:
            if self._tries > limits.DISPATCH_TRIES_MAX:
                raise UnavailableError("the site's program takes no requests now")
            await self._context.pool.when_available(self._app)
        except UnavailableError as error:
            if self._active:
                self._fail(pages.unavailable(error.message, error.hint))
            return
        if self._active:
            self._attempt(fresh=False)

    def upstream_connected(self) -> None:
        """Send the request's head, and of its body what is there."""
        upstream = self._upstream
        assert upstream is not None
        head = forward.request_head(self._request, self._peer, pipe=upstream.pipe)
        self._sent = True
        upstream.write(head)
        if upstream.broken:
            self._lost_early()
        elif self._body is not None:
            self._client.touch(limits.BODY_IDLE_SECONDS)
            self._watched = True
            self._client.resume_reading()
            self._send_body()

    def _send_body(self) -> None:
        upstream, body, client = self._upstream, self._body, self._client
        assert upstream is not None and body is not None
        data, client.input = client.input, b""
        try:
            payload, client.input = body.feed(data)
        except MalformedError as error:
            self._drop_upstream()
            self._fail(pages.malformed(error.status, error.why))
            return
        if payload:
            upstream.write(encode_chunk(payload) if self._request.length == CHUNKED else payload)
        if body.done:
            if self._request.length == CHUNKED:
                upstream.write(encode_end(forward.trailer_fields(body.trailers)))
            client.touch(limits.RESPONSE_SECONDS)
        elif upstream.backlog > WRITE_HIGH_BYTES:
            client.pause_reading()

    # The client's events.

    def client_received(self) -> None:
        """Forward more of the body; what belongs to later requests stays where it is."""
        if self._sent and self._upstream is not None and not self._body_done():
            self._client.touch(limits.BODY_IDLE_SECONDS)
            self._send_body()

    def client_ended(self) -> None:
        """Give a client that closed its side a moment to get its answer."""
        if self._body_done():
            self._client.deadline = self._context.live.now + limits.WATCH_SECONDS
        else:
            self.cancel()

    def client_flushed(self) -> None:
        """Count that as progress."""
        if self._reply is not None and not self._reply.event_stream:
            self._client.touch(limits.BODY_IDLE_SECONDS)

    def client_drained(self) -> None:
        """Let the upstream send again."""
        if self._upstream is not None:
            self._upstream.resume_reading()

    def client_failed(self) -> None:
        """Stop the upstream: nobody waits for its answer."""
        self._drop_upstream()
        self._end()

    def expired(self) -> None:
        """Begin to watch the client, or give up on the side that is late."""
        if self._client.at_end:
            self.cancel()
        elif not self._watched:
            self._watched = True
            self._client.watch()
            self._client.touch(limits.RESPONSE_SECONDS - limits.WATCH_SECONDS)
        elif self._reply is not None:
            self.cancel()
        else:
            self._drop_upstream()
            late = pages.malformed(408, "its body did not come in time")
            self._fail(pages.upstream_late(self._app) if self._body_done() else late)

    def drain(self) -> None:
        """Go on; the answer then says that the connection ends."""

    def cancel(self) -> None:
        """Stop the upstream, and end the client so that it sees that the answer is not whole."""
        self._drop_upstream()
        self._end()
        self._client.flow = None
        self._client.reset()

    # The upstream's events.

    def upstream_received(self, data: bytes) -> None:
        """Relay interim responses, the head, the body."""
        if self._reply is not None:
            self._relay(data, b"")
            return
        if self._held:
            data = self._held + data
            self._held = b""
        try:
            self._read_head(data)
        except MalformedError:
            self._drop_upstream()
            self._fail(pages.bad_upstream(self._app))

    def upstream_ended(self) -> None:
        """End a body that ends so; anything else is cut off."""
        body = self._reply_body
        if self._reply is None:
            self._lost_early()
        elif isinstance(body, CloseBody):
            body.done = True
            self._relay(b"", b"")
        else:
            self.cancel()

    def upstream_failed(self) -> None:
        """Try another connection, or tell the client."""
        self._upstream = None
        if self._reply is None:
            self._retry_or_fail(used=False)
        else:
            self.cancel()

    def upstream_drained(self) -> None:
        """Let the client send more of its body."""
        if not self._body_done():
            self._client.watch()

    def _lost_early(self) -> None:
        """Act on an upstream connection that ended before any answer."""
        used = self._upstream is not None and self._upstream.used > 0
        self._drop_upstream()
        self._retry_or_fail(used=used)

    def _retry_or_fail(self, *, used: bool) -> None:
        unsent = not self._sent
        if (
            self._tries < limits.DISPATCH_TRIES_MAX
            and not self._held
            and (unsent or (used and self._repeatable()))
        ):
            self._tries += 1
            self._sent = False
            self._attempt(fresh=True)
        else:
            self._fail(pages.bad_upstream(self._app))

    def _repeatable(self) -> bool:
        return self._body is None and self._request.method in _REPEATABLE

    def _body_done(self) -> bool:
        return self._body is None or self._body.done

    # To the client.

    def _read_head(self, data: bytes) -> None:
        while True:
            response = parse_response(data, to_head=self._request.method == b"HEAD")
            if response is None:
                self._held = data
                return
            data = data[response.end :]
            if response.status >= 200:
                self._begin_reply(response, data)
                return
            if response.status == 101:
                self._switch(response, data)
                return
            if self._request.minor:
                self._client.write(forward.interim_head(response))
            if self._client.backlog > WRITE_HIGH_BYTES:
                raise MalformedError(502, "the upstream sends interim responses without end")
            if not data:
                return

    def _begin_reply(self, response: Response, data: bytes) -> None:
        self._reply = response
        length = response.length
        self._keep = self._request.keep_alive and self._body_done() and not self._context.draining
        self._chunked = length < 0 and self._request.minor == 1
        head = forward.response_head(response, chunked=self._chunked, close=not self._keep)
        if length == len(data):
            self._client.write(head + data if data else head, last=not self._keep)
            self._finish(clean=True)
            return
        if length >= 0:
            self._reply_body = LengthBody(length)
        else:
            self._reply_body = CloseBody() if length == UNTIL_CLOSE else ChunkedBody()
        self._relay(data, head)

    def _relay(self, data: bytes, head: bytes) -> None:
        body = self._reply_body
        assert body is not None
        try:
            payload, rest = body.feed(data)
        except MalformedError:
            self.cancel()
            return
        out = encode_chunk(payload) if self._chunked and payload else payload
        if body.done and self._chunked:
            out += encode_end(forward.trailer_fields(body.trailers))
        if head or out:
            self._client.write(head + out if head else out)
        if self._client.broken:
            self.cancel()
        elif body.done:
            self._finish(clean=not rest)
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Prepare for a response that takes more than one read."""
        client, reply, upstream = self._client, self._reply, self._upstream
        assert reply is not None and upstream is not None
        client.touch(NEVER if reply.event_stream else limits.BODY_IDLE_SECONDS)
        if not self._watched:
            self._watched = True
            client.watch()
        if client.backlog > WRITE_HIGH_BYTES:
            upstream.pause_reading()

    def _switch(self, response: Response, data: bytes) -> None:
        upstream, client = self._upstream, self._client
        assert upstream is not None
        if self._request.upgrade != b"websocket" or response.upgrade != b"websocket":
            raise MalformedError(502, "the upstream switched to a protocol nobody asked for")
        client.write(forward.interim_head(response) + data)
        self._context.counters.tunnels += 1
        self._context.counters.statuses[101] += 1
        self._upstream = None
        self._end()
        Tunnel(self._context.live, client, upstream).start()

    def _finish(self, *, clean: bool) -> None:
        """End a complete exchange.

        :param clean: the upstream sent nothing beyond its response.
        """
        upstream, reply = self._upstream, self._reply
        assert upstream is not None and reply is not None
        self._upstream = None
        unread = not self._body_done()
        if clean and reply.keep_alive and not unread and not upstream.backlog:
            upstream.release(reply.idle_timeout)
        else:
            upstream.user = None
            upstream.close()
        self._context.counters.statuses[reply.status] += 1
        self._end()
        self._client.exchange_done(keep=self._keep, unread=unread)

    def _fail(self, page: Page) -> None:
        self._end()
        self._client.answer(page, self._request, close=self._body is not None)

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.user = None
            upstream.close()

    def _end(self) -> None:
        if self._active:
            self._active = False
            self._context.counters.in_flight -= 1
