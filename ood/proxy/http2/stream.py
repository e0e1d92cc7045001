"""One request on a client's HTTP/2 connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ood.net.stream import WRITE_HIGH_BYTES
from ood.proxy import limits
from ood.proxy.core import forward, pages
from ood.proxy.core.h2 import StreamError, field_list, trailer_lines, trailer_list
from ood.proxy.core.pace import BODY_WORTH, Appetite
from ood.proxy.core.pages import Page
from ood.proxy.core.request import Request
from ood.proxy.core.response import Response, parse_response
from ood.proxy.dates import present
from ood.proxy.downstream import Flow
from ood.proxy.http2.session import Field
from ood.proxy.live import NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ood.proxy.http2.connection import Http2Connection

UNSENT_HIGH_BYTES = 65_536
"""With more than this of its body waiting for the client's window, a stream is full: a
connection may have 128 of them."""

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, CANCEL = 0, 1, 2, 8
_FOR_HTTP1_ONLY = frozenset((b"sec-websocket-accept",))


class Http2Stream:
    """A :class:`~ood.proxy.downstream.Downstream` that shares its connection with others.

    :cvar version: of HTTP, for the access log.
    :param ended: the client sends no more on it.
    :ivar flow: what serves the request; None once it is over.
    :ivar unsent: how much of its body waits for the client's window.
    :ivar appetite: what the client took of it.
    :ivar deadline: when :meth:`expired` is called.
    """

    __slots__ = (
        "_body_ended",
        "_connection",
        "_ended",
        "_held_up",
        "_left",
        "_paused",
        "_pending",
        "_raw",
        "_request",
        "_trailers",
        "appetite",
        "deadline",
        "flow",
        "number",
        "unsent",
    )
    version = "2"

    def __init__(
        self, connection: Http2Connection, number: int, request: Request, *, ended: bool
    ) -> None:
        self.flow: Flow | None = None
        self.number = number
        self.unsent = 0
        self.appetite = Appetite(connection.live.now)
        self.deadline = connection.live.now + limits.BODY_IDLE_SECONDS
        self._connection = connection
        self._request = request
        self._left = request.length  # of the body, where its length is known
        self._body_ended = ended
        self._trailers = b""
        self._pending = bytearray()
        self._paused = True
        self._raw = False
        self._ended = False
        self._held_up = False

    @property
    def full(self) -> bool:
        """Whether more than the high-water mark waits, of this stream or of the connection."""
        connection = self._connection
        return (
            connection.backlog > WRITE_HIGH_BYTES
            or connection.session.unsent(self.number) > UNSENT_HIGH_BYTES
        )

    @property
    def held(self) -> tuple[int, int]:
        """How much of the answer waits for the client, and of the request for the app."""
        return self.unsent, len(self._pending)

    @property
    def broken(self) -> bool:
        """Whether the client can't be written to any more."""
        return self._connection.broken

    # The response.

    def interim(self, response: Response) -> None:
        """Send a 1xx response."""
        fields = field_list(response.status, forward.response_fields(response))
        self._connection.session.interim(self.number, fields)
        self._connection.schedule()

    def reply(
        self, response: Response, data: bytes, *, end: bool = False, trailers: bytes = b""
    ) -> None:
        """Send the head of the final response and the first of its body."""
        self._connection.statuses[response.status] += 1
        fields = self._connection.heads.listed(response)
        self._respond(fields, ended=end and not data and not trailers)
        if data or trailers:
            self._send(data, end=end, trailers=trailers)
        if end:
            self._over()

    def data(self, payload: bytes) -> None:
        """Send more of the body."""
        self._send(payload)

    def end(self, payload: bytes = b"", trailers: bytes = b"") -> None:
        """Send the last of the body; in a tunnel, close the way to the client."""
        self._send(payload, end=True, trailers=trailers)
        if not self._raw:
            self._over()

    def page(self, page: Page) -> None:
        """Send an answer of our own."""
        request = self._request
        accept = pages.accepted(request.fields)
        to_head = request.method == b"HEAD"
        whole = pages.render(page, date=present(), accept=accept, to_head=to_head, close=False)
        response = parse_response(whole, to_head=to_head)
        assert response is not None
        self.reply(response, whole[response.end :], end=True)

    def abort(self) -> None:
        """Reset the stream."""
        self.flow = None
        self._connection.session.reset(self.number, INTERNAL_ERROR)
        self._connection.schedule()

    def _respond(self, fields: Sequence[Field], *, ended: bool) -> None:
        self._ended |= ended
        self._connection.session.respond(self.number, fields, ended=ended)
        self._connection.schedule()

    def _send(self, payload: bytes, *, end: bool = False, trailers: bytes = b"") -> None:
        session = self._connection.session
        after = trailer_list(forward.trailer_fields(trailers)) if trailers else ()
        if payload:
            if not self.unsent:
                self.appetite.begin(self._connection.live.now)
            self.unsent += len(payload)
            session.send(self.number, payload, ended=end and not after)
        if end and (after or not payload):
            session.end(self.number, after)
        self._ended |= end
        self._held_up = self.full
        self._connection.wrote(self)

    def _over(self) -> None:
        """End the request; a body that nobody reads to its end is broken off after the answer."""
        self.flow = None
        self._pending.clear()
        self.deadline = self._connection.live.now + limits.BODY_IDLE_SECONDS
        if not self._body_ended:
            self._connection.wrote(self)

    # A tunnel (RFC 8441).

    def tunnel(self, response: Response, data: bytes) -> None:
        """Accept the WebSocket: what HTTP/1.1 says with 101 is 200 here."""
        self._raw = self._paused = True
        self._connection.statuses[101] += 1
        fields = field_list(200, forward.response_fields(response))
        self._respond([one for one in fields if one[0] not in _FOR_HTTP1_ONLY], ended=False)
        if data:
            self._send(data)

    def close(self) -> None:
        """End both ways once everything was sent."""
        if not self._ended:
            self._send(b"", end=True)
        self._over()

    # The request's body, and time.

    def pause_body(self) -> None:
        """Do not enlarge the stream's window: the client stops when that is full."""
        self._paused = True

    def resume_body(self) -> None:
        """Pass on what has come and what will."""
        self._paused = False
        if self._pending:
            pending = bytes(self._pending)
            self._pending.clear()
            self._pass_on(pending)
        self._check_end()

    def watch(self) -> None:
        """Do nothing: the connection is read anyway."""

    def touch(self, seconds: float) -> None:
        """Set the deadline from now."""
        self.deadline = self._connection.live.now + seconds

    def _pass_on(self, payload: bytes) -> None:
        self._connection.consumed(self.number, len(payload))
        if self.flow is not None and payload:
            self.flow.body(payload)

    def _check_end(self) -> None:
        flow = self.flow
        if flow is None or not self._body_ended or self._paused or self._pending:
            return  # while it is paused, not even the request's head may have been sent
        if self._raw or self._request.length:
            flow.body_ended(self._trailers)

    # What the connection tells.

    def received(self, data: bytes, *, ended: bool) -> None:
        """Take a piece of the request's body."""
        # the library checks it, too; a second look is cheap
        if self._request.length >= 0 and not self._request.upgrade:
            self._left -= len(data)
            if self._left < 0 or (ended and self._left):
                self.fail(PROTOCOL_ERROR)
                return
        if self.flow is None:
            self._connection.consumed(self.number, len(data))
        elif self._paused:
            if data:
                self._pending += data
                self._connection.keeps = True
        else:
            self._pass_on(data)
        if ended:
            self.body_over()

    def trailers(self, fields: Sequence[Field]) -> None:
        """Take the fields after the request's body."""
        try:
            self._trailers = trailer_lines(fields)
        except StreamError:
            self.fail(PROTOCOL_ERROR)
            return
        if self._left > 0:
            self.fail(PROTOCOL_ERROR)
            return
        self.body_over()

    def body_over(self) -> None:
        """Learn that the client sends no more on this stream."""
        if not self._body_ended:
            self._body_ended = True
            self._check_end()

    def fail(self, code: int) -> None:
        """Reset the stream because of what the client did."""
        self._connection.session.reset(self.number, code)
        self._connection.schedule()
        self.lost()

    def lost(self) -> None:
        """Learn that the stream is gone."""
        flow, self.flow = self.flow, None
        self._pending.clear()
        if flow is not None:
            flow.client_failed()

    def flushed(self) -> bool:
        """Look how far the client's window has let us; return whether there is more to look for."""
        connection = self._connection
        unsent = connection.session.unsent(self.number)
        taken, self.unsent = self.unsent - unsent, unsent
        if taken > 0:
            self.appetite.took(taken, connection.live.now)
            connection.appetite.took(taken, connection.live.now)
            connection.framing.worth += taken * BODY_WORTH
        if unsent and connection.patience(self) <= connection.live.now:
            self._give_up()
            return False
        flow = self.flow
        if flow is None:
            if unsent or self._body_ended:
                return bool(unsent)
            connection.session.reset(self.number, NO_ERROR)  # RFC 9113 8.1
            connection.schedule()
            return False
        if taken > 0:
            flow.client_flushed()
        if self._held_up and self.flow is not None and not self.full:
            self._held_up = False
            self.flow.client_drained()
        return bool(self.unsent) or self._held_up

    # What time tells.

    def expired(self) -> None:
        """Let the flow act, or give up on what the client does not take."""
        if self.unsent or self._held_up:
            until = self._connection.patience(self)
            if until > self._connection.live.now:
                self.deadline = until
            else:
                self._give_up()
        elif self.flow is not None:
            self.flow.expired()
        else:
            self.fail(CANCEL)
        self._connection.schedule()

    def _give_up(self) -> None:
        self.deadline = NEVER  # it is gone as soon as the client can be told
        if self.flow is not None:
            self.flow.cancel()
        else:
            self.fail(CANCEL)

    def drain(self) -> None:
        """Tell the flow that the service ends."""
        if self.flow is not None:
            self.flow.drain()
            self._connection.schedule()

    def reset(self) -> None:
        """Close the connection at once."""
        self._connection.reset()
