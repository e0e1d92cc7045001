"""A site's rules in their order: what becomes of a request."""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.model import passwords
from ood.model.document import App
from ood.model.passwords import make_hash
from ood.model.rules import Maintenance
from ood.model.schema import changed_app
from ood.proxy.core import pages
from ood.proxy.core.errand import Errand
from ood.proxy.core.forward import Peer
from ood.proxy.core.pages import Page
from ood.proxy.core.request import Request, parse_request
from ood.proxy.core.response import parse_response
from ood.proxy.core.rules.auth import Verdicts
from ood.proxy.core.rules.site import Hold, Moment, Pending, Site, Verdict, decide

CLIENT = Peer("192.0.2.7", 5000, b"http", 80)
DATE = b"Thu, 01 Jan 1970 00:00:00 GMT"


def request(
    target: str = "/", fields: str = "", method: str = "GET", host: str = "a.example"
) -> Request:
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode()
    read = parse_request(head)
    assert read is not None
    return read


class SiteTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.sites: dict[str, Site] = {}
        self.verdicts = Verdicts(b"x" * 32)
        self.now = 0.0

    def site(self, name: str = "site", **changes: Any) -> None:
        keys = {key.replace("__", "."): value for key, value in changes.items()}
        self.set(name, keys)

    def set(self, name: str, changes: dict[str, Any]) -> None:
        app = changed_app(name, App(cwd="/", port=3001), changes)
        self.sites[name] = Site(name, app, self.sites.get(name))

    def decide(self, *args: Any, peer: Peer = CLIENT, again: bool = False, **more: Any) -> Verdict:
        moment = Moment(self.now, self.verdicts, lambda count: "1" * 2 * count, again)
        return decide(self.sites, "site", request(*args, **more), peer, moment)

    def page(self, *args: Any, **more: Any) -> Page:
        verdict = self.decide(*args, **more)
        assert isinstance(verdict, Page), verdict
        return verdict

    def errand(self, *args: Any, **more: Any) -> Errand:
        verdict = self.decide(*args, **more)
        assert isinstance(verdict, Errand), verdict
        return verdict

    def target(self, *args: Any, **more: Any) -> tuple[str, bytes]:
        errand = self.errand(*args, **more)
        return errand.app, errand.request.target

    def location(self, *args: Any, **more: Any) -> str:
        page = self.page(*args, **more)
        self.assertIn(page.status, (301, 302, 307, 308))
        name, value = page.fields.decode().split(": ", 1)
        self.assertEqual("Location", name)
        return value.removesuffix("\r\n")


