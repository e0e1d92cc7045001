"""Logging in: by link or token, once, for a while, and from the page only."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from treq.testing import StubTreq
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from ood.api.guard import Mount
from ood.api.sessions import (
    CODE_SECONDS,
    CODES_MAX,
    IDLE_SECONDS,
    SESSIONS_MAX,
    LogIn,
    Sessions,
)
from ood.api.site import Api, make_site
from ood.balancer.routes import layer4_resource
from tests.api.support import BASE, TOKEN, Answer, ApiCase
from tests.balancer.test_routes import Memory

SETTINGS = "/api/v1/settings"


class SessionsTests(SynchronousTestCase):
    """Codes and sessions as values."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sessions = Sessions(self.clock, TOKEN)

    def log_in(self) -> LogIn:
        made = self.sessions.use_token(TOKEN)
        assert made is not None
        return made

    def test_code_is_used_once(self) -> None:
        """The second browser with the same link stays outside."""
        code = self.sessions.make_code()
        self.assertIsNotNone(self.sessions.use_code(code))
        self.assertIsNone(self.sessions.use_code(code))

    def test_code_ends(self) -> None:
        """A link is good for a minute."""
        first, second = self.sessions.make_code(), self.sessions.make_code()
        self.clock.advance(CODE_SECONDS - 1)
        self.assertIsNotNone(self.sessions.use_code(first))
        self.clock.advance(1)
        self.assertIsNone(self.sessions.use_code(second))

    def test_codes_bounded(self) -> None:
        """Many links do not fill the memory: the oldest is good no more."""
        codes = [self.sessions.make_code() for _ in range(CODES_MAX + 1)]
        self.assertIsNone(self.sessions.use_code(codes[0]))
        self.assertIsNotNone(self.sessions.use_code(codes[1]))

    def test_token(self) -> None:
        """Only the token itself logs in."""
        for wrong in ("", TOKEN[:-1], TOKEN + "x", "\udcff", "é"):
            self.assertIsNone(self.sessions.use_token(wrong))

    def test_both_secrets(self) -> None:
        """A cookie alone, or with another session's key, is nothing."""
        one, other = self.log_in(), self.log_in()
        self.assertTrue(self.sessions.fits(one.cookie, one.key))
        for cookie, key in ((one.cookie, ""), (one.cookie, other.key), ("", one.key), ("", "")):
            self.assertFalse(self.sessions.fits(cookie, key))

    def test_idle(self) -> None:
        """A session lasts as long as it is used."""
        made = self.log_in()
        for _ in range(3):
            self.clock.advance(IDLE_SECONDS - 1)
            self.assertTrue(self.sessions.fits(made.cookie, made.key))
        self.clock.advance(IDLE_SECONDS - 1)
        self.assertFalse(self.sessions.fits(made.cookie, "wrong"))  # which is no use of it
        self.clock.advance(1)
        self.assertFalse(self.sessions.fits(made.cookie, made.key))
        self.assertEqual(len(self.sessions), 0)

    def test_bounded(self) -> None:
        """The one that was idle longest makes room."""
        made = []
        for _ in range(SESSIONS_MAX):
            made.append(self.log_in())
            self.clock.advance(1)
        self.sessions.fits(made[0].cookie, made[0].key)
        self.clock.advance(1)
        self.log_in()
        self.assertTrue(self.sessions.fits(made[0].cookie, made[0].key))
        self.assertFalse(self.sessions.fits(made[1].cookie, made[1].key))


