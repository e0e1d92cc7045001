from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from ood.errors import InvalidError
from ood.model.document import App, Document
from ood.model.rules import Redirect
from ood.model.schema import check_app
from ood.proxy.core.request import Request, parse_request
from ood.proxy.core.response import Response, parse_response
from ood.proxy.core.secure import hsts_change, https_location, is_local, validation_token
from ood.testing.certificates import make_certificate
from tests.proxy.test_dispatch import Workers
from tests.proxy.tls.support import HttpsTestCase, request

TRUSTED = make_certificate("site.org", "*.site.net")
object.__setattr__(TRUSTED, "source", "acme")


def parsed(data: bytes) -> Request:
    head = parse_request(data)
    assert head is not None
    return head


def answer(fields: bytes) -> Response:
    head = parse_response(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n", to_head=True)
    assert head is not None
    return head


class PureTests(SynchronousTestCase):
    def test_where_to(self) -> None:
        """The same path; a port only where the client's own shows that it is needed."""
        for host, http, https, expected in (
            ("a.org", 80, 443, "https://a.org/x?y"),
            ("A.org:80", 80, 443, "https://a.org/x?y"),
            ("a.org", 80, 8443, "https://a.org:8443/x?y"),
            ("a.org", 8080, 8443, "https://a.org/x?y"),
            ("a.org:8080", 8080, 8443, "https://a.org:8443/x?y"),
            ("a.org.", 80, 443, "https://a.org/x?y"),
        ):
            where = https_location(parsed(request("/x?y", host=host)), http, https)
            self.assertEqual(expected.encode(), where)
        everything = parsed(b"OPTIONS * HTTP/1.1\r\nHost: a.org\r\n\r\n")
        self.assertEqual(b"https://a.org/", https_location(everything, 80, 443))

    def test_local(self) -> None:
        for host in ("localhost", "a.localhost", "127.0.0.1", "[::1]"):
            self.assertTrue(is_local(host), host)
        for host in ("a.org", "localhost.org", "1a.org", "notlocalhost"):
            self.assertFalse(is_local(host), host)

    def test_tokens(self) -> None:
        self.assertEqual("aZ_-9", validation_token(b"/.well-known/acme-challenge/aZ_-9"))
        for odd in (b"/x", b"/.well-known/acme-challenge/", b"/.well-known/acme-challenge/../x"):
            self.assertIsNone(validation_token(odd))

    def test_hsts(self) -> None:
        """The field is added once; the app's own word counts."""
        changed, _ = hsts_change(9).change(answer(b"A: b\r\n"))
        self.assertEqual(b"A: b\r\nStrict-Transport-Security: max-age=9\r\n", changed.fields)
        own = b"A: b\r\nstrict-transport-security: max-age=1\r\n"
        changed, _ = hsts_change(9).change(answer(own))
        self.assertEqual(own, changed.fields)

    def test_keys(self) -> None:
        def hsts(value: object) -> int:
            return check_app("a", {"cwd": "/", "port": 3001, "hsts": value}).hsts

        found = [hsts(value) for value in (True, "on", "off", 600, "600", "365d")]
        self.assertEqual([63_072_000, 63_072_000, 0, 600, 600, 31_536_000], found)
        for wrong in ("5x", -1, "forever", None):
            self.assertRaises(InvalidError, hsts, wrong)
        for key, value in (("https", "always"), ("tls", "maybe")):
            with self.assertRaises(InvalidError):
                check_app("a", {"cwd": "/", "port": 3001, key: value})


class RedirectTests(HttpsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.workers = Workers()
        self.app.sockets = self.workers
        self.addCleanup(lambda: [sock.close() for sock, _ in self.workers.taken])
        self.certificates.put(TRUSTED)

    def configure(self, **keys: object) -> None:
        domains = ("site.org", "*.site.net", "other.org", "plain.org")
        app = App(cwd="/", port=self.ports["site"], domains=domains)
        app = msgspec.structs.replace(app, **keys)
        self.proxy.converge(Document(apps={"site": app}))

    async def plain(self, host: str, path: str = "/p?q", port: int | None = None) -> bytes:
        """Return the answer to a request over plain HTTP, or that a worker got it."""
        client = await self.client(port)
        client.send(request(path, host=host, keep=True))
        await self.eventually(lambda: bool(client.data) or bool(self.workers.taken))
        if self.workers.taken:
            self.workers.taken.pop()[0].close()
            return b"handed off"
        await self.settle()
        return bytes(client.data)

    async def test_where_there_is_a_certificate(self) -> None:
        """Hosts with a certificate that browsers trust are sent to HTTPS, others are served."""
        self.configure()
        here = b"Location: https://site.org/p?q\r\n"
        found = await self.plain("site.org")
        self.assertIn(b"308 Permanent Redirect", found)
        self.assertIn(here, found)
        self.assertIn(b"https://a.site.net/p?q", await self.plain("a.site.net"))
        for host in ("plain.org", "other.org", "site.localhost", "127.0.0.1"):
            self.assertIn(b"200 OK", await self.plain(host), host)
        self.assertEqual(b"handed off", await self.plain("site.org", port=self.ports["site"]))

    async def test_as_soon_as_there_is_one(self) -> None:
        """Without one the app gets connections whole; that ends when it has one."""
        self.certificates.remove("site.org")
        self.certificates.remove("*.site.net")
        self.configure()
        self.assertEqual(b"handed off", await self.plain("site.org"))
        self.certificates.put(TRUSTED)
        self.assertIn(b"308", await self.plain("site.org"))

    async def test_off_and_only(self) -> None:
        self.configure(https="off")
        self.assertEqual(b"handed off", await self.plain("site.org"))
        self.configure(https="only")
        self.assertIn(b"308", await self.plain("plain.org"))
        self.assertIn(b"200 OK", await self.plain("site.localhost"))

    async def test_validations_come_first(self) -> None:
        """A token is told over plain HTTP before anything else; without one the app is asked."""
        path = "/.well-known/acme-challenge/tok"
        self.certificates.tokens["site.org", "tok"] = b"tok.key"
        self.configure(https="only")
        found = await self.plain("site.org", path)
        self.assertTrue(found.endswith(b"\r\n\r\ntok.key"), found)
        self.assertIn(b"application/octet-stream", found)
        self.assertIn(b"308", await self.plain("plain.org", path))
        self.configure(https="off")
        self.assertIn(b"200 OK", await self.plain("plain.org", path))

    async def test_validations_over_https(self) -> None:
        """A server that has port 80 in our place may have sent the CA here."""
        path = "/.well-known/acme-challenge/tok"
        self.certificates.tokens["site.org", "tok"] = b"tok.key"
        self.configure()
        found = await self.ask(request(path, host="site.org"))
        self.assertTrue(found.endswith(b"\r\n\r\ntok.key"), found)
        self.assertNotIn(b"tok.key", await self.ask(request(f"{path}en", host="site.org")))

    async def test_hsts(self) -> None:
        """Browsers are told over HTTPS, and only there."""
        self.configure(hsts=600)
        found = await self.ask(request("/s"))
        self.assertIn(b"\r\nStrict-Transport-Security: max-age=600\r\n", found)
        self.assertNotIn(b"Strict", await self.plain("site.localhost", "/"))

    async def test_hsts_on_pages(self) -> None:
        """So they are by what ood answers itself: a browser may see nothing else of a host."""
        redirects = {"www.site.org": Redirect("site.org", 308), "/old": Redirect("/new")}
        line = b"\r\nStrict-Transport-Security: max-age=600\r\n"
        self.configure(hsts=600, redirects=redirects)
        for target, host, status in (("/x", "www.site.org", b" 308 "),
                                     ("/old", "site.localhost", b" 302 ")):  # fmt: skip
            found = await self.ask(request(target, host=host))
            self.assertIn(status, found)
            self.assertEqual(1, found.count(line), found)
        self.assertNotIn(b"Strict", await self.plain("site.localhost", "/old"))
        own = {"strict-transport-security": "max-age=1"}
        self.configure(hsts=600, redirects=redirects, headers=own)
        found = await self.ask(request("/old"))
        self.assertEqual((0, 1), (found.count(line), found.count(b"max-age=1\r\n")))
