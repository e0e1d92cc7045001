"""One request on a client's HTTP/1.1 connection: its framing in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ood.net.filepart import FilePart
from ood.net.stream import WRITE_HIGH_BYTES
from ood.proxy import limits
from ood.proxy.context import Context
from ood.proxy.core import forward, pages
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
from ood.proxy.core.response import Response
from ood.proxy.downstream import Flow
from ood.proxy.static.files import File

if TYPE_CHECKING:
    from ood.proxy.client import Client


class Http1Downstream:
    """A :class:`~ood.proxy.downstream.Downstream` on a connection that serves one at a time.

    :ivar flow: what serves the request.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_client",
        "_context",
        "_keep",
        "_paused",
        "_raw",
        "_request",
        "_status",
        "flow",
    )

    def __init__(self, context: Context, client: Client, request: Request) -> None:
        self.flow: Flow | None = None
        self._context = context
        self._client = client
        self._request = request
        self._body: Body | None = None
        if request.length:
            chunked = request.length == CHUNKED
            self._body = ChunkedBody() if chunked else LengthBody(request.length)
        self._paused = True
        self._raw = False
        self._chunked = False
        self._keep = False
        self._status = 0

    @property
    def full(self) -> bool:
        """Whether more than the high-water mark waits to be sent."""
        return self._client.backlog > WRITE_HIGH_BYTES

    @property
    def broken(self) -> bool:
        """Whether the client can't be written to any more."""
        return self._client.broken

    # The response.

    def interim(self, response: Response) -> None:
        """Send a 1xx response; HTTP/1.0 knows none."""
        if self._request.minor:
            self._client.write(forward.interim_head(response))

    def reply(
        self, response: Response, data: bytes, *, end: bool = False, trailers: bytes = b""
    ) -> None:
        """Send the head of the final response and the first of its body in one write."""
        request = self._request
        self._status = response.status
        self._keep = keep = request.keep_alive and self._body_done() and not self._context.draining
        self._chunked = chunked = response.length < 0 and request.minor == 1
        fields = self._context.heads.shown(response)
        head = forward.response_head(response, chunked=chunked, close=not keep, fields=fields)
        if chunked:
            data = self._framed(data, end=end, trailers=trailers)
        self._client.write(head + data if data else head, last=end and not keep)
        if end:
            self._over()

    def data(self, payload: bytes) -> None:
        """Send more of the body."""
        self._client.write(encode_chunk(payload) if self._chunked else payload)

    def file(self, file: File, start: int, length: int) -> FilePart | None:
        """Have the kernel send a part of a file; None if that can't be, then nothing is done.

        Else the file is the connection's, and what is returned knows how much is left of it.
        """
        return None if self._chunked else self._client.write_file(file, start, length)

    def end(self, payload: bytes = b"", trailers: bytes = b"") -> None:
        """Send the last of the body; in a tunnel, close the way to the client."""
        if self._chunked:
            payload = self._framed(payload, end=True, trailers=trailers)
        if payload:
            self._client.write(payload)
        if self._raw:
            self._client.end_writing()
        else:
            self._over()

    def page(self, page: Page) -> None:
        """Send an answer of our own."""
        self.flow = None
        self._client.answer(page, self._request, close=self._body is not None)

    def abort(self) -> None:
        """Reset the connection: an answer without a length would look whole otherwise."""
        self.flow = None
        self._client.reset()

    def _framed(self, payload: bytes, *, end: bool, trailers: bytes) -> bytes:
        out = encode_chunk(payload) if payload else payload
        return out + encode_end(forward.trailer_fields(trailers)) if end else out

    def _over(self) -> None:
        self.flow = None
        self._context.counters.statuses[self._status] += 1
        self._client.request_done(keep=self._keep, unread=not self._body_done())

    # A tunnel.

    def tunnel(self, response: Response, data: bytes) -> None:
        """Send the 101; what comes and goes is left as it is from now on."""
        self._raw = self._paused = True
        self._body = CloseBody()
        self._context.counters.statuses[101] += 1
        self._client.write(forward.interim_head(response) + data)

    def close(self) -> None:
        """Close the connection once everything was sent."""
        self.flow = None
        self._client.finish()

    # The request's body, and time.

    def pause_body(self) -> None:
        """Leave what comes in the kernel."""
        self._paused = True
        self._client.pause_reading()

    def resume_body(self) -> None:
        """Pass on what has come and what will."""
        self._paused = False
        if not self._client.at_end:
            self._client.resume_reading()
        if self._client.input:
            self._feed()

    def watch(self) -> None:
        """Read, to learn of the client's going away (and of its next requests)."""
        self._client.watch()

    def touch(self, seconds: float) -> None:
        """Set the deadline from now.

        A client at its end may be gone: it gets a moment each time that there is progress.
        """
        if self._client.at_end and not self._raw:
            seconds = min(seconds, limits.WATCH_SECONDS)
        self._client.deadline = self._context.live.now + seconds

    def _body_done(self) -> bool:
        return self._body is None or self._body.done

    def _feed(self) -> None:
        """Give the flow what is there of the body; what follows it is later requests'."""
        body, client, flow = self._body, self._client, self.flow
        if body is None or flow is None or self._body_done():
            return
        data, client.input = client.input, b""
        try:
            payload, client.input = body.feed(data)
        except MalformedError as error:
            flow.body_failed(pages.malformed(error.status, error.why))
            return
        if payload:
            flow.body(payload)
        if body.done and self.flow is not None:
            flow.body_ended(body.trailers)

    # What the connection tells.

    def received(self) -> None:
        """Learn that there is more in the client's ``input``."""
        if not self._paused:
            self._feed()

    def ended(self) -> None:
        """Learn that the client closed its side: it gets a moment for its answer."""
        flow = self.flow
        if flow is None:
            return
        if self._raw:
            flow.body_ended(b"")
        elif self._body_done():
            self.touch(limits.WATCH_SECONDS)
        else:
            flow.cancel()

    def expired(self) -> None:
        """Let the flow act on the deadline, unless there is nobody left to act for."""
        flow = self.flow
        if flow is None:
            self._client.reset()
        elif self._client.at_end and not self._raw:
            flow.cancel()
        elif self._status and self._client.backlog and not self._client.too_slow():
            pass  # it is neither the flow nor the client that is late: the network is slow
        else:
            flow.expired()
