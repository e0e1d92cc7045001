"""Which way a connection goes: handed to a worker, or proxied."""

from __future__ import annotations

import socket
from functools import partial
from typing import cast

import msgspec

from ood.errors import UnavailableError
from ood.net.listen import RawSocket
from ood.net.sealed import SealedEnd, sealed
from ood.proxy import limits
from ood.proxy.arrivals import Arrival, HalfOpen, Head, look
from ood.proxy.brief import serve_briefly
from ood.proxy.client import Client
from ood.proxy.context import Context, Entry, Incoming
from ood.proxy.core import pages
from ood.proxy.core.grammar import HEAD_BYTES_MAX, MalformedError
from ood.proxy.core.head import Preface
from ood.proxy.core.hello import HANDSHAKE
from ood.proxy.core.pages import Page
from ood.proxy.core.request import Request
from ood.proxy.greeting import GreetedArrival
from ood.proxy.live import NEVER

_PEEK = socket.MSG_PEEK | socket.MSG_DONTWAIT


class Dispatcher:
    """Looks at connections and sends each its way.

    A connection goes to a worker, unread, if its request is beyond doubt, leaves the
    connection open, and the app's workers take sockets; else it is proxied.

    :ivar entries: where connections come in, by local port.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._half_open = HalfOpen()
        self.entries: dict[int, Entry] = {}

    @property
    def awaited(self) -> int:
        """How many connections there are of which no request has come in full."""
        return len(self._half_open)

    def accepted(self, incoming: Incoming) -> None:
        """Take a connection that was just accepted."""
        self._context.counters.connections += 1
        sites = self._context.sites
        if not sites.watchful:
            self._look(incoming)
        elif incoming.entry.app is None and sites.greets(incoming.address[0]):
            GreetedArrival(self._context, self._half_open, incoming, self.greeted).begin()
        else:
            self.greeted(incoming)

    def greeted(self, incoming: Incoming) -> None:
        """Take a connection whose client is known, at least by address."""
        sites = self._context.sites
        if sites.watchful and sites.trusts(incoming.address[0]):
            incoming = msgspec.structs.replace(incoming, proxied=True)
        self._look(incoming)

    def _look(self, incoming: Incoming) -> None:
        """Look at the first bytes of a connection, now or when they come."""
        try:
            data = incoming.sock.recv(HEAD_BYTES_MAX, _PEEK)
        except BlockingIOError:
            self._arrival(incoming).wait(0)
            return
        except OSError:
            data = b""
        if not data:
            incoming.sock.close()
            return
        head = look(self._context, data)
        if head is Preface.INCOMPLETE and incoming.entry.scheme == b"http":
            self._arrival(incoming).wait(len(data))
        else:
            self.take(incoming, head, len(data))

    def take(self, incoming: Incoming, head: Head, peeked: int) -> None:
        """Send a connection its way, now that its first request is known."""
        if isinstance(head, Request):
            if head.keep_alive:
                app = self._worker_takes(incoming, head)
                if app is not None:
                    self.hand_off(app, incoming.sock)
                    return
            elif serve_briefly(self._context, incoming, head, peeked):
                return
            self._client(incoming).serve(head, peeked)
        elif isinstance(head, MalformedError):
            page = pages.malformed(head.status, head.why)
            self._client(incoming).refuse(page, peeked)
        elif head is Preface.INCOMPLETE:
            self._client(incoming).resume_reading()  # what the kernel opened can't be waited for
        else:
            self._take_other(incoming, head, peeked)

    def _worker_takes(self, incoming: Incoming, head: Request) -> str | None:
        """Return the app whose workers may have a connection, and all that comes on it."""
        context, entry = self._context, incoming.entry
        app = entry.app or context.routes.find(head.host)
        # What the kernel opened is only for those who know that.
        alone = (context.one_app and entry.scheme == b"http") or entry.app is not None
        if (
            app is not None
            and head.plain
            and not incoming.proxied
            and (context.secured is None or context.secured.passes(app, head.target, entry))
            and not context.sites.every_request(app)
            and context.pool.takes_sockets(app, alone=alone)
        ):
            return app
        return None

    def _client(self, incoming: Incoming) -> Client:
        """Return what serves a connection here."""
        if incoming.entry.scheme == b"https":
            end = cast(RawSocket, SealedEnd(incoming.sock))
            incoming = msgspec.structs.replace(incoming, sock=end)
        return Client(self._context, incoming)

    def _take_other(self, incoming: Incoming, preface: Preface, peeked: int) -> None:
        """Let an app that speaks TLS or HTTP/2 itself do so on its own port."""
        app, context = incoming.entry.app, self._context
        if (
            app is not None
            and not context.sites.every_request(app)
            and context.pool.takes_sockets(app, alone=True)
        ):
            self.hand_off(app, incoming.sock)
        elif preface is Preface.HTTP2:
            page = pages.malformed(505, "HTTP/2 is only spoken over TLS")
            self._client(incoming).refuse(page, peeked)
        else:
            incoming.sock.close()

    def adopt(self, sock: RawSocket) -> None:
        """Park a connection that comes back from a worker until its next request."""
        incoming = self._incoming(sock)
        if incoming is not None:
            self._arrival(incoming).wait_idle()

    def _arrival(self, incoming: Incoming) -> Arrival:
        return Arrival(self._context, self._half_open, self, incoming)

    def _incoming(self, sock: RawSocket) -> Incoming | None:
        """Find out again where a connection came from; None, and closed, if it is lost."""
        try:
            address = sock.getpeername()
            port = sock.getsockname()[1]
        except OSError:
            sock.close()
            return None
        proxied = self._context.sites.watchful and self._context.sites.trusts(address[0])
        entry = self.entries.get(port) or Entry(port)
        if entry.scheme == b"https":
            sock = sealed(sock)
        return Incoming(sock, address[:2], entry, proxied)

    # Hand-off, and what to do when no worker takes it.

    def hand_off(self, app: str, sock: RawSocket, tries: int = 0) -> None:
        """Give a connection, unread, to a worker; without one it waits, and then is told."""
        refused = self._refused if not tries else partial(self._refused, tries=tries)
        key = self._context.sticky.key(app, sock)
        if self._context.pool.hand_off(app, sock, refused, key):
            self._context.counters.handed_off += 1
        else:
            self._refused(app, sock, tries=tries)

    def _refused(self, app: str, sock: RawSocket, tries: int = 0) -> None:
        """Wait for a worker, and try again."""
        waiting = WaitingSocket(self._context, sock)
        self._context.background.run("waiting for a worker", self._wait(app, waiting, tries + 1))

    async def _wait(self, app: str, waiting: WaitingSocket, tries: int) -> None:
        try:
            if tries > limits.DISPATCH_TRIES_MAX:
                raise UnavailableError("the site's program takes no connections now")
            await self._context.pool.when_available(app)
        except UnavailableError as error:
            if not waiting.closed:
                page = pages.unavailable(error.message, error.hint)
                self._answer(waiting.release(), self._context.sites.dressed(page, app))
            return
        if not waiting.closed:
            self.hand_off(app, waiting.release(), tries)

    def _answer(self, sock: RawSocket, page: Page) -> None:
        """Answer the unread request of a connection with ``page``."""
        incoming = self._incoming(sock)
        if incoming is None:
            return
        try:
            data = sock.recv(HEAD_BYTES_MAX, _PEEK)
        except BlockingIOError:  # it came back from a worker that was idle with it
            self._arrival(incoming).wait_idle()
            return
        except OSError:
            data = b""
        if data[:1] not in (b"", bytes([HANDSHAKE])):  # who speaks TLS to the app reads no page
            head = look(self._context, data)
            request = head if isinstance(head, Request) else None
            self._client(incoming).refuse(page, len(data), request)
        else:
            sock.close()


class WaitingSocket:
    """A connection with an unread request that waits for a worker.

    :ivar closed: it was closed meanwhile.
    :ivar deadline: never: the pool bounds the wait.
    """

    def __init__(self, context: Context, sock: RawSocket) -> None:
        self._context = context
        self._sock = sock
        self.closed = False
        self.deadline = NEVER
        context.live.add(self)

    def release(self) -> RawSocket:
        """Return the socket; it is the caller's again."""
        self._context.live.discard(self)
        return self._sock

    def expired(self) -> None:
        """Not called: the wait has no deadline of its own."""

    def drain(self) -> None:
        """Go on waiting: a request is under way."""

    def reset(self) -> None:
        """Close."""
        if not self.closed:
            self.closed = True
            self.release().close()
