from __future__ import annotations

import contextlib
import socket

from twisted.internet.defer import Deferred

from ood.interfaces import Refused
from ood.proxy import limits
from tests.proxy.support import LOOPBACK, ProxyTestCase
from tests.support.ports import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: site.localhost\r\n\r\n"


class Workers:
    """Takes client sockets as a pool's workers would."""

    def __init__(self) -> None:
        self.taken: list[tuple[socket.socket, Refused]] = []
        self.willing = True
        self.came: Deferred[None] = Deferred()

    def __call__(self, sock: socket.socket, refused: Refused) -> bool:
        if self.willing:
            self.taken.append((sock, refused))
            came, self.came = self.came, Deferred()
            came.callback(None)
        return self.willing


class HandOffTests(ProxyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.workers = Workers()
        self.app.sockets = self.workers
        self.addCleanup(lambda: [sock.close() for sock, _ in self.workers.taken])

    async def taken(self) -> socket.socket:
        """Return the next socket that a worker gets."""
        while not self.workers.taken:
            self.workers.came = Deferred()
            await self.workers.came
        return self.workers.taken[-1][0]

    async def test_unread(self) -> None:
        """A worker gets the socket with its request unread, and the proxy forgets it."""
        client = await self.client()
        client.send(GET)
        sock = await self.taken()
        self.assertEqual(GET, sock.recv(1000, socket.MSG_DONTWAIT))
        self.assertEqual(1, sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))
        await self.eventually(lambda: self.proxy.counters.handed_off == 1)
        self.assertEqual(0, len(self.proxy._context.live))

    async def test_in_single_bytes(self) -> None:
        """A head that comes byte by byte is still unread when it is complete."""
        client = await self.client()
        for byte in GET:
            client.send(bytes([byte]))
            await self.settle()
        sock = await self.taken()
        self.assertEqual(GET, sock.recv(1000, socket.MSG_DONTWAIT))
        self.assertEqual(1, sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))

    async def test_a_websocket(self) -> None:
        client = await self.client()
        client.send(
            GET.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        )
        await self.taken()

    async def proxied(self, request: bytes, port: int | None = None) -> None:
        client = await self.client(port)
        await self.exchange(client, request, OK)
        self.assertIn(b"200 OK", await client.until(b"ok"))
        self.assertEqual([], self.workers.taken)

    async def test_what_closes_is_proxied(self) -> None:
        await self.proxied(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    async def test_an_old_version_is_proxied(self) -> None:
        await self.proxied(GET.replace(b"1.1", b"1.0"))

    async def test_our_own_headers_are_proxied(self) -> None:
        """A client can't reach a worker with X-Ood-Peer."""
        client = await self.client()
        request = GET.replace(b"\r\n\r\n", b"\r\nX-Ood-Peer: 1.1.1.1 1\r\n\r\n")
        _, head = await self.exchange(client, request, OK)
        self.assertEqual([], self.workers.taken)
        self.assertNotIn(b"1.1.1.1", head)

    async def test_what_is_odd_is_refused(self) -> None:
        """Two Hosts never reach a worker."""
        client = await self.client()
        client.send(GET.replace(b"\r\n\r\n", b"\r\nHost: other\r\n\r\n"))
        self.assertIn(b"400 Bad Request", await client.end())
        self.assertEqual([], self.workers.taken)

    async def test_an_unguarded_worker(self) -> None:
        """A worker that does not check Host gets no connection that can bring another's request."""
        self.app.guarded = False
        self.converge("site", "other")
        await self.proxied(GET)
        client = await self.client(self.ports["site"])
        client.send(GET)
        await self.taken()

    async def test_the_only_app_needs_no_guard(self) -> None:
        self.app.guarded = False
        client = await self.client()
        client.send(GET)
        await self.taken()

    async def test_an_own_port(self) -> None:
        """On an app's own port its Host does not matter."""
        self.converge("site", "other")
        client = await self.client(self.ports["site"])
        client.send(GET.replace(b"site.localhost", b"whatever"))
        await self.taken()

    async def test_tls_on_an_own_port(self) -> None:
        """An app that speaks TLS itself is reached raw on its own port, and only there."""
        client = await self.client(self.ports["site"])
        client.send(b"\x16\x03\x01")
        await self.taken()
        stranger = await self.client()
        stranger.send(b"\x16\x03\x01")
        self.assertEqual(b"", await stranger.end())

    async def test_refused_once(self) -> None:
        """A socket that no worker took after all is offered again."""
        client = await self.client()
        client.send(GET)
        sock = await self.taken()
        _, refused = self.workers.taken.pop()
        refused("site", sock)
        self.assertIs(sock, await self.taken())

    async def test_always_refused(self) -> None:
        """Offers end after some; the client then learns what is wrong."""
        self.workers.willing = False
        client = await self.client()
        client.send(GET)
        answer = await client.end()
        self.assertIn(b"503 Service Unavailable", answer)
        self.assertIn(b"takes no connections now", answer)

    async def test_waiting_for_a_worker(self) -> None:
        """While an app starts, connections wait; then they are handed off."""
        self.workers.willing = False
        self.app.why_none = None
        worker = self.app.backends[0].worker
        worker.accepting = False
        client = await self.client()
        client.send(GET)
        await self.eventually(lambda: bool(self.app.waiting))
        self.workers.willing = worker.accepting = True
        self.pool.wake("site")
        await self.taken()

    async def test_adopted(self) -> None:
        """A connection that comes back waits, unread, and its next request is routed afresh."""
        self.converge("site", "other")
        client = await self.client()
        client.send(GET)
        sock = await self.taken()
        sock.recv(1000)
        self.workers.taken.clear()
        self.proxy.adopt("site", sock)
        await self.settle()
        self.assertEqual([], self.workers.taken)
        client.send(GET.replace(b"site.localhost", b"nobody.org"))
        self.assertIn(b"404 Not Found", await client.until(b"\r\n"))

    async def test_adopted_and_handed_off_again(self) -> None:
        client = await self.client()
        client.send(GET)
        sock = await self.taken()
        sock.recv(1000)
        self.workers.taken.clear()
        self.proxy.adopt("site", sock)
        client.send(GET)
        again = await self.taken()
        self.assertEqual(GET, again.recv(1000, socket.MSG_DONTWAIT))

    async def test_adopted_for_long(self) -> None:
        """An adopted connection is closed when it was idle for 75 s."""
        client = await self.client()
        client.send(GET)
        sock = await self.taken()
        sock.recv(1000)
        self.workers.taken.clear()
        self.proxy.adopt("site", sock)
        self.advance(74)
        await self.settle()
        self.assertFalse(client.over)
        self.advance(2)
        await client.end()


class StrangerTests(ProxyTestCase):
    async def test_the_peer_is_believed(self) -> None:
        """Requests from a worker's guard go to the app they are for, with the client's address."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        self.proxy.strangers("other", ours)
        theirs.setblocking(False)
        theirs.send(GET.replace(b"\r\n\r\n", b"\r\nX-Ood-Peer: 192.0.2.1 99\r\n\r\n"))
        wire = await self.backend.next()
        head = await wire.until(b"\r\n\r\n")
        self.assertNotIn(b"X-Forwarded", head)
        self.assertEqual(1, head.count(b"X-Ood-Peer: 192.0.2.1 99\r\n"))
        wire.send(OK)
        while True:
            await self.settle()
            try:
                self.assertEqual(OK, theirs.recv(1000))
            except BlockingIOError:
                continue
            break

    async def test_no_word_of_the_client_s_own_is_believed(self) -> None:
        """A guard relays an upgrade byte by byte: if it is refused, nothing after it is read."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        self.proxy.strangers("other", ours)
        theirs.setblocking(False)
        upgrade = (
            b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Ood-Peer: 192.0.2.1 99\r\n\r\n"
        )
        forged = GET.replace(b"\r\n\r\n", b"\r\nX-Ood-Peer: 192.0.2.66 6\r\n\r\n")
        theirs.send(GET.replace(b"\r\n\r\n", upgrade) + forged)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        wire.send(OK)
        received = b""
        while not received.endswith(b"ok"):
            await self.settle()
            with contextlib.suppress(BlockingIOError):
                received += theirs.recv(1000)
        self.assertIn(b"\r\nConnection: close\r\n", received)
        await self.settle()
        self.assertEqual(b"", theirs.recv(1000))
        self.assertNotIn(b"192.0.2.66", wire.data)
        self.assertEqual(1, self.proxy.counters.proxied)

    async def test_not_too_many(self) -> None:
        """An app that opens more and more of them takes no descriptors away from others."""
        self.patch(limits, "STRANGERS_PER_APP_MAX", 2)
        kept = []
        for app in ("other", "other", "other", "site"):
            ours, theirs = socket.socketpair()
            self.addCleanup(theirs.close)
            theirs.setblocking(False)
            self.proxy.strangers(app, ours)
            kept.append(theirs)
        self.assertEqual(b"", kept[2].recv(1))
        for theirs in (kept[1], kept[3]):
            self.assertRaises(BlockingIOError, theirs.recv, 1)
        kept[0].close()
        await self.settle()
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        theirs.setblocking(False)
        self.proxy.strangers("other", ours)
        self.assertRaises(BlockingIOError, theirs.recv, 1)


class RouteTests(ProxyTestCase):
    async def test_pages(self) -> None:
        """404 for a Host of nobody's, 503 with the reason for an app that is stopped."""
        self.converge("site", "stopped")
        self.pool.add("stopped")
        client = await self.client()
        client.send(GET.replace(b"site.", b"nobody."))
        self.assertIn(b"no site called nobody.localhost", await client.until(b"NAME\n"))
        client.send(GET.replace(b"site.", b"stopped."))
        answer = await client.until(b"ood start stopped\n")
        self.assertIn(b"503 Service Unavailable", answer)

    async def test_ports_follow_the_document(self) -> None:
        """Each app's port is opened, moved and closed as the document says."""
        first, second = self.ports["site"], free_port()
        (await self.client(first)).close()
        self.converge(site=second)
        (await self.client(second)).close()
        with socket.socket() as sock:
            self.assertNotEqual(0, sock.connect_ex((LOOPBACK, first)))

    async def test_an_occupied_port(self) -> None:
        """A port that is taken is reported with what to do; the app still answers by name."""
        with socket.socket() as sock:
            sock.bind((LOOPBACK, 0))
            sock.listen()
            port = sock.getsockname()[1]
            self.converge(site=port)
            self.flushLoggedErrors()
        self.assertIn(f"site: app site (port): 127.0.0.1:{port} is in use", self.trouble[0])
        client = await self.client()
        await self.exchange(client, GET, OK)
        await client.until(b"ok")

    async def test_an_occupied_port_becomes_free(self) -> None:
        """A port that was taken answers soon after it is free; until then there is one report."""
        with socket.socket() as sock:
            sock.bind((LOOPBACK, free_port()))
            sock.listen()
            port = sock.getsockname()[1]
            self.converge(site=port)
            self.advance(limits.PORT_RETRY_SECONDS * 3)
            self.assertEqual(1, len(self.trouble))
            self.assertIn("is in use", self.proxy.trouble("site")[0])
        self.advance(limits.PORT_RETRY_SECONDS)
        self.assertEqual((), self.proxy.trouble("site"))
        (await self.client(port)).close()
        self.assertEqual([], self.clock.getDelayedCalls())