class BrowserCase(ApiCase):
    """A browser: it has no token, but a cookie and a key."""

    def setUp(self) -> None:
        super().setUp()
        self.cookie = self.key = ""

    def page(self, method: str, path: str, **options: Any) -> Answer:
        """Ask as the page's scripts do, with nothing remembered from before."""
        self.treq = StubTreq(self.api.root)
        headers = {
            "Authorization": None,
            "Cookie": f"ood-2016={self.cookie}",
            "X-Requested-With": "ood",
            "X-Ood-Key": self.key,
            "Sec-Fetch-Site": "same-origin",
            **options.pop("headers", {}),
        }
        return self.ask(method, path, headers=headers, **options)

    def visit(self, path: str, **options: Any) -> Answer:
        """Go somewhere, as a person does; redirections are not followed."""
        headers = {"Authorization": None, "Accept": "text/html", **options.pop("headers", {})}
        return self.ask("GET", path, headers=headers, allow_redirects=False, **options)

    def form(self, fields: dict[str, str], **headers: str | None) -> Answer:
        sent = {"Authorization": None, "Content-Type": "application/x-www-form-urlencoded"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = urlencode(fields).encode()
        return self.ask("POST", "/ui/login", headers=sent, data=data, allow_redirects=False)

    def enter(self) -> None:
        """Log in by a link."""
        answer = self.visit(self.ask("POST", "/api/v1/login-code").value["path"])
        self.take(answer)

    def take(self, answer: Answer) -> None:
        self.cookie = (answer.header("set-cookie") or "").partition("=")[2].partition(";")[0]
        self.key = (answer.header("location") or "").partition("#key=")[2]


class LogInTests(BrowserCase):
    """In and out."""

    def test_by_link(self) -> None:
        """A link logs in, once; its secrets are where they belong."""
        made = self.ask("POST", "/api/v1/login-code")
        self.assertEqual((made.status, made.value["seconds"]), (201, 60))
        answer = self.visit(made.value["path"])
        self.assertEqual(answer.status, 303)
        self.take(answer)
        attributes = (answer.header("set-cookie") or "").split("; ")[1:]
        self.assertEqual(attributes, ["Path=/", "HttpOnly", "SameSite=Strict"])
        self.assertEqual(answer.header("location"), f"/ui/#key={self.key}")
        self.assertGreater(min(len(self.cookie), len(self.key)), 40)
        self.assertEqual(self.page("GET", SETTINGS).status, 200)
        again = self.visit(made.value["path"])
        self.assertEqual((again.status, again.header("location")), (303, "/ui/#expired"))
        self.assertIsNone(again.header("set-cookie"))

    def test_link_needs_the_token(self) -> None:
        """Nobody makes a link without a right to."""
        self.assertEqual(self.page("POST", "/api/v1/login-code").status, 401)
        self.enter()
        self.assertEqual(self.page("POST", "/api/v1/login-code").status, 201)

    def test_by_form(self) -> None:
        """The token logs in, too; a wrong one is said on the page."""
        answer = self.form({"token": f" {TOKEN}\n"}, Accept="text/html,*/*")
        self.assertEqual(answer.status, 303)
        self.take(answer)
        self.assertEqual(self.page("GET", SETTINGS).status, 200)
        answer = self.form({"token": "wrong"}, Accept="text/html")
        self.assertEqual((answer.status, answer.header("location")), (303, "/ui/#refused"))

    def test_by_script(self) -> None:
        """A script of the page gets the key as JSON."""
        answer = self.form({"token": TOKEN}, Accept="*/*")
        self.take(answer)
        self.key = answer.value["key"]
        self.assertEqual(self.page("GET", SETTINGS).status, 200)
        for fields in ({"token": "x"}, {"code": "x"}, {}):
            answer = self.form(fields, Accept="*/*")
            self.assertEqual((answer.status, answer.header("set-cookie")), (401, None))

    def test_foreign_page_can_not_log_in(self) -> None:
        """Nor can a page of another site have a visitor logged in."""
        answer = self.form({"token": TOKEN}, Accept="text/html", Origin="http://evil.example")
        self.assertEqual((answer.status, answer.header("set-cookie")), (403, None))
        self.assertEqual(self.visit("/ui/", headers={"Host": "evil.example"}).status, 403)

    def test_log_out(self) -> None:
        """Afterwards both secrets are worth nothing."""
        self.enter()
        answer = self.page("POST", "/ui/logout")
        self.assertEqual(answer.status, 204)
        self.assertIn("ood-2016=; ", answer.header("set-cookie") or "")
        self.assertIn("Max-Age=0", answer.header("set-cookie") or "")
        self.assertEqual(self.page("GET", SETTINGS).status, 401)
        self.assertEqual(self.page("GET", "/ui/logout").status, 405)

    def test_stale(self) -> None:
        """A session of an earlier run is refused, with what to do."""
        self.cookie, self.key = "stale", "stale"
        answer = self.page("GET", SETTINGS)
        self.assertEqual((answer.status, answer.error["code"]), (401, "unauthorized"))
        self.assertIn("ood web", answer.error["hint"])


class PageTests(BrowserCase):
    """Only the page may use a session."""

    def setUp(self) -> None:
        super().setUp()
        self.enter()

    def test_every_sign(self) -> None:
        """Each of the signs is needed."""
        self.assertEqual(self.page("GET", SETTINGS).status, 200)
        for name, value, status in (
            ("X-Requested-With", None, 403),
            ("X-Requested-With", "XMLHttpRequest", 403),
            ("X-Ood-Key", None, 401),
            ("X-Ood-Key", "wrong", 401),
            ("Cookie", None, 401),
            ("Cookie", "ood-2016=", 401),
            ("Cookie", f"ood-9={self.cookie}", 401),
            ("Sec-Fetch-Site", "same-site", 403),
            ("Sec-Fetch-Site", "cross-site", 403),
            ("Sec-Fetch-Site", "none", 403),
            ("Origin", "http://127.0.0.1:3001", 403),
            ("Host", "evil.example", 403),
        ):
            answer = self.page("GET", SETTINGS, headers={name: value})
            self.assertEqual(answer.status, status, (name, value))

    def test_changes_name_their_origin(self) -> None:
        """A browser that says nothing about where a change comes from makes none."""
        for headers, status in (
            ({}, 200),
            ({"Sec-Fetch-Site": None}, 403),
            ({"Sec-Fetch-Site": None, "Origin": BASE}, 200),
            ({"Sec-Fetch-Site": None, "Origin": "http://localhost:3001"}, 403),
        ):
            headers |= {"Origin": headers.get("Origin", BASE if not headers else None)}
            answer = self.page("PATCH", SETTINGS, json={"httpPort": 81}, headers=headers)
            self.assertEqual(answer.status, status, headers)

    def test_token_beside_a_cookie(self) -> None:
        """Who shows the token needs no session, whatever cookies a browser sends along."""
        headers = {"Cookie": "ood-2016=stale"}
        self.assertEqual(self.ask("GET", SETTINGS, headers=headers).status, 200)
        headers["Authorization"] = "Bearer wrong"
        self.assertEqual(self.page("GET", SETTINGS, headers=headers).status, 401)

    def test_events_by_query(self) -> None:
        """EventSource sends no headers: there, and only there, the key is in the query."""
        bare = {"X-Requested-With": None, "X-Ood-Key": None}
        answer = self.page("HEAD", f"/api/v1/events?key={self.key}", headers=bare)
        self.assertEqual(answer.status, 200)
        for path, status in (
            ("/api/v1/events?key=wrong", 401),
            ("/api/v1/events?key=%ff", 401),
            ("/api/v1/events", 401),
            (f"{SETTINGS}?key={self.key}", 403),
        ):
            self.assertEqual(self.page("HEAD", path, headers=bare).status, status, path)
        foreign = {**bare, "Sec-Fetch-Site": "same-site"}
        answer = self.page("HEAD", f"/api/v1/events?key={self.key}", headers=foreign)
        self.assertEqual(answer.status, 403)

    def test_log_out_ends_events(self) -> None:
        """Who has logged out hears nothing more; while a page listens, its session is used."""
        clock = Clock()
        site = make_site(self.controller, TOKEN, reactor=clock)
        self.api, self.treq = site.api, StubTreq(site.api.root)
        self.enter()
        address = IPv4Address("TCP", "127.0.0.1", 2016)
        protocol = site.buildProtocol(address)
        transport = StringTransportWithDisconnection(hostAddress=address)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        head = f"GET /api/v1/events?key={self.key} HTTP/1.1\r\nHost: 127.0.0.1:2016\r\n"
        protocol.dataReceived(f"{head}Cookie: ood-2016={self.cookie}\r\n\r\n".encode())
        clock.pump([IDLE_SECONDS / 2] * 3)
        self.assertFalse(transport.value().endswith(b"0\r\n\r\n"))
        self.assertEqual(self.page("GET", SETTINGS).status, 200)
        self.page("POST", "/ui/logout")
        clock.advance(1)
        self.assertTrue(transport.value().endswith(b"0\r\n\r\n"))

    def test_balancer(self) -> None:
        """What asks for the token itself is shown it, on behalf of the page."""
        resource = layer4_resource(Memory(), TOKEN)
        mount = Mount(resource, "X-AUTH-TOKEN", checks_token=True)
        self.api = Api(self.controller, TOKEN, {"services": mount})
        self.treq = StubTreq(self.api.root)
        self.enter()
        self.assertEqual(self.page("GET", "/services").status, 200)
        self.assertEqual(self.page("GET", "/services", headers={"X-Ood-Key": "x"}).status, 401)
        self.assertEqual(self.page("GET", "/services", headers={"Cookie": None}).status, 401)
