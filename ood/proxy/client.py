"""A client's connection on the proxied path: its requests, one after another."""

from __future__ import annotations

import socket
from fcntl import ioctl
from termios import FIONREAD

import msgspec

from ood.net.stream import WRITE_HIGH_BYTES
from ood.proxy import limits
from ood.proxy.begin import Sent, begin, carry_on
from ood.proxy.context import Context, Incoming
from ood.proxy.core import pages
from ood.proxy.core.forward import Peer, told_peer
from ood.proxy.core.grammar import MalformedError
from ood.proxy.core.pages import Page
from ood.proxy.core.request import Request
from ood.proxy.dates import present
from ood.proxy.downstream import Flow
from ood.proxy.http1 import Http1Downstream
from ood.proxy.paced import PacedStream

PIPELINE_BYTES_MAX = 65_536
"""With more than this of later requests waiting, the client's bytes stay in the kernel."""

_DONTWAIT = socket.MSG_DONTWAIT


class Client(PacedStream):
    """A client's connection.

    :ivar input: bytes read and not yet used.
    :ivar current: the request that the connection is busy with; None between requests.
    :ivar at_end: the client will send no more.
    """

    __slots__ = (
        "_advancing",
        "_entry",
        "_lingering",
        "_peer",
        "at_end",
        "current",
        "input",
    )

    def __init__(self, context: Context, incoming: Incoming) -> None:
        super().__init__(context, incoming.sock, limits.HEAD_DEADLINE_SECONDS)
        self._entry = entry = incoming.entry
        address, port = incoming.address
        self._peer = Peer(address, port, entry.scheme, entry.port)
        self._advancing = False
        self._lingering = False
        self.input = b""
        self.current: Http1Downstream | None = None
        self.at_end = False
        context.live.add(self)

    # How a connection begins.

    def serve(self, request: Request, peeked: int) -> None:
        """Serve a connection whose first ``peeked`` bytes, still unread, begin with ``request``."""
        self._take(peeked)
        self.input = self.input[request.end :]
        try:
            self._start(request)
            if self.current is None:
                self._advance()
        except Exception:  # the reactor does not know this connection yet: nobody else ends it
            self._fail()
            raise

    def carry_on(self, sent: Sent) -> None:
        """Serve a connection whose first request, still unread here, was sent to its app."""
        self._take(sent.request.end)
        self.input = b""
        self.current = downstream = Http1Downstream(self._context, self, sent.request)
        carry_on(self._context, downstream, sent, self._peer)

    def leave(self, data: bytes) -> None:
        """Send the last of the answer to the connection's only request, which was read, and end."""
        self.write(data, last=True)
        self._end(unread=False)

    def refuse(self, page: Page, peeked: int, request: Request | None = None) -> None:
        """Answer a connection's first ``peeked`` bytes, still unread, with ``page``, and end it.

        :param request: what they begin with, where that is known.
        """
        self._take(peeked)
        self.answer(page, request, close=True)

    def _take(self, peeked: int) -> None:
        try:
            self.input = self.sock.recv(peeked, _DONTWAIT)
        except OSError:
            self.broken = True

    # What a request calls.

    def answer(self, page: Page, request: Request | None, *, close: bool) -> None:
        """Send an answer of our own."""
        close = close or request is None or not request.keep_alive
        fields, method = (b"", b"") if request is None else (request.fields, request.method)
        self._context.counters.statuses[page.status] += 1
        accept, to_head = pages.accepted(fields), method == b"HEAD"
        self.write(pages.render(page, date=present(), accept=accept, to_head=to_head, close=close))
        self.current = None
        if close:
            self._end(unread=request is None or request.length != 0)
        else:
            self._next()

    def request_done(self, *, keep: bool, unread: bool) -> None:
        """Go on to the next request, or end.

        :param keep: the client may send another request.
        :param unread: the request's body has not come in full.
        """
        self.current = None
        if keep and not unread:
            self._next()
        else:
            self._end(unread=unread or bool(self.input))

    # The stream's events.

    def received(self, data: bytes) -> None:
        """Use what came, or keep it until the present exchange is done."""
        if self._lingering:
            return
        if self.current is not None:
            self.input += data
            self.current.received()
            if len(self.input) > PIPELINE_BYTES_MAX:
                self.pause_reading()
            return
        if not self.input:
            self.deadline = self._context.live.now + limits.HEAD_DEADLINE_SECONDS
        self.input += data
        self._advance()

    def ended(self) -> None:
        """Take the client's end of stream."""
        self.at_end = True
        if self.current is not None:
            self.current.ended()
        else:
            self.finish()

    def flushed(self) -> None:
        """Tell the flow; cut off a client that takes what it asked for too slowly."""
        flow = self._flow
        if not self.keeps_up():
            if flow is not None:
                flow.cancel()
            self.reset()
        elif flow is not None:
            flow.client_flushed()

    def drained(self) -> None:
        """Go on with what waited for room."""
        flow = self._flow
        if flow is not None:
            flow.client_drained()
        else:
            self._advance()

    def failed(self) -> None:
        """Give up what is under way."""
        flow = self._flow
        if flow is not None:
            flow.client_failed()

    def gone(self) -> None:
        """Leave the books."""
        self.current = None
        self._context.live.discard(self)

    def expired(self) -> None:
        """Act on the deadline."""
        if self.current is not None:
            self.current.expired()
        elif self.input and not self._lingering and not self.backlog:
            late = MalformedError(408, "its head did not come in time")
            self.answer(pages.malformed(late.status, late.why), None, close=True)
        elif not self.backlog:
            self.close()
        elif self.too_slow():
            self.reset()

    def drain(self) -> None:
        """End, at once between requests, else after the present one."""
        flow = self._flow
        if flow is not None:
            flow.drain()
        elif not self.input and not self._lingering:
            self.finish()

    @property
    def _flow(self) -> Flow | None:
        return None if self.current is None else self.current.flow

    # From request to request.

    def _next(self) -> None:
        if self._context.draining and not self.input:
            self.finish()
            return
        if self.at_end and not self.input:
            self.finish()
            return
        seconds = limits.HEAD_DEADLINE_SECONDS if self.input else limits.KEEP_ALIVE_IDLE_SECONDS
        self.deadline = self._context.live.now + seconds
        self._advance()

    def _advance(self) -> None:
        """Start the requests that are in ``input``, in order, as far as may be."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._ready():
                request = self._context.heads.request(self.input)
                if request is None:
                    break
                self.input = self.input[request.end :]
                self._start(request)
        except MalformedError as error:
            self.answer(pages.malformed(error.status, error.why), None, close=True)
        finally:
            self._advancing = False
        if self.current is None and not self._lingering and not self.closed:
            self._wait_for_more()

    def _ready(self) -> bool:
        return (
            bool(self.input)
            and self.current is None
            and not self._lingering
            and not self.closed
            and not self.broken
            and self.backlog <= WRITE_HIGH_BYTES
        )

    def _wait_for_more(self) -> None:
        if self.broken:
            self.close()
        elif self.at_end and self.backlog <= WRITE_HIGH_BYTES:
            self.finish()
        elif self.backlog <= WRITE_HIGH_BYTES:
            self.resume_reading()
        else:
            self.pause_reading()

    def _start(self, request: Request) -> None:
        peer = self._peer
        if self._entry.told:
            peer = told_peer(request, peer.local_port) or peer
            if request.upgrade:
                # what follows comes from the client itself, and so would its X-Ood-Peer
                request = msgspec.structs.replace(request, keep_alive=False)
        self.current = downstream = Http1Downstream(self._context, self, request)
        begin(self._context, downstream, self._entry, request, peer)

    def _end(self, *, unread: bool) -> None:
        """End the connection so that the client gets all that was written.

        Closing a socket with unread bytes makes the kernel send a reset, which may
        overtake the answer: where there are such bytes, they are read away first.

        :param unread: more is to come of what the client has begun.
        """
        if self.broken or self.at_end or not (unread or self._has_unread()):
            self.finish()
            return
        self._lingering = True
        self.input = b""
        self.deadline = self._context.live.now + limits.LINGER_SECONDS
        self.end_writing()
        self.resume_reading()

    def _has_unread(self) -> bool:
        """Tell whether there is more from a client who said that there would be no more."""
        try:
            ioctl(self._fd, FIONREAD, count := bytearray(4))
        except OSError:
            return False
        return any(count)

    def watch(self) -> None:
        """Read, to learn of the client's going away (and of its next requests)."""
        if not self.at_end and len(self.input) <= PIPELINE_BYTES_MAX:
            self.resume_reading()