class PlaceTests(SiteTestCase):
    def test_no_rules(self) -> None:
        """A site without rules gets its requests as they came."""
        self.site()
        self.assertEqual(("site", b"/a/../b?c"), self.target("/a/../b?c"))

    def test_routes(self) -> None:
        """The longest prefix wins, on the borders of segments."""
        self.set(
            "site", {"routes./api": "api", "routes./api/v2": "new strip", "routes./x": "x strip"}
        )
        for target, where in (
            ("/", ("site", b"/")),
            ("/api", ("api", b"/api")),
            ("/api/users?a=1", ("api", b"/api/users?a=1")),
            ("/apiary", ("site", b"/apiary")),
            ("/API/x", ("site", b"/API/x")),
            ("/api/v2", ("new", b"/")),
            ("/api/v2/?q", ("new", b"/?q")),
            ("/api/v2/users", ("new", b"/users")),
            ("/api/v20", ("api", b"/api/v20")),
            ("/%61pi/z", ("api", b"/%61pi/z")),
            ("/x//y", ("x", b"/y")),
            ("/a/../api/../secret", ("site", b"/secret")),
            ("/api/../secret", ("site", b"/secret")),
            ("/api/%2e%2e/secret", ("site", b"/secret")),
        ):
            self.assertEqual(where, self.target(target), target)
        self.assertEqual(400, self.page("/x/..%2f..%2fsecret").status)

    def test_rewrites(self) -> None:
        """The app sees the new path with the old query; what is below stays below."""
        self.set("site", {"rewrites./old/*": "/new/*", "rewrites./page": "/index?p=1",
                          "rewrites./spa/*": "/index.html", "routes./new/api": "api"})  # fmt: skip
        for target, where in (
            ("/old/a?b=c", ("site", b"/new/a?b=c")),
            ("/old", ("site", b"/new")),
            ("/older", ("site", b"/older")),
            ("/page", ("site", b"/index?p=1")),
            ("/page?x=2", ("site", b"/index?p=1&x=2")),
            ("/spa/any/thing", ("site", b"/index.html")),
            ("/old/../x", ("site", b"/x")),
            ("/old//a", ("site", b"/new/a")),
            ("/old/api/z", ("api", b"/new/api/z")),
        ):
            self.assertEqual(where, self.target(target), target)

    @given(st.lists(st.sampled_from(["/", "..", ".", "a", "%2e", "%2f", "%5c", "\\", "//", "?"]),
                    max_size=8))  # fmt: skip
    def test_nothing_leaves_a_prefix(self, parts: list[str]) -> None:
        """What is sent to the app below a rewritten prefix stays there, however it is read."""
        self.set("site", {"rewrites./in/*": "/deep/down/*"})
        verdict = self.decide("/in/" + "".join(parts))
        if isinstance(verdict, Errand) and verdict.request.target.startswith(b"/deep"):
            path = unquote_to_bytes(verdict.request.target.partition(b"?")[0])
            self.assertNotIn(b"..", path.replace(b"\\", b"/").split(b"/"))

    def test_redirects(self) -> None:
        self.set("site", {"redirects./old": "301 /new", "redirects./docs/*": "308 https://d.example/v2/*",
                          "redirects./all/*": "/*", "redirects./q": "/r?fixed=1#top"})  # fmt: skip
        self.assertEqual(301, self.page("/old").status)
        self.assertEqual(302, self.page("/q").status)
        for target, location in (
            ("/old?a=b", "/new?a=b"),
            ("/docs/x/y?z", "https://d.example/v2/x/y?z"),
            ("/docs", "https://d.example/v2"),
            ("/all", "/"),
            ("/all/x", "/x"),
            ("/q?a=b", "/r?fixed=1#top"),
        ):
            self.assertEqual(location, self.location(target))
        self.assertEqual(("site", b"/old/"), self.target("/old/"))

    def test_lasting(self) -> None:
        """301 and 308 may be remembered, for as long as the site says; 302 and 307 not."""
        redirects = {f"redirects./{one}": f"{one} /new" for one in (301, 302, 307, 308)}
        ours = b"Cache-Control: no-store\r\n"
        for cached in (b"", b"Cache-Control: max-age=60\r\n"):
            own = {"headers.Cache-Control": "max-age=60"} if cached else {}
            self.set("site", {**redirects, **own})
            for status, wanted in ((301, cached), (302, ours), (307, ours), (308, cached)):
                fields, _ = pages.parts(self.page(f"/{status}"), b"")
                lines = fields.splitlines(keepends=True)
                found = b"".join(one for one in lines if one.startswith(b"Cache-Control:"))
                self.assertEqual(wanted, found, status)

    def test_no_open_redirect(self) -> None:
        """Whatever follows, a redirect within the site stays there."""
        self.set("site", {"redirects./all/*": "/*"})
        for target in ("/all//evil.example", "/all/\\evil.example", "/all/%2fevil.example",
                       "/all/./%2e//evil.example", "/all///evil.example", "//all//evil.example",
                       "/all/%5cevil.example"):  # fmt: skip
            location = self.location(target)
            self.assertNotEqual("/", location[1:2], (target, location))
            self.assertNotIn("\\", location)

    def test_hosts(self) -> None:
        """www leads to the plain name, with scheme, port, path and query as they were."""
        self.set("site", {"redirects.www.a.example": "308 a.example"})
        self.assertEqual(
            "http://a.example:8080/x?y", self.location("/x?y", host="WWW.a.example:8080")
        )
        self.assertEqual(("site", b"/x"), self.target("/x"))
        self.set("site", {"redirects.old.example": "https://a.example"})
        self.assertEqual("https://a.example//b/?c", self.location("//b/?c", host="old.example"))
        self.set("site", {"redirects.old.example": "https://a.example/moved"})
        self.assertEqual("https://a.example/moved?c", self.location("/b?c", host="old.example"))


TARGET_PARTS = (
    *("/", "/", "a", "old", "in", "api", "..", ".", "%2e", "%2f", "%5c", "\\", "?", "#", "%"),
    *("%zz", "%41", "%25", "x=1", "&", "@evil", ":80", "//evil", "*", '"', "<"),
)


