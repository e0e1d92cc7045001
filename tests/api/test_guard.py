"""Nobody gets in who should not, and every refusal has the same form."""

from __future__ import annotations

from treq.testing import StubTreq
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.web.resource import Resource

from ood.api.guard import Mount
from ood.api.limits import BODY_BYTES_MAX, BODY_DISCARDED_BYTES_MAX
from ood.api.operations import OPERATIONS
from ood.api.site import Api, make_site
from tests.api.support import TOKEN, ApiCase

SETTINGS = "/api/v1/settings"


class TokenTests(ApiCase):
    """The token is asked for."""

    def test_every_route(self) -> None:
        """No route but the public ones answers without the token, known or not."""
        paths = {operation.path for operation in OPERATIONS if not operation.public}
        for path in (*paths, "/", "/nothing", "/api/v1", "/api/v1/health/"):
            answer = self.ask("GET", path, headers={"Authorization": None})
            self.assertEqual((answer.status, answer.error["code"]), (401, "unauthorized"), path)
            self.assertIn("Bearer", answer.header("www-authenticate") or "")
            self.assertIn("api-token", answer.error["hint"])

    def test_wrong(self) -> None:
        """What is not the token is refused, however it differs."""
        for given in ("Bearer wrong", "Bearer", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "é"):
            answer = self.ask("GET", SETTINGS, headers={"Authorization": given})
            self.assertEqual(answer.status, 401, given)

    def test_right(self) -> None:
        """The scheme's spelling does not matter."""
        answer = self.ask("GET", SETTINGS, headers={"Authorization": f"bearer {TOKEN}"})
        self.assertEqual(answer.status, 200)

    def test_not_utf_8(self) -> None:
        """Any local user can send such a header: it is refused, and not logged as a fault."""
        for name in ("Authorization", "Host", "Origin", "Content-Type", "X-Other"):
            answer = self.ask("GET", SETTINGS, headers={name: b"Bearer \xff"})
            self.assertEqual((answer.status, answer.error["code"]), (400, "bad_request"), name)


class HostTests(ApiCase):
    """Pages of other sites get nothing."""

    def test_own_names(self) -> None:
        """The loopback's names with the API's port are right."""
        for host in ("127.0.0.1:2016", "localhost:2016", "LOCALHOST:2016", "[::1]:2016"):
            self.assertEqual(self.ask("GET", SETTINGS, headers={"Host": host}).status, 200, host)

    def test_foreign(self) -> None:
        """A name that was bound to 127.0.0.1 is refused, for public paths too."""
        for host in ("evil.example:2016", "127.0.0.1", "localhost:80", "", "127.0.0.1:2016.evil"):
            for path in (SETTINGS, "/openapi.json"):
                answer = self.ask("GET", path, headers={"Host": host})
                self.assertEqual((answer.status, answer.error["code"]), (403, "forbidden"), host)

    def test_origin(self) -> None:
        """Only the API's own page may be where a request comes from."""
        for origin, status in (
            ("http://127.0.0.1:2016", 200),
            ("http://localhost:2016", 200),
            ("https://127.0.0.1:2016", 403),
            ("http://127.0.0.1:3000", 403),
            ("http://evil.example", 403),
            ("null", 403),
        ):
            answer = self.ask("GET", SETTINGS, headers={"Origin": origin})
            self.assertEqual(answer.status, status, origin)
            self.assertIsNone(answer.header("access-control-allow-origin"))

    def test_headers(self) -> None:
        """No answer is stored or guessed at, whether it is a refusal or not."""
        for path in (SETTINGS, "/nothing", "/openapi.json"):
            answer = self.ask("GET", path)
            self.assertEqual(answer.header("cache-control"), "no-store")
            self.assertEqual(answer.header("x-content-type-options"), "nosniff")
            self.assertEqual(answer.header("server"), "ood")
            self.assertEqual(answer.header("content-type"), "application/json")


class RefusalTests(ApiCase):
    """Bad requests are refused in the one form."""

    def test_no_route(self) -> None:
        """There is nothing here."""
        for path in ("/", "/api", "/api/v2/apps", "/api/v1/apps/a/b", "/api/v1/"):
            answer = self.ask("GET", path)
            self.assertEqual((answer.status, answer.error["code"]), (404, "no_route"), path)

    def test_method(self) -> None:
        """A method that a path does not take is answered with those that it takes."""
        answer = self.ask("PUT", "/api/v1/apps/shop.example")
        self.assertEqual((answer.status, answer.error["code"]), (405, "method_not_allowed"))
        self.assertEqual(answer.header("allow"), "DELETE, GET, HEAD, PATCH")
        self.assertEqual(self.ask("OPTIONS", SETTINGS).status, 405)

    def test_path_not_utf8(self) -> None:
        """A path that is no text is a bad request."""
        for path in ("/api/v1/apps/%ff", "/%ff"):
            answer = self.ask("GET", path)
            self.assertEqual((answer.status, answer.error["code"]), (400, "bad_request"))

    def test_media_type(self) -> None:
        """A body that does not claim to be JSON is refused: forms of foreign pages are such."""
        for kind in (
            None,
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ):
            headers = {"Content-Type": kind}
            answer = self.ask("PATCH", SETTINGS, data=b'{"httpPort": 1}', headers=headers)
            self.assertEqual(answer.status, 415, kind)
        headers = {"Content-Type": "Application/JSON; charset=utf-8"}
        self.assertEqual(self.ask("PATCH", SETTINGS, data=b"{}", headers=headers).status, 200)

    def test_not_json(self) -> None:
        """A body that is no JSON object is refused."""
        headers = {"Content-Type": "application/json"}
        deep = b"[" * 200_000
        for body in (b"", b"{", b"[]", b"1", b"null", b"\xff", b'{"a": \xc3\x28}', b"NaN", deep):
            answer = self.ask("PATCH", SETTINGS, data=body, headers=headers)
            self.assertEqual((answer.status, answer.error["code"]), (400, "bad_request"), body[:9])


