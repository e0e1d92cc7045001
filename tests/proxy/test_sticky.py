from __future__ import annotations

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.interfaces import Worker
from ood.model.document import App, Document
from ood.model.rules import Route
from ood.proxy.core import cookie
from ood.proxy.core.request import parse_request
from ood.testing.workerpool import Backend
from tests.proxy.support import ProxyTestCase, Server, Wire
from tests.support.ports import free_port

HOST = b"Host: site.localhost\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SECRET = b"s" * 32
SET = re.compile(
    rb"Set-Cookie: ood-worker=([A-Za-z0-9_-]{24}); Path=/; HttpOnly; SameSite=Lax(; Secure)?\r\n"
)


class CookieTests(SynchronousTestCase):
    def sent(self, *lines: str) -> bytes:
        text = "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", "Host: a", *lines, ""))
        request = parse_request(text.encode())
        assert request is not None
        return cookie.sent(request.fields)

    def test_sent(self) -> None:
        """The cookie is found wherever it stands, and nothing else is taken for it."""
        value = "A" * 24
        for line in (
            f"Cookie: ood-worker={value}",
            f"cookie:ood-worker={value}",
            f"Cookie: a=b; ood-worker={value}; c=d",
            f"COOKIE: a=b;ood-worker={value} ",
        ):
            self.assertEqual(value.encode(), self.sent(line), line)
        for line in (
            f"Cookie: xood-worker={value}",
            f"Cookie: ood-worker={value}A",
            f"Cookie: ood-worker={value[1:]}",
            f"Cookie: ood-worker={value[1:]}!",
            f"X-Cookie: ood-worker={value}",
            "Cookie: ood-worker=",
        ):
            self.assertEqual(b"", self.sent(line), line)

    @given(st.text(alphabet="ood-workerA=; ,\t", max_size=200))
    def test_anything(self, text: str) -> None:
        """What is found is always of the right form."""
        self.assertIn(len(self.sent(f"Cookie: {text}")), (0, 24))

    def test_find(self) -> None:
        """A cookie leads to its worker, then to the successor, never to another app's."""
        old, new, other = Worker("site", 0), Worker("site", 0), Worker("site", 1)
        value = cookie.value(SECRET, old)
        old.accepting = False
        self.assertIs(old, cookie.find(SECRET, [new, other, old], value))
        self.assertIs(new, cookie.find(SECRET, [other, new], value))
        self.assertIsNone(cookie.find(SECRET, [other], value))
        self.assertIsNone(cookie.find(SECRET, [Worker("blog", 0)], value))
        self.assertIsNone(cookie.find(b"t" * 32, [old, new], value))

    def test_nothing_is_told(self) -> None:
        """Two workers' values have nothing in common."""
        first, second = (cookie.value(SECRET, Worker("site", number)) for number in (0, 1))
        self.assertNotEqual(first[:12], second[:12])
        self.assertNotEqual(first[12:], second[12:])


class StickyTestCase(ProxyTestCase):
    sticky = "cookie"

    def setUp(self) -> None:
        super().setUp()
        self.second = Server()
        self.app.backends.append(Backend(Worker("site", 1), self.listen(self.second)))
        site = App(cwd="/", port=self.ports["site"], sticky=self.sticky)
        self.proxy.converge(Document(apps={"site": site}))

    async def ask(self, server: Server, client: Wire, request: bytes = GET) -> bytes:
        """Send a request that goes to ``server`` on a new connection; return its answer's head."""
        client.send(request)
        wire = await server.next()
        await wire.until(b"\r\n\r\n")
        wire.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        head = await client.until(b"\r\n\r\n")
        await client.take(2)
        return head

    def server(self, worker: int) -> Server:
        return (self.backend, self.second)[worker]

    def with_cookie(self, value: bytes) -> bytes:
        return b"GET / HTTP/1.1\r\n" + HOST + b"Cookie: ood-worker=" + value + b"\r\n\r\n"