class AnythingTests(SiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.set("site", {
            "routes./api": "api strip", "routes./in/api": "api", "rewrites./in/*": "/deep/down/*",
            "rewrites./a": "/b?c", "redirects./old/*": "/*", "redirects./x": "/y?z#t",
            "redirects.www.example": "308 a.example", "requestId": "true", "headers.A": "b",
            "requestHeaders.C": "", "bodyLimit": "9K",
            "basicAuth.ann": make_hash(b"x", b"0123456789abcdef"), "basicAuthPaths": "/a/b",
        })  # fmt: skip

    @given(st.lists(st.sampled_from(TARGET_PARTS), max_size=9),
           st.sampled_from(["a.example", "www.example", "www.example:80", "[::1]"]))  # fmt: skip
    def test_any_target(self, parts: list[str], host: str) -> None:
        """Every target that is read has a verdict; what goes on is a target, too."""
        verdict = self.decide("/" + "".join(parts), host=host)
        if isinstance(verdict, Errand):
            again = request(verdict.request.target.decode("ascii"))
            self.assertEqual(verdict.request.target, again.target)
            self.assertTrue(again.target.startswith(b"/"))
        else:
            assert isinstance(verdict, Page)
            self.assertIn(verdict.status, (301, 302, 308, 400, 401))
            self.assertEqual(verdict.fields.count(b"\n"), verdict.status != 400)
            where = verdict.fields.removeprefix(b"Location: ")
            if verdict.status == 302:
                self.assertRegex(where, rb"^/(?![/\\])[!-~]*\r\n$")
            elif verdict.status == 308:
                self.assertRegex(where, rb"^http://a\.example(:80)?/[!-~]*\r\n$")


class GateTests(SiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(passwords, "COST_LOG2", 10)
        self.hash = make_hash(b"secret", b"0123456789abcdef")

    def basic(self, text: str = "ann:secret") -> str:
        return f"Authorization: Basic {base64.b64encode(text.encode()).decode()}\r\n"

    def check(self, verdict: Verdict) -> None:
        assert isinstance(verdict, Pending), verdict
        self.verdicts.remember(verdict.check.key, verdict.check.verify())

    def test_access(self) -> None:
        self.site(deny="192.0.2.0/24")
        self.assertEqual(403, self.page().status)
        self.errand(peer=Peer("192.0.3.1", 1, b"http", 80))

    def test_rate(self) -> None:
        """429 says when to come again; the limit survives other changes, not its own."""
        self.site(rateLimit="2/m")
        self.errand()
        self.errand()
        page = self.page()
        self.assertEqual((429, 30), (page.status, page.retry_after))
        self.errand(again=True)
        self.set("site", {"rateLimit": "2/m", "headers.A": "b"})
        self.assertEqual(429, self.page().status)
        self.set("site", {"rateLimit": "3/m"})
        self.errand()

    def test_password(self) -> None:
        """401 first, then a check, then the way in, without the credentials."""
        self.set("site", {"basicAuth.ann": self.hash})
        page = self.page()
        self.assertEqual(401, page.status)
        self.assertIn(b'WWW-Authenticate: Basic realm="site"', page.fields)
        self.check(self.decide("/", self.basic()))
        errand = self.errand("/", "A: b\r\n" + self.basic())
        self.assertEqual(b"Host: a.example\r\nA: b\r\n", errand.request.fields)
        self.check(self.decide("/", self.basic("ann:wrong")))
        self.assertEqual(401, self.page("/", self.basic("ann:wrong")).status)

    def test_password_for_a_part(self) -> None:
        """Outside the protected paths the app's own credentials pass."""
        self.set("site", {"basicAuth.ann": self.hash, "basicAuthPaths": "/admin"})
        self.assertIn(b"Authorization", self.errand("/", self.basic()).request.fields)
        for target in ("/admin", "/ADMIN/x", "//admin", "/x/../admin", "/%61dmin", "/admin#x"):
            self.assertEqual(401, self.page(target).status, target)
        self.assertEqual(400, self.page("/x/..%2fadmin").status)
        self.assertEqual(("site", b"/x"), self.target("/admin/../x"))

    def test_body(self) -> None:
        """A length that is too long is refused; one that is not known is watched."""
        self.site(bodyLimit="1K")
        self.assertEqual(413, self.page("/", "Content-Length: 1025\r\n", "POST").status)
        self.assertEqual(1024, self.errand("/", "Content-Length: 1024\r\n", "POST").body_bytes_max)
        self.assertEqual(
            1024, self.errand("/", "Transfer-Encoding: chunked\r\n", "POST").body_bytes_max
        )

    def maintain(self, name: str = "site", hold: int = 0, **keys: Any) -> None:
        app = App(cwd="/", port=1, maintenance=Maintenance("Back at noon.", hold), **keys)
        self.sites[name] = Site(name, app)

    def test_maintenance(self) -> None:
        self.maintain(maintenance_allow=("192.0.2.8/32",))
        page = self.page()
        self.assertEqual((503, "Back at noon.", "maintenance"), (page.status, page.text, page.name))
        self.assertTrue(page.retry_after)
        self.errand(peer=Peer("192.0.2.8", 1, b"http", 80))
        self.maintain(hold=5000)
        hold = self.decide()
        assert isinstance(hold, Hold)
        self.assertEqual(("site", 5), (hold.app, hold.seconds))

    def test_the_gates_of_another_app(self) -> None:
        """A route is no way around the gates of the app that it leads to."""
        self.set("site", {"routes./api": "api strip", "bodyLimit": "9K", "headers.A": "b"})
        self.maintain("api")
        self.assertEqual(503, self.page("/api/x").status)
        self.set("api", {"basicAuth.ann": self.hash, "basicAuthPaths": "/admin", "bodyLimit": "5K"})
        self.assertEqual(401, self.page("/api/admin").status)
        self.check(self.decide("/api/admin", self.basic()))
        errand = self.errand("/api/admin", self.basic())
        self.assertEqual(
            ("api", b"/admin", 5120), (errand.app, errand.request.target, errand.body_bytes_max)
        )
        self.assertNotIn(b"Authorization", errand.request.fields)
        self.set("api", {"deny": "::/0,0.0.0.0/0"})
        self.assertEqual(403, self.page("/api/x").status)
        self.errand("/x")

    def test_order(self) -> None:
        """Who may not enter learns nothing else; nobody is asked for a password to be sent away."""
        self.set("site", {"deny": "192.0.2.7", "redirects./a": "/b", "basicAuth.ann": self.hash})
        self.assertEqual(403, self.page("/a").status)
        self.assertEqual(302, self.page("/a", peer=Peer("::1", 1, b"http", 80)).status)


class HeaderTests(SiteTestCase):
    def test_both_ways(self) -> None:
        self.set(
            "site",
            {
                "headers.X-Frame-Options": "DENY",
                "headers.Server": "",
                "requestHeaders.X-Stage": "test",
                "requestHeaders.Cookie": "",
            },
        )
        errand = self.errand("/", "Cookie: a\r\nX_Stage: b\r\n")
        self.assertEqual(b"Host: a.example\r\nX-Stage: test\r\n", errand.request.fields)
        response = parse_response(
            b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 0\r\n\r\n", to_head=False
        )
        assert response is not None
        (change,) = errand.changes
        changed, body = change.change(response)
        self.assertEqual(b"Content-Length: 0\r\nX-Frame-Options: DENY\r\n", changed.fields)
        self.assertIsNone(body)

    def test_request_id(self) -> None:
        self.site(requestId=True)
        self.assertIn(
            b"X-Request-Id: 1111", self.errand("/", "X-Request-Id: mine\r\n").request.fields
        )
        told = Peer("192.0.2.7", 1, b"http", 80, told=True)
        fields = self.errand("/", "X-Request-Id: mine\r\n", peer=told).request.fields
        self.assertIn(b"X-Request-Id: mine", fields)

    def test_own_pages(self) -> None:
        """A site's own page goes to browsers and whoever says nothing, with its headers."""
        self.set(
            "site",
            {
                "deny": "::/0,0.0.0.0/0",
                "headers.X-A": "b",
                "headers.Content-Type": "x/y",
                "headers.Date": "never",
            },
        )
        self.sites["site"].error_pages = {"403": b"<h1>no</h1>"}
        for accept, own in ((b"", True), (b"*/*", True), (b"text/html,*/*;q=0.8", True),
                            (b"application/json", False), (b"image/png", False)):  # fmt: skip
            answer = pages.render(self.page(), date=DATE, accept=accept, to_head=False, close=False)
            self.assertEqual(own, answer.endswith(b"\r\n\r\n<h1>no</h1>"), accept)
            self.assertIn(b"\r\nX-A: b\r\n", answer)
            self.assertNotIn(b"x/y", answer)
            self.assertEqual([b"Date: " + DATE], re.findall(rb"(?m)^Date: .*(?=\r)", answer))