class RawTests(ApiCase):
    """What no well-behaved client sends."""

    def converse(self, *pieces: bytes) -> tuple[bytes, StringTransportWithDisconnection]:
        """Return what the site answers to bytes."""
        site = make_site(self.controller, TOKEN, reactor=Clock())
        address = IPv4Address("TCP", "127.0.0.1", 2016)
        protocol = site.buildProtocol(address)
        transport = StringTransportWithDisconnection(hostAddress=address)
        transport.protocol = protocol
        transport.abortConnection = transport.loseConnection
        protocol.makeConnection(transport)
        for piece in pieces:
            if transport.connected:
                protocol.dataReceived(piece)
        return transport.value(), transport

    def head(self, *lines: str) -> bytes:
        fixed = ["PATCH /api/v1/settings HTTP/1.1", "Host: 127.0.0.1:2016"]
        fixed += [f"Authorization: Bearer {TOKEN}", "Content-Type: application/json", *lines]
        return "\r\n".join(fixed).encode() + b"\r\n\r\n"

    def test_body_at_limit(self) -> None:
        """A body just as long as allowed is read."""
        body = b"{" + b" " * (BODY_BYTES_MAX - 2) + b"}"
        answer, _ = self.converse(self.head(f"Content-Length: {len(body)}"), body)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer[:200])

    def test_body_too_long(self) -> None:
        """A body that is longer gets 413, and none of it is kept."""
        body = b"{" + b" " * BODY_BYTES_MAX + b"}"
        answer, _ = self.converse(self.head(f"Content-Length: {len(body)}"), body)
        self.assertTrue(answer.startswith(b"HTTP/1.1 413"), answer[:200])
        self.assertIn(b'"code":"too_large"', answer)

    def test_chunked_body_too_long(self) -> None:
        """So does one that does not say how long it is."""
        chunk = b"%x\r\n" % 65536 + b" " * 65536 + b"\r\n"
        pieces = [chunk] * (BODY_BYTES_MAX // 65536 + 1) + [b"0\r\n\r\n"]
        answer, _ = self.converse(self.head("Transfer-Encoding: chunked"), *pieces)
        self.assertTrue(answer.startswith(b"HTTP/1.1 413"), answer[:200])

    def test_endless_body(self) -> None:
        """A body that does not end is cut off."""
        chunk = b"%x\r\n" % (1 << 20) + b" " * (1 << 20) + b"\r\n"
        pieces = [chunk] * (BODY_DISCARDED_BYTES_MAX // (1 << 20) + 2)
        _, transport = self.converse(self.head("Transfer-Encoding: chunked"), *pieces)
        self.assertFalse(transport.connected)

    def test_two_hosts(self) -> None:
        """Two Host headers are refused: which one is right nobody knows."""
        answer, _ = self.converse(self.head("Host: evil.example", "Content-Length: 0"))
        self.assertIn(answer[:12], (b"HTTP/1.1 403", b"HTTP/1.1 400"))

    def test_broken_form(self) -> None:
        """A broken form is refused like any other body that is no JSON."""
        head = self.head("Content-Length: 5").replace(b"application/json", b"multipart/form-data")
        head = head.replace(b"PATCH /api/v1/settings", b"POST /api/v1/apps")
        answer, _ = self.converse(head, b"hello")
        self.assertTrue(answer.startswith(b"HTTP/1.1 415"), answer[:200])


class MountTests(ApiCase):
    """Further resources stand behind the same check."""

    class Services(Resource):
        isLeaf = True

        def render_GET(self, request: object) -> bytes:
            return b"services:" + b"/".join(request.postpath)  # type: ignore[attr-defined]

    def setUp(self) -> None:
        super().setUp()
        mount = Mount(self.Services(), token_header="X-AUTH-TOKEN")
        self.treq = StubTreq(Api(self.controller, TOKEN, {"services": mount}).root)

    def test_reached(self) -> None:
        """The mount gets what is below its segment; the API the rest."""
        self.assertEqual(self.ask("GET", "/services/a/b").body, b"services:a/b")
        self.assertEqual(self.ask("GET", SETTINGS).status, 200)

    def test_token_header(self) -> None:
        """Its own token header is good for the mount, and only for it."""
        headers = {"Authorization": None, "X-Auth-Token": TOKEN}
        self.assertEqual(self.ask("GET", "/services", headers=headers).status, 200)
        self.assertEqual(self.ask("GET", SETTINGS, headers=headers).status, 401)
        headers = {"Authorization": None, "X-Auth-Token": "wrong"}
        self.assertEqual(self.ask("GET", "/services", headers=headers).status, 401)
        self.assertEqual(self.ask("GET", "/services", headers={"Host": "x"}).status, 403)

    def test_own_check(self) -> None:
        """A mount that checks tokens itself is asked without one, but not for a foreign host."""
        mount = Mount(self.Services(), checks_token=True)
        self.treq = StubTreq(Api(self.controller, TOKEN, {"services": mount}).root)
        bare = {"Authorization": None}
        self.assertEqual(self.ask("GET", "/services", headers=bare).status, 200)
        self.assertEqual(self.ask("GET", SETTINGS, headers=bare).status, 401)
        self.assertEqual(self.ask("GET", "/services", headers={"Host": "x"}).status, 403)
