"""One request and its response on their way through the proxy."""

from __future__ import annotations

from twisted.internet.task import deferLater

from ood.errors import UnavailableError
from ood.interfaces import Worker
from ood.net.stream import WRITE_HIGH_BYTES
from ood.proxy import limits
from ood.proxy.context import Context
from ood.proxy.core import forward, pages
from ood.proxy.core.errand import BodyFilter, Errand, changed, filtered
from ood.proxy.core.framing import Body, CloseBody, encode_chunk, encode_end
from ood.proxy.core.grammar import MalformedError
from ood.proxy.core.pace import Intake
from ood.proxy.core.pages import Page
from ood.proxy.core.request import CHUNKED
from ood.proxy.core.response import Response, body_of
from ood.proxy.downstream import Downstream
from ood.proxy.live import NEVER
from ood.proxy.tunnel import Tunnel
from ood.proxy.upstream import UpstreamConnection


class Exchange:
    """Forwards one request, its body, and the response, streamed both ways.

    It is a :class:`~ood.proxy.downstream.Flow`, from the request's head to the response's
    last byte; then the upstream connection goes on to another client.

    :ivar way: how the request went to the app, for the books; empty before that.
    :ivar worker: which worker it went to.
    """

    __slots__ = (
        "_active",
        "_affinity",
        "_body_done",
        "_context",
        "_downstream",
        "_errand",
        "_filters",
        "_held",
        "_intake",
        "_repeated",
        "_reply",
        "_reply_body",
        "_request",
        "_sent",
        "_tried",
        "_tries",
        "_upstream",
        "_watched",
        "way",
        "worker",
    )

    def __init__(self, context: Context, downstream: Downstream, errand: Errand) -> None:
        self._context = context
        self._downstream = downstream
        self._errand = errand
        self._request = errand.request
        self._active = True
        self._affinity = context.sticky.affinity(errand)
        self._body_done = not errand.request.length
        self._upstream: UpstreamConnection | None = None
        self._reply: Response | None = None
        self._reply_body: Body | None = None
        self._filters: list[BodyFilter] = []
        self._held = b""
        self._sent = False
        self._repeated = False
        self._tries = 0
        self._tried: tuple[Worker, ...] = ()
        self._watched = False
        self.way = ""
        self.worker: int | None = None
        context.counters.in_flight += 1
        context.counters.proxied += 1

    # To the upstream.

    def start(self) -> None:
        """Find an upstream connection and send the request."""
        longest = self._errand.body_bytes_max
        if longest is not None and self._request.length > longest:
            self._fail(pages.too_large(longest))
        else:
            self._attempt(fresh=False)

    def _attempt(self, *, fresh: bool) -> None:
        app = self._errand.app
        worker = self._wanted()
        if worker is not None and worker in self._tried:
            self._fail(pages.bad_upstream(app))
            return
        upstream = self._context.upstreams.take(app, worker, fresh=fresh)
        if upstream is None and worker is not None:
            self._tried = (*self._tried, worker)
            self._retry_or_fail()
            return
        if upstream is None:
            self._context.background.run("waiting for a worker", self._wait())
            return
        self._upstream = upstream
        upstream.user = self
        self._downstream.touch(limits.RESPONSE_SECONDS if self._watched else limits.WATCH_SECONDS)
        if upstream.connecting:
            return
        if upstream.used and upstream.stale():  # closed, or it says what nobody asked for
            self._lost_early()
        else:
            self.upstream_connected()

    def _wanted(self) -> Worker | None:
        """Return the worker that the request has to go to; None if any may have it."""
        pool = self._context.pool
        worker = None if self._affinity is None else self._affinity.worker(pool, self._tried)
        return worker or pool.choose(self._errand.app, self._tried)

    async def _wait(self) -> None:
        self._tries += 1
        self._downstream.touch(limits.WAIT_SECONDS)
        self._downstream.watch()
        try:
            if self._tries > limits.DISPATCH_TRIES_MAX:
                raise UnavailableError("the site's program takes no requests now")
            await self._context.pool.when_available(self._errand.app)
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
        self.way, self.worker = upstream.way, upstream.instance
        peer, fields = self._errand.peer, self._context.heads.passed(self._request)
        upstream.head = forward.request_head(self._request, peer, pipe=upstream.pipe, fields=fields)
        self._sent = True
        if not self._body_done:
            self._downstream.touch(limits.BODY_IDLE_SECONDS)
            self._watched = True
            self._intake = Intake(self._errand.body_bytes_max, self._context.live.now)
            self._downstream.resume_body()
            if self._upstream is not upstream:
                return
        upstream.send()
        if upstream.broken:
            self._lost_early()

    def carry_on(self, upstream: UpstreamConnection) -> None:
        """Wait for the answer of ``upstream``, which has got the request already."""
        upstream.user, self._upstream, self._sent = self, upstream, True
        self.way, self.worker = upstream.way, upstream.instance
        self._downstream.touch(limits.WATCH_SECONDS)

    # The client's events.

    def body(self, payload: bytes) -> None:
        """Forward a part of the request's body."""
        upstream, now = self._upstream, self._context.live.now
        assert upstream is not None
        refusal = self._intake.take(len(payload), now, waiting=self._reply is None)
        if refusal is not None:
            self._refuse_body(refusal)
            return
        self._downstream.touch(limits.BODY_IDLE_SECONDS)
        upstream.send(encode_chunk(payload) if self._request.length == CHUNKED else payload)
        if upstream.backlog > WRITE_HIGH_BYTES:
            self._downstream.pause_body()

    def body_ended(self, trailers: bytes) -> None:
        """End the request."""
        assert self._upstream is not None
        self._body_done = True
        if self._request.length == CHUNKED:
            self._upstream.send(encode_end(forward.trailer_fields(trailers)))
        self._downstream.touch(limits.RESPONSE_SECONDS)

    def body_failed(self, page: Page) -> None:
        """Refuse the request, of which the upstream has seen a part only."""
        self._refuse_body(page)

    def _refuse_body(self, page: Page) -> None:
        if self._reply is not None:
            self.cancel()
        else:
            self._drop_upstream()
            self._fail(page)

    def client_flushed(self) -> None:
        """Count that as progress."""
        if self._reply is not None and (self._downstream.full or not self._reply.event_stream):
            self._downstream.touch(limits.BODY_IDLE_SECONDS)

    def client_drained(self) -> None:
        """Let the upstream send again."""
        if self._upstream is not None:
            self._upstream.resume_reading()
        if self._reply is not None and self._reply.event_stream:
            self._downstream.touch(NEVER)

    def client_failed(self) -> None:
        """Stop the upstream: nobody waits for its answer."""
        self._drop_upstream()
        self._end()

    def expired(self) -> None:
        """Begin to watch the client, or give up on the side that is late."""
        if not self._watched:
            self._watched = True
            self._downstream.watch()
            self._downstream.touch(limits.RESPONSE_SECONDS - limits.WATCH_SECONDS)
        elif self._reply is not None:
            self.cancel()
        elif self._body_done:
            self._lose("it did not answer in time")
            self._fail(pages.upstream_late(self._errand.app))
        else:
            self._drop_upstream()
            self._fail(pages.malformed(408, "its body did not come in time"))

    def drain(self) -> None:
        """Go on; the answer then says that the connection ends."""

    def cancel(self) -> None:
        """Stop the upstream, and end the client so that it sees that the answer is not whole."""
        self._drop_upstream()
        self._end()
        self._downstream.abort()

    # The upstream's events.

    def upstream_received(self, data: bytes) -> None:
        """Relay interim responses, the head, the body."""
        if self._reply is not None:
            self._relay(data, None)
            return
        data, self._held = self._held + data, b""
        try:
            self._read_head(data)
        except MalformedError as error:
            self._lose(error.why)
            self._fail(pages.bad_upstream(self._errand.app))

    def upstream_ended(self) -> None:
        """End a body that ends so; anything else is cut off."""
        body = self._reply_body
        if self._reply is None:
            self._lost_early()
        elif isinstance(body, CloseBody):
            body.done = True
            self._relay(b"", None)
        else:
            self._lose("it ended an answer in its midst")
            self.cancel()

    def upstream_failed(self) -> None:
        """Try another connection, or tell the client."""
        upstream, self._upstream = self._upstream, None
        assert upstream is not None
        why = "the connection failed" if self._sent else "it can't be reached"
        if self._reply is not None or not upstream.used or self._held:
            upstream.worker.failed(upstream.trouble or why)
            self._tried = (*self._tried, upstream.worker)
        if self._reply is not None:
            self.cancel()
        else:
            self._retry_or_fail(pause=not upstream.worker.remote)

    def upstream_drained(self) -> None:
        """Let the client send more of its body."""
        if not self._body_done:
            self._intake.pace.begin(self._context.live.now)
            self._downstream.resume_body()

    def _lost_early(self) -> None:
        """Act on an upstream connection that ended before any answer."""
        upstream = self._upstream
        assert upstream is not None
        self._drop_upstream()
        if not upstream.used:  # a used one may have ended just when the request came
            upstream.worker.failed("it ended the connection without an answer")
            self._tried = (*self._tried, upstream.worker)
        self._retry_or_fail(pause=not upstream.worker.remote)

    def _retry_or_fail(self, *, pause: bool = False) -> None:
        """Try again what no worker has seen, and once what does no harm the second time.

        Once only: it may be the request itself that the worker died of.

        :param pause: wait until a worker that died is known to be dead.
        """
        app, repeats = self._errand.app, self._context.repeats
        again = not self._sent or (not self._repeated and repeats.may(app, self._request))
        if self._tries >= limits.DISPATCH_TRIES_MAX or self._held or not again:
            if pause and self._sent and self._repeated:
                repeats.ended_two(app, self._request)
            self._fail(pages.bad_upstream(app))
            return
        self._tries += 1
        pause &= self._sent
        self._repeated |= self._sent
        self._sent = False
        if pause:
            self._context.background.run("repeating a request", self._repeat())
        else:
            self._attempt(fresh=True)

    async def _repeat(self) -> None:
        self._downstream.watch()
        await deferLater(self._context.clock, limits.REPEAT_PAUSE_SECONDS)
        if self._active:
            self._attempt(fresh=True)

    # To the client.

    def _read_head(self, data: bytes) -> None:
        heads = self._context.heads
        while True:
            response = heads.response(data, to_head=self._request.method == b"HEAD")
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
            self._downstream.interim(response)
            if self._downstream.full:
                raise MalformedError(502, "the upstream sends interim responses without end")
            if not data:
                return

    def _begin_reply(self, response: Response, data: bytes) -> None:
        upstream = self._upstream
        assert upstream is not None
        upstream.worker.answered()
        self._context.repeats.answered(self._errand.app, self._request)
        self._reply = response
        shown = response
        if self._errand.changes:
            shown, self._filters = changed(response, self._errand.changes)
        if self._affinity is not None:
            shown = self._affinity.shown(shown, upstream.worker, self._context.live.now)
        if response.length == len(data) and not self._filters:
            self._let_go(clean=True)
            self._downstream.reply(shown, data, end=True)
            return
        self._reply_body = body_of(response)
        self._relay(data, shown)

    def _relay(self, data: bytes, head: Response | None) -> None:
        """Pass on a part of the response's body, with its head if that was not sent yet."""
        body, downstream = self._reply_body, self._downstream
        assert body is not None
        try:
            payload, rest = body.feed(data)
        except MalformedError as error:
            self._lose(error.why)
            if head is None:
                self.cancel()
            else:
                self._fail(pages.bad_upstream(self._errand.app))
            return
        if self._filters:
            payload = filtered(self._filters, payload, end=body.done)
        if body.done:
            self._let_go(clean=not rest)
            if head is not None:
                downstream.reply(head, payload, end=True, trailers=body.trailers)
            else:
                downstream.end(payload, body.trailers)
            return
        if head is not None:
            downstream.reply(head, payload)
        elif payload:
            downstream.data(payload)
        self._go_on()

    def _go_on(self) -> None:
        """Prepare for a response that takes more than one read."""
        downstream, reply, upstream = self._downstream, self._reply, self._upstream
        assert reply is not None and upstream is not None
        if downstream.broken:
            self.cancel()
            return
        full = downstream.full
        downstream.touch(limits.BODY_IDLE_SECONDS if full or not reply.event_stream else NEVER)
        if not self._watched:
            self._watched = True
            downstream.watch()
        if full:
            upstream.pause_reading()

    def _switch(self, response: Response, data: bytes) -> None:
        upstream, downstream = self._upstream, self._downstream
        assert upstream is not None
        if self._request.upgrade != b"websocket" or response.upgrade != b"websocket":
            raise MalformedError(502, "the upstream switched to a protocol nobody asked for")
        downstream.tunnel(response, data)
        self._context.counters.tunnels += 1
        self._upstream = None
        self._end()
        Tunnel(downstream, upstream).start()

    def _let_go(self, *, clean: bool) -> None:
        """Give the upstream connection back, before the client's last bytes are written.

        :param clean: the upstream sent nothing beyond its response.
        """
        upstream, reply = self._upstream, self._reply
        assert upstream is not None and reply is not None
        self._upstream = None
        clean &= not self._request.upgrade  # an app that looked at it may be out of HTTP's parser
        if clean and reply.keep_alive and self._body_done and not upstream.backlog:
            upstream.release(reply.idle_timeout)
        else:
            upstream.user = None
            upstream.close()
        self._end()

    def _fail(self, page: Page) -> None:
        self._end()
        site = self._errand.site or self._errand.app
        self._downstream.page(self._context.sites.dressed(page, site))

    def _lose(self, why: str) -> None:
        """Give the upstream connection up, by its worker's fault."""
        if self._upstream is not None:
            self._upstream.worker.failed(why)
        self._drop_upstream()

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.user = None
            upstream.close()

    def _end(self) -> None:
        if self._active:
            self._active = False
            self._context.counters.in_flight -= 1
