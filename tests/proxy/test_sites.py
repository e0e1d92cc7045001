"""Rules at work in the proxy: what waits, what is bounded, what is read from files."""

from __future__ import annotations

import os
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import Any
from unittest import SkipTest

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from ood.model import passwords
from ood.model.document import App, Document, Settings
from ood.model.passwords import make_hash
from ood.model.rules import Maintenance, Route
from ood.proxy import errorpages, limits
from ood.proxy.errorpages import read_pages
from tests.proxy.support import ProxyTestCase, Wire
from tests.proxy.test_brief import Lines
from tests.support.ports import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: site.localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: site.localhost\r\nContent-Length: 4\r\n\r\nbody"


class SitesTestCase(ProxyTestCase):
    def rules(self, settings: Settings | None = None, **keys: Any) -> None:
        """Have the app ``site`` be so."""
        app = App(cwd="/", port=self.ports["site"], **keys)
        self.proxy.converge(Document(apps={"site": app}, settings=settings or Settings()))

    async def answered(self, client: Wire, request: bytes = GET) -> bytes:
        """Send a request, answer it as the app on a new connection, return what it saw."""
        wire, head = await self.exchange(
            client, request, OK.replace(b"Con", b"Connection: close\r\nCon", 1)
        )
        await client.until(b"ok")
        wire.close()
        return head


class HoldTests(SitesTestCase):
    hold = Maintenance(hold=20_000)

    async def test_held(self) -> None:
        """A request waits with its body, and the connection goes on after it."""
        self.rules(maintenance=self.hold)
        client = await self.client()
        client.send(POST)
        await self.settle()
        self.assertEqual(b"", client.data)
        self.rules()
        wire = await self.backend.next()
        self.assertTrue((await wire.until(b"body")).startswith(b"POST / "))
        wire.send(OK)
        await client.until(b"ok")
        client.send(GET)
        await wire.until(b"\r\n\r\n")

    async def test_too_long(self) -> None:
        """After its time a request is answered, and nothing of it is left."""
        self.rules(maintenance=self.hold)
        client = await self.client()
        client.send(GET)
        await self.settle()
        self.advance(19)
        await self.settle()
        self.assertEqual(b"", client.data)
        self.advance(2)
        self.assertIn(b"503 Service Unavailable", await client.until(b"soon."))
        self.rules()
        await self.answered(client)
        self.assertEqual(1, self.backend.count)

    async def test_gone(self) -> None:
        """Who goes away while waiting is forgotten."""
        self.rules(maintenance=self.hold)
        client = await self.client()
        client.send(GET)
        sites = self.proxy._sites
        await self.eventually(lambda: bool(sites._holding))
        client.abort()
        await self.eventually(lambda: not sites._holding)
        self.rules()
        await self.settle()
        self.assertEqual(0, self.backend.count)

    async def test_bounded(self) -> None:
        """So many wait; the next one is answered at once."""
        self.patch(limits, "HELD_PER_APP_MAX", 1)
        self.rules(maintenance=self.hold)
        first, second = await self.client(), await self.client()
        first.send(GET)
        await self.settle()
        second.send(GET)
        self.assertIn(b" 503 ", await second.until(b"soon."))
        self.rules()
        await self.backend.next()

    async def test_again_in_maintenance(self) -> None:
        """What has waited once does not wait again."""
        self.rules(maintenance=self.hold)
        client = await self.client()
        client.send(GET)
        await self.settle()
        sites = self.proxy._sites
        (waiting,) = sites._holding["site"]
        waiting.callback(None)
        self.assertIn(b" 503 ", await client.until(b"soon."))

    async def test_the_service_stops(self) -> None:
        """Who waits is answered, and the service is gone in time."""
        self.rules(maintenance=self.hold)
        client = await self.client()
        client.send(GET)
        await self.settle()
        await self.stop()
        self.assertIn(b" 503 ", await client.end())


class RequestHeaderTests(SitesTestCase):
    async def test_compression(self) -> None:
        """Who compresses asks the client's own Accept-Encoding, whatever the app gets for it."""
        body = b"x" * 4000
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4000\r\n\r\n"
        for sent, accepted, coded in (("", b"gzip", True), ("gzip", b"identity", False)):
            self.rules(compress=True, request_headers={"Accept-Encoding": sent})
            client = await self.client()
            own = b"Accept-Encoding: %b\r\n\r\n" % accepted
            wire, head = await self.exchange(client, GET[:-2] + own, answer + body)
            self.assertEqual(bool(sent), b"Accept-Encoding: gzip" in head)
            shown = await client.until(b"\r\n\r\n")
            self.assertEqual(coded, b"Content-Encoding: gzip" in shown, shown)
            client.close()
            wire.close()
            await self.settle()

    async def test_the_log(self) -> None:
        """The log has what the client said of itself, not what the app is told."""
        changes = {"User-Agent": "ood", "Referer": "", "X-Request-Id": "7"}
        self.rules(request_headers=changes)
        log = Lines()
        self.proxy._context.traffic.of("site").configure("combined", log)
        head = await self.answered(
            await self.client(), GET[:-2] + b"User-Agent: curl\r\nReferer: http://r/\r\n\r\n"
        )
        self.assertIn(b"User-Agent: ood\r\n", head)
        seen = [(one.agent, one.referer, one.request_id) for one in log.records]
        self.assertEqual([("curl", "http://r/", "7")], seen)