class ByCookieTests(StickyTestCase):
    async def first(self, client: Wire) -> tuple[int, bytes]:
        """Ask without a cookie; return which worker answered, and the cookie."""
        client.send(GET)
        await self.eventually(lambda: bool(self.backend.wires or self.second.wires))
        number = 0 if self.backend.wires else 1
        wire = await self.server(number).next()
        wire.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        match = SET.search(await client.until(b"\r\n\r\nok"))
        assert match is not None
        self.assertIsNone(match[2])
        return number, match[1]

    async def test_a_session(self) -> None:
        """The first answer sets a cookie; with it every request goes to the same worker."""
        client = await self.client()
        number, value = await self.first(client)
        for _ in range(4):
            head = await self.ask(self.server(number), client, self.with_cookie(value))
            self.assertNotIn(b"Set-Cookie", head)

    async def test_kept_connections(self) -> None:
        """It does so on kept connections, too, whichever worker has one."""
        client = await self.client()
        number, value = await self.first(client)
        client.send(self.with_cookie(value))
        wire = await self.server(number).next()
        await wire.until(b"\r\n\r\n")
        wire.send(OK)
        await client.until(b"\r\n\r\nok")
        client.send(self.with_cookie(value))
        await wire.until(b"\r\n\r\n")
        wire.send(OK)
        await client.until(b"\r\n\r\nok")

    async def test_a_worker_that_drains(self) -> None:
        """A draining worker keeps its clients, and gets no new ones; then its successor does."""
        client = await self.client()
        number, value = await self.first(client)
        old = self.app.backends[number]
        old.worker.accepting = False
        await self.ask(self.server(number), client, self.with_cookie(value))
        other, _ = await self.first(await self.client())
        self.assertEqual(1 - number, other)
        successor = Server()
        new = Backend(Worker("site", number), self.listen(successor))
        self.app.backends[number] = new
        head = await self.ask(successor, client, self.with_cookie(value))
        match = SET.search(head)
        assert match is not None
        self.assertNotEqual(value, match[1])
        self.assertEqual(value[:12], match[1][:12])

    async def test_a_worker_that_is_gone(self) -> None:
        """Without a successor another worker takes over, and says so."""
        client = await self.client()
        number, value = await self.first(client)
        del self.app.backends[number]
        head = await self.ask(self.server(1 - number), client, self.with_cookie(value))
        self.assertIsNotNone(SET.search(head))

    async def test_nonsense(self) -> None:
        """A cookie that was not given here is replaced."""
        client = await self.client()
        client.send(self.with_cookie(b"x" * 24))
        await self.eventually(lambda: bool(self.backend.wires or self.second.wires))
        wire = (self.backend.wires + self.second.wires)[0]
        wire.send(OK)
        self.assertIsNotNone(SET.search(await client.until(b"\r\n\r\nok")))

    async def test_below_a_route(self) -> None:
        """Two apps below one host each have their cookie: none is lost to the other."""
        below = Server()
        self.pool.add("below", self.listen(below))
        app = App(cwd="/", port=self.ports["site"], sticky="cookie", default=True)
        routes = {"/below": Route("below")}
        apps = {
            "site": msgspec.structs.replace(app, routes=routes),
            "below": App(cwd="/", port=free_port(), sticky="cookie"),
        }
        self.proxy.converge(Document(apps=apps))
        client = await self.client()
        number, value = await self.first(client)
        head = await self.ask(below, client, self.with_cookie(value).replace(b" / ", b" /below "))
        match = re.search(rb"Set-Cookie: (ood-worker-[A-Za-z0-9_-]{12}=[A-Za-z0-9_-]{24});", head)
        assert match is not None, head
        both = GET[:-2] + b"Cookie: %b; ood-worker=%b\r\n\r\n" % (match[1], value)
        for path, server in ((b" / ", self.server(number)), (b" /below ", below)):
            head = await self.ask(server, client, both.replace(b" / ", path))
            self.assertNotIn(b"Set-Cookie", head)

    async def test_not_handed_off(self) -> None:
        """Connections of such an app stay with the proxy, which sees each request."""
        self.app.sockets = lambda sock, refused: self.fail("handed off")
        await self.first(await self.client())


class ByAddressTests(StickyTestCase):
    sticky = "ip"

    async def test_requests(self) -> None:
        """A client's requests go to one worker, whatever the load; no cookie is set."""
        client = await self.client()
        client.send(GET)
        await self.eventually(lambda: bool(self.backend.wires or self.second.wires))
        server = self.backend if self.backend.wires else self.second
        wire = await server.next()
        await wire.until(b"\r\n\r\n")
        for _ in range(4):
            another = await self.client()
            self.assertNotIn(b"Set-Cookie", await self.ask(server, another))

    async def test_hand_off(self) -> None:
        """A whole connection goes by the same key."""
        taken = []

        def take(sock: object, refused: object) -> bool:
            taken.append(sock)
            return True

        self.app.sockets = take
        (await self.client()).send(GET)
        await self.eventually(lambda: bool(taken))
        self.assertEqual([b"\x7f\0\0\1"], self.pool.keys)
        taken[0].close()  # type: ignore[attr-defined]
