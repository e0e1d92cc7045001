"""A client's HTTP/2 connection: many requests at a time."""

from __future__ import annotations

import base64
import os

import msgspec

from ood.net.stream import WRITE_HIGH_BYTES
from ood.proxy import limits
from ood.proxy.begin import begin
from ood.proxy.context import Context, Incoming
from ood.proxy.core import pages
from ood.proxy.core.forward import Peer
from ood.proxy.core.grammar import MalformedError
from ood.proxy.core.h2 import StreamError
from ood.proxy.core.pace import BODY_WORTH, HEAD_WORTH_BYTES, Appetite, Framing
from ood.proxy.core.request import Request
from ood.proxy.http2.session import (
    RESET_BURST,
    RESETS_PER_SECOND,
    Closed,
    Data,
    Ended,
    Head,
    Session,
    SessionError,
    SessionEvent,
    Trailers,
)
from ood.proxy.http2.stream import PROTOCOL_ERROR, Http2Stream
from ood.proxy.paced import PacedStream

ENHANCE_YOUR_CALM = 11
_REFUSED = Request(b"GET", b"/", 1, b"", None, True, 0, b"", (), False, 0)
_HEAD_REFUSED = msgspec.structs.replace(_REFUSED, method=b"HEAD")


class Http2Connection(PacedStream):
    """A client's connection.

    Nothing is written from within a stream's methods: they queue, and what came together
    in one turn of the reactor goes out together.

    :ivar session: frames what is sent and read.
    :ivar appetite: what the client took of all streams' bodies.
    :ivar framing: what the client sends, and what comes of it.
    :ivar heads: what was made of the heads of this moment.
    :ivar keeps: some of a request's body waits for its app.
    :ivar statuses: counts final responses.
    """

    __slots__ = (
        "_dirty",
        "_ending",
        "_entry",
        "_held",
        "_peer",
        "_resets",
        "_resets_at",
        "_streams",
        "_waiting",
        "appetite",
        "framing",
        "heads",
        "keeps",
        "session",
        "statuses",
    )

    def __init__(self, context: Context, incoming: Incoming, session: Session) -> None:
        super().__init__(context, incoming.sock, limits.KEEP_ALIVE_IDLE_SECONDS)
        address, port = incoming.address
        self._entry = entry = incoming.entry
        self._peer = Peer(address, port, entry.scheme, entry.port)
        self._streams: dict[int, Http2Stream] = {}
        self._waiting: dict[int, Http2Stream] = {}
        self._dirty = False
        self._ending = False
        self._held = 0
        self.keeps = False
        self._resets = 0.0
        self._resets_at = context.live.now
        self.session = session
        self.heads = context.heads
        self.appetite = Appetite(context.live.now)
        self.framing = Framing(context.live.now)
        self.statuses = context.counters.statuses
        context.live.add(self)

    def start(self) -> None:
        """Begin."""
        self.resume_reading()
        self.schedule()

    # What streams call.

    def schedule(self) -> None:
        """Send what there is to send when this turn is over."""
        if not self._dirty:
            self._dirty = True
            self._arrange()

    def _arrange(self) -> None:
        """Have :meth:`doWrite` called."""
        if not self._writing and not self._context.reactor.soon(self):
            self._start_writing()

    def wrote(self, stream: Http2Stream) -> None:
        """Send what there is to send, and look after ``stream`` until all of it is sent."""
        self._waiting[stream.number] = stream
        self.schedule()

    def consumed(self, stream: int, amount: int) -> None:
        """Let the client send more on a stream."""
        if amount:
            self.session.consumed(stream, amount)
            self.schedule()

    # The socket's events.

    def received(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._ending:
            return
        try:
            self._take(self.session.receive(data))
        except SessionError:
            self._end()
            return
        if self.framing.flood(len(data), self.live.now) and not (self.closed or self._ending):
            self._calm()
        if not self.closed:
            self.schedule()
            if self.backlog > WRITE_HIGH_BYTES:
                self.pause_reading()  # who does not read our answers is not read either

    def ended(self) -> None:
        """Close: without its acknowledgements a client can't be served."""
        self.close()

    def doWrite(self) -> None:
        """Send what the streams queued."""
        if self.closed:
            return
        self._dirty = False
        if not self.backlog:
            self._behind = False  # the kernel has room again
        self._flush()
        if not self.closed:
            super().doWrite()
        if self._dirty and not self.closed:  # flushing let streams queue more
            self._arrange()
        if self._held or self.keeps or self._waiting:
            self._weigh()

    def flushed(self) -> None:
        """Cut off a client that takes what it asked for too slowly."""
        if not self.keeps_up():
            self.reset()

    def drained(self) -> None:
        """Go on with what waited for room."""
        if not self._ending:
            self._flush()
            if not self.closed:
                self.resume_reading()

    def _weigh(self) -> None:
        """Tell how much is kept for this client; that may be more than there is room for."""
        if self.closed:
            return
        streams = [stream.held for stream in self._streams.values()]
        self.keeps = any(kept for _, kept in streams)
        self._held = held = self.backlog + sum(unsent + kept for unsent, kept in streams)
        self._context.hoard.holds(self, held)

    def gone(self) -> None:
        """Tell every request that its client is gone."""
        self._context.hoard.holds(self, 0)
        self.live.discard(self)
        streams, self._streams = self._streams, {}
        self._waiting.clear()
        for stream in streams.values():
            self.live.discard(stream)
            stream.lost()

    def _flush(self) -> None:
        if self.backlog > WRITE_HIGH_BYTES or self._ending:
            return
        data, events = self.session.take()
        if data:
            self.write(data)
        self._take(events)
        if self.broken:
            self.close()
            return
        for stream in list(self._waiting.values()):
            if not stream.flushed():
                self._waiting.pop(stream.number, None)

    # The session's events.

    def _take(self, events: list[SessionEvent]) -> None:
        for event in events:
            if self.closed or self._ending:
                return
            if isinstance(event, Head):
                self._begin(event)
            elif isinstance(event, Closed):
                self._closed(event)
            elif isinstance(event, Ended):
                self._end()
            else:
                self._body(event)

    def _begin(self, head: Head) -> None:
        number = head.stream
        self.framing.worth += HEAD_WORTH_BYTES
        try:
            request = self.heads.stream_request(head.fields, ended=head.ended, key=_key)
        except StreamError:
            self.session.reset(number, PROTOCOL_ERROR)
            return
        except MalformedError as error:
            to_head = (b":method", b"HEAD") in head.fields  # whose answer has no body
            stream = self._stream(head, _HEAD_REFUSED if to_head else _REFUSED)
            stream.page(pages.malformed(error.status, error.why))
            return
        stream = self._stream(head, request)
        begin(self._context, stream, self._entry, request, self._peer)

    def _stream(self, head: Head, request: Request) -> Http2Stream:
        stream = Http2Stream(self, head.stream, request, ended=head.ended)
        self._streams[head.stream] = stream
        self.live.add(stream)
        return stream

    def _body(self, event: Data | Trailers) -> None:
        stream = self._streams.get(event.stream)
        if isinstance(event, Data):
            self.framing.worth += len(event.data) * BODY_WORTH
        if stream is None:
            if isinstance(event, Data):
                self.consumed(event.stream, len(event.data))
        elif isinstance(event, Data):
            stream.received(event.data, ended=event.ended)
        else:
            stream.trailers(event.fields)

    def _closed(self, event: Closed) -> None:
        stream = self._streams.pop(event.stream, None)
        self._waiting.pop(event.stream, None)
        if stream is not None:
            self.live.discard(stream)
            stream.lost()
        if event.code and self._too_many_resets():
            self._calm()
        elif not self._streams:
            self.deadline = self.live.now + limits.KEEP_ALIVE_IDLE_SECONDS
            if self._context.draining:
                self._finish()

    def _too_many_resets(self) -> bool:
        """Count a stream that did not end well, whoever's doing that was (CVE-2025-8671)."""
        now = self.live.now
        self._resets = max(0.0, self._resets - (now - self._resets_at) * RESETS_PER_SECOND) + 1
        self._resets_at = now
        return self._resets > RESET_BURST

    # The end.

    def expired(self) -> None:
        """Close what is idle, and what takes too little."""
        if self._ending:
            self._linger()
        elif self.backlog or self._writing:
            if not self._behind:
                self._await_room()
            elif self.too_slow():
                self.reset()
        elif self._streams:
            self.deadline = self.live.now + limits.BODY_IDLE_SECONDS
        else:
            self._finish()

    def _await_room(self) -> None:
        """Look at how fast the kernel's buffer gets empty, which has no room at all now."""
        self.backed_up()
        self.deadline = self.live.now + limits.BODY_IDLE_SECONDS

    def _linger(self) -> None:
        """Close once the client has everything: what it still says would make that a reset."""
        if not self.undelivered():
            self.close()
            return
        if not self._behind:
            self.backed_up()
        elif self.too_slow():
            self.reset()
            return
        self.deadline = self.live.now + limits.LINGER_SECONDS

    def patience(self, stream: Http2Stream) -> float:
        """Return until when the client may take nothing of what a stream has for it."""
        if not stream.unsent or self.session.room(stream.number) > 0:
            if self.backlog or self._writing:  # it's the network: the connection answers for it
                if not self._behind:
                    self._await_room()
                return self.live.now + limits.BODY_IDLE_SECONDS
            return max(stream.appetite.until, self.appetite.until)
        return stream.appetite.until

    def drain(self) -> None:
        """Serve what is under way, and end then."""
        if self._ending:
            return
        self.session.announce_end()
        if self._streams:
            self.schedule()
        else:
            self._finish()

    def _finish(self) -> None:
        """Say good-bye, and end."""
        if not self._ending:
            self.session.finish(0)
            self._end()

    def _calm(self) -> None:
        """End it with a client that keeps us busy for nothing."""
        self.session.finish(ENHANCE_YOUR_CALM)
        self._end()

    def _end(self) -> None:
        """Send the last words; what the client still sends is read away for a moment."""
        if self._ending or self.closed:
            return
        data, _ = self.session.take()
        self._ending = True
        self._waiting.clear()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            self.live.discard(stream)
            stream.lost()
        if data:
            self.write(data)
        if self.broken:
            self.close()
            return
        self.deadline = self.live.now + limits.LINGER_SECONDS
        self.end_writing()
        self.resume_reading()


def _key() -> bytes:
    """Return a Sec-WebSocket-Key: HTTP/2 has none, HTTP/1.1 demands one."""
    return base64.b64encode(os.urandom(16))