class PasswordTests(SitesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(passwords, "COST_LOG2", 10)
        self.checks: list[Deferred[bool]] = []
        self.held = False
        self.calls = 0
        self.proxy._sites._in_thread = self.in_thread
        self.rules(basic_auth={"ann": make_hash(b"secret", b"0123456789abcdef")})

    def in_thread(self, function: Any) -> Deferred[bool]:
        self.calls += 1
        done: Deferred[bool] = Deferred()
        done.addCallback(lambda _: function())
        if self.held:
            self.checks.append(done)
        else:
            done.callback(True)
        return done

    def request(self, text: str) -> bytes:
        field = b"Authorization: Basic %b\r\n\r\n" % b64encode(text.encode())
        return GET[:-2] + field

    async def test_once(self) -> None:
        """One check for any number of requests; the app sees no password."""
        client = await self.client()
        client.send(GET)
        self.assertIn(b" 401 ", await client.until(b"here.\n"))
        log = Lines()
        self.proxy._context.traffic.of("site").configure("combined", log)
        head = await self.answered(client, self.request("ann:secret"))
        self.assertNotIn(b"uthorization", head)
        self.assertEqual(["ann"], [one.user for one in log.records])
        await self.answered(await self.client(), self.request("ann:secret"))
        self.assertEqual(1, self.calls)

    async def test_two_doors(self) -> None:
        """Where a route leads to an app with passwords of its own, both are checked."""
        users = {"ann": make_hash(b"secret", b"0123456789abcdef")}
        door = App(cwd="/", port=self.ports["site"], basic_auth=users)
        for salt, answer in ((b"fedcba9876543210", b" 200 "), (b"0000000000000000", b" 401 ")):
            password = b"secret" if answer == b" 200 " else b"other"
            own = {"ann": make_hash(password, salt)}
            routed = msgspec.structs.replace(door, routes={"/": Route("below")}, default=True)
            below = App(cwd="/", port=free_port(), basic_auth=own)
            self.pool.add("below", self.listen(self.backend))
            self.proxy.converge(Document(apps={"site": routed, "below": below}))
            client = await self.client()
            if answer == b" 401 ":
                client.send(self.request("ann:secret"))
                self.assertIn(answer, await client.until(b"here.\n"))
            else:
                await self.answered(client, self.request("ann:secret"))
        self.assertEqual(3, self.calls)

    async def test_at_the_same_time(self) -> None:
        """Six connections of one browser cost one check."""
        self.held = True
        clients = [await self.client() for _ in range(6)]
        for client in clients:
            client.send(self.request("ann:wrong"))
        await self.eventually(lambda: len(self.checks) == limits.PASSWORD_THREADS)
        await self.settle()
        for check in self.checks:
            check.callback(True)
        for client in clients:
            self.assertIn(b" 401 ", await client.until(b"here.\n"))
        self.assertEqual(limits.PASSWORD_THREADS, self.calls)

    async def test_bounded_per_client(self) -> None:
        """One client that guesses can't keep the others out."""
        self.patch(limits, "PASSWORDS_PER_CLIENT_MAX", 1)
        self.held = True
        first, second = await self.client(), await self.client()
        first.send(self.request("ann:1"))
        await self.eventually(lambda: bool(self.checks))
        second.send(self.request("ann:2"))
        self.assertIn(b" 503 ", await second.until(b"at once.\n"))
        self.checks[0].callback(True)
        self.assertIn(b" 401 ", await first.until(b"here.\n"))

    async def test_a_check_that_fails(self) -> None:
        """A check that could not be made lets nobody in, and does not go on for ever."""
        self.proxy._sites._in_thread = self.broken
        client = await self.client()
        client.send(self.request("ann:secret"))
        self.assertIn(b" 503 ", await client.until(b"at once.\n"))
        self.assertEqual(1, self.calls)
        self.assertEqual(1, len(self.flushLoggedErrors(MemoryError)))

    def broken(self, _: Any) -> Deferred[bool]:
        self.calls += 1
        raise MemoryError


class HandOffTests(SitesTestCase):
    async def test_a_rule(self) -> None:
        """An app that takes sockets gets none while a rule must see its requests."""
        handed: list[Any] = []
        self.app.sockets = lambda sock, _: not handed.append(sock)
        self.rules(headers={"A": "b"})
        await self.answered(await self.client())
        self.assertEqual([], handed)
        self.rules()
        client = await self.client()
        client.send(GET)
        await self.eventually(lambda: bool(handed))
        handed[0].close()

    async def test_the_own_port(self) -> None:
        """The same on the app's own port, where it may speak TLS itself, too."""
        self.rules(deny=("127.0.0.0/8",))
        handed: list[Any] = []
        self.app.sockets = lambda sock, _: not handed.append(sock)
        client = await self.client(self.ports["site"])
        client.send(GET)
        self.assertIn(b" 403 ", await client.until(b"here.\n"))
        client = await self.client(self.ports["site"])
        client.send(b"\x16\x03\x01\x00\x05hello")
        self.assertEqual(b"", await client.end())
        self.assertEqual([], handed)


class GreetingTests(SitesTestCase):
    LINE = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n"

    def greet(self, **keys: Any) -> None:
        self.rules(Settings(proxy_protocol=("127.0.0.0/8",)), **keys)

    async def test_the_address(self) -> None:
        """The app, and the rules, get the address that the balancer tells."""
        self.greet(deny=("127.0.0.0/8",))
        head = await self.answered(await self.client(), self.LINE + GET)
        self.assertIn(b"X-Ood-Peer: 203.0.113.7 4711\r\n", head)

    async def test_in_two_parts(self) -> None:
        """The header first, the request a while after."""
        self.greet()
        client = await self.client()
        client.send(self.LINE[:20])
        await self.settle()
        client.send(self.LINE[20:])
        await self.settle()
        self.assertIn(b"203.0.113.7", await self.answered(client))

    async def test_late(self) -> None:
        """A balancer that tells nothing in time is cut off."""
        self.greet()
        client = await self.client()
        client.send(self.LINE[:20])
        await self.settle()
        self.advance(11)
        self.assertEqual(b"", await client.end())

    async def test_none(self) -> None:
        self.greet()
        client = await self.client()
        client.send(GET)
        self.assertEqual(b"", await client.end())

    async def test_the_own_port(self) -> None:
        """A program on this machine that asks the app itself sends none."""
        self.greet()
        client = await self.client(self.ports["site"])
        self.assertIn(b"X-Ood-Peer: 127.0.0.1", await self.answered(client))


class CommonPageTests(SitesTestCase):
    async def test_an_unknown_host(self) -> None:
        """What no app answers for has a page, too; an app's own page wins over the common one."""
        directory = Path(tempfile.mkdtemp())
        (directory / "404.html").write_text("<h1>nobody</h1>")
        (directory / "403.html").write_text("<h1>common</h1>")
        (directory / "own.html").write_text("<h1>own</h1>")
        common = {name: str(directory / f"{name}.html") for name in ("404", "403")}
        settings = Settings(error_pages=common)
        app = App(cwd=str(directory), port=self.ports["site"], deny=("127.0.0.0/8",))
        other = App(cwd="/", port=1)
        self.proxy._sites._in_thread = maybeDeferred
        self.proxy.converge(Document(apps={"site": app, "other": other}, settings=settings))
        client = await self.client()
        client.send(GET.replace(b"site.", b"no."))
        self.assertIn(b" 404 ", await client.until(b"<h1>nobody</h1>"))
        client.send(GET)
        self.assertIn(b" 403 ", await client.until(b"<h1>common</h1>"))
        app = msgspec.structs.replace(app, error_pages={"403": "own.html"})
        self.proxy.converge(Document(apps={"site": app, "other": other}, settings=settings))
        client.send(GET)
        self.assertIn(b" 403 ", await client.until(b"<h1>own</h1>"))


class ErrorPageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())

    def write(self, name: str, text: str = "<h1>", mode: int = 0o644) -> None:
        (self.directory / name).write_text(text)
        (self.directory / name).chmod(mode)

    def test_read(self) -> None:
        """Each by its name, relative or not."""
        self.write("a.html")
        paths = {"502": "a.html", "503": str(self.directory / "a.html")}
        self.assertEqual(
            ({"502": b"<h1>", "503": b"<h1>"}, []), read_pages(str(self.directory), paths)
        )

    def test_led_astray(self) -> None:
        """A link, whose owner may be the app's user, publishes nothing of a private directory."""
        if os.geteuid() != 0:
            raise SkipTest("only root gets into the directories of others")
        vault = self.directory / "vault"
        vault.mkdir(mode=0o700)
        self.write("vault/key.html", "secret")
        (self.directory / "404.html").symlink_to(vault / "key.html")
        pages, troubles = read_pages(str(self.directory), {"404": "404.html"})
        self.assertEqual({}, pages)
        self.assertIn("a link leads it", troubles[0])

    def test_trouble(self) -> None:
        """What can't be used is told with its reason, and keeps nothing else from being used."""
        self.patch(errorpages, "PAGE_BYTES_MAX", 1024)
        self.write("a.html")
        self.write("private.html", mode=0o600)
        self.write("long.html", "x" * 1025)
        os.mkfifo(self.directory / "pipe", 0o644)
        paths = {"400": "a.html", "401": "private.html", "403": "long.html", "404": "pipe",
                 "413": "none.html", "429": "."}  # fmt: skip
        pages, troubles = read_pages(str(self.directory), paths)
        self.assertEqual({"400": b"<h1>"}, pages)
        expected = ("errorPages.401", "longer than", "not a file", "No such file", "directory")
        for trouble, words in zip(troubles, expected, strict=True):
            self.assertIn(words, trouble)
