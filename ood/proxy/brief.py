"""The commonest of proxied requests: alone on its connection, its answer there in one read.

For such a request it takes longer to make the objects that can do all the rest (several
requests on a connection, bodies, changes, clients that read slowly) than to serve it.  So it
is begun without them, and where it turns out that something of the rest is needed they are
made in its midst and go on from there.
"""

from __future__ import annotations

from ood.net.stream import DONTWAIT, SEND_LAST
from ood.proxy import limits
from ood.proxy.begin import Sent
from ood.proxy.client import Client
from ood.proxy.context import Context, Incoming
from ood.proxy.core import forward
from ood.proxy.core.forward import Peer
from ood.proxy.core.grammar import MalformedError
from ood.proxy.core.request import Request
from ood.proxy.core.response import Response
from ood.proxy.upstream import TCP
from ood.traffic.records import OFF
from ood.traffic.traffic import AppTraffic


def serve_briefly(context: Context, incoming: Incoming, request: Request, peeked: int) -> bool:
    """Send a connection's first request, still unread, to its app; false if nothing was done.

    It is done if the request is all that comes on this connection, no rule has a say in it,
    and there is an idle connection to its app.
    """
    if request.keep_alive or request.length or request.upgrade or request.end != peeked:
        return False
    entry, secured = incoming.entry, context.secured
    app = entry.app or context.routes.find(request.host)
    if (
        app is None
        or app not in context.direct
        or not request.plain
        or incoming.proxied
        or entry.scheme != b"http"
        or (secured is not None and not secured.passes(app, request.target, entry))
    ):
        return False
    traffic = context.traffic.of(app)
    if traffic.form != OFF:
        return False
    upstream = context.upstreams.idle(app)
    if upstream is None:
        return False
    address, port = incoming.address
    peer = Peer(address, port, entry.scheme, entry.port)
    fields = context.heads.passed(request)
    began = context.traffic.now()
    upstream.write(forward.request_head(request, peer, pipe=upstream.pipe, fields=fields))
    if upstream.broken:
        upstream.close()
        return False
    Brief(context, incoming, traffic, Sent(app, request, upstream, began))
    return True


class Brief:
    """Such a request, from when it was sent to its app.

    :param traffic: where it is counted.
    :param sent: the request, and where it is.
    :ivar deadline: when it is one that takes long.
    """

    __slots__ = ("_context", "_incoming", "_sent", "_traffic", "deadline")

    def __init__(
        self, context: Context, incoming: Incoming, traffic: AppTraffic, sent: Sent
    ) -> None:
        self._context = context
        self._incoming = incoming
        self._sent = sent
        self._traffic = traffic
        traffic.in_flight += 1
        context.counters.in_flight += 1
        context.counters.proxied += 1
        self.deadline = context.live.now + limits.WATCH_SECONDS
        context.live.add(self)
        sent.upstream.user = self

    # The upstream's events.

    def upstream_received(self, data: bytes) -> None:
        """Pass the answer on if this is all of it."""
        to_head = self._sent.request.method == b"HEAD"
        try:
            response = self._context.heads.response(data, to_head=to_head)
        except MalformedError:
            response = None  # whoever goes on finds out the same
        if (
            response is not None
            and response.status >= 200
            and response.length == len(data) - response.end
            and self._traffic.form == OFF
        ):
            self._answer(response, data[response.end :])
        else:
            self._expand()
            self._sent.upstream.received(data)

    def upstream_connected(self) -> None:
        """Not called: it was connected before."""

    def upstream_drained(self) -> None:
        """Do nothing: all was written at once."""

    def upstream_ended(self) -> None:
        """Have it repeated, or answered."""
        self._expand()
        self._sent.upstream.ended()

    def upstream_failed(self) -> None:
        """Have it repeated, or answered."""
        self._expand()
        self._sent.upstream.failed()

    # Time.

    def expired(self) -> None:
        """Have its client watched: it takes long."""
        self._expand().expired()

    def drain(self) -> None:
        """Go on: the answer ends the connection."""

    def reset(self) -> None:
        """Close."""
        self._expand().reset()

    # Its end.

    def _answer(self, response: Response, body: bytes) -> None:
        context, sent = self._context, self._sent
        upstream = sent.upstream
        upstream.worker.answered()
        context.repeats.answered(sent.app, sent.request)
        if response.keep_alive and not upstream.backlog:
            upstream.release(response.idle_timeout)
        else:
            upstream.user = None
            upstream.close()
        fields = context.heads.shown(response)
        head = forward.response_head(response, chunked=False, close=True, fields=fields)
        self._write(head + body)
        self._count(response.status, len(body))
        self._leave()

    def _write(self, data: bytes) -> None:
        """Send the client its answer, and close; with bytes unread that would be a reset."""
        sock, end = self._incoming.sock, self._sent.request.end
        try:
            alone = len(sock.recv(end + 1, DONTWAIT)) <= end
            taken = sock.send(data, SEND_LAST) if alone else 0
        except BlockingIOError:
            taken = 0
        except OSError:
            taken = len(data)  # the client is gone
        if taken == len(data):
            sock.close()
        else:
            Client(self._context, self._incoming).leave(data[taken:])

    def _count(self, status: int, size: int) -> None:
        upstream, traffic = self._sent.upstream, self._traffic
        now = self._context.traffic.now()
        seconds = now - self._sent.began
        self._context.counters.statuses[status] += 1
        traffic.tally(upstream.way).count(now, status, seconds, size)
        if upstream.way == TCP:
            traffic.worker(upstream.instance).count(now, status, seconds, size)

    def _leave(self) -> None:
        self._traffic.in_flight -= 1
        self._context.counters.in_flight -= 1
        self._context.live.discard(self)

    def _expand(self) -> Client:
        """Let a connection that can do all go on from here; return it."""
        client = Client(self._context, self._incoming)
        self._context.counters.proxied -= 1  # it is counted once more
        client.carry_on(self._sent)
        self._leave()
        return client
