"""The settings of rules, as people write them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.errors import InvalidError
from ood.model.document import RULE_FIELDS, App, Document, to_plain
from ood.model.files import COMPRESS_KEYS
from ood.model.passwords import make_hash
from ood.model.rulekinds import RULE_KEYS
from ood.model.rules import EVERY_REQUEST, Maintenance, Redirect, Route
from ood.model.schema import APP_KEYS, changed_app, changed_settings, check_app, check_together

BASE = App(cwd="/srv", port=3001)
HASH = make_hash(b"secret", b"0123456789abcdef")


def change(**changes: Any) -> App:
    return changed_app(
        "site", BASE, {key.replace("_", "."): value for key, value in changes.items()}
    )


class KindTests(SynchronousTestCase):
    def set(self, key: str, value: Any) -> App:
        return changed_app("site", BASE, {key: value})

    def refused(self, key: str, value: Any, problem: str) -> None:
        error = self.assertRaises(InvalidError, self.set, key, value)
        self.assertEqual(1, len(error.faults), error)
        self.assertEqual(key.partition(".")[0], error.faults[0].key)
        self.assertIn(problem, error.faults[0].problem)
        self.assertTrue(error.faults[0].allowed)

    def test_routes(self) -> None:
        """A route is an app's name, with the word strip, or an object."""
        for text in ("api strip", '{"app": "api", "strip": true}', {"app": "api", "strip": True}):
            self.assertEqual(
                {"/api": Route("api", strip=True)}, self.set("routes./api/", text).routes
            )
        self.assertEqual({"/api": Route("api")}, self.set("routes", '{"/api/*": "api"}').routes)
        self.refused("routes./api", "api twice", "after the app's name")
        self.refused("routes./api", {"strip": True}, "has not just app, strip")
        self.refused("routes.api", "api", "does not begin with /")
        self.refused("routes", "api", "--set routes./api APP")

    def test_redirects(self) -> None:
        """From a path, all below one, or a host; with a status of choice."""
        for source, target, redirect in (
            ("/old", "/new", Redirect("/new")),
            ("/old", "301 /new", Redirect("/new", 301)),
            ("/old/*", "308 https://x.example/new/*", Redirect("https://x.example/new/*", 308)),
            ("www.example.com", "example.com", Redirect("example.com")),
            ("www.example.com", "https://example.com", Redirect("https://example.com")),
        ):
            app = self.set(f"redirects.{source}", target)
            self.assertEqual({source: redirect}, app.redirects)
        for source, target, problem in (
            ("/old", "//evil.example/", "another host by //"),
            ("/old", "javascript:alert(1)", "not a host name"),
            ("/old", "/new\r\nX: y", "leads to"),
            ("/old", "/\\evil.example", "leads to"),
            ("/old", "/new/*", "does not end in /*"),
            ("/old", "303 /new", "status 303"),
            ("/old", "/old", "itself"),
            ("/old/*", "/old/new", "again and again"),
            ("/*", "/", "again and again"),
            ("/o*d", "/new", "has a * elsewhere"),
            ("example.com", "Example.com", "itself"),
            ("*.example.com", "example.com", "many hosts"),
            ("a.example.com", "*.example.com", "leads to"),
            ("/old", "https://a@b/", "leads to"),
        ):
            self.refused(f"redirects.{source}", target, problem)

    def test_the_host_of_a_redirect_is_the_apps(self) -> None:
        """www.example.com needs no entry in domains beside its redirect."""
        app = self.set("redirects.www.example.com", "example.com")
        self.assertIn("www.example.com", app.hosts("example.com"))

    def test_rewrites(self) -> None:
        self.assertEqual({"/a/*": "/b/*"}, self.set("rewrites./a/*", "/b/*").rewrites)
        self.assertEqual({"/a": "/b?c=1"}, self.set("rewrites./a", "/b?c=1").rewrites)
        self.refused("rewrites./a/*", "/../b/*", "holds //, /./ or /../")
        self.refused("rewrites./a", "/b/*", "does not end in /*")
        self.refused("rewrites./a", "b", "does not begin with /")

    def test_headers(self) -> None:
        """Nothing can be injected, and what ood says itself can't be changed."""
        self.assertEqual(
            {"X-Frame-Options": "DENY"}, self.set("headers.X-Frame-Options", "DENY").headers
        )
        self.assertEqual({"Server": ""}, self.set("headers.Server", "").headers)
        self.refused("headers.X", "a\r\nSet-Cookie: b", "a line end")
        self.refused("headers.X", "a\0", "a line end")
        self.refused("headers.X Y", "a", "not a header's name")
        self.refused("headers", {"X-A": "1", "x-a": "2"}, "same header twice")
        for name in ("Connection", "Content-Length", "transfer-encoding", "X-Ood-Peer", "x_ood_a"):
            self.refused(f"headers.{name}", "a", "ood sets it itself")
        for name in ("Host", "X-Forwarded-For", "X_Forwarded_For", "Forwarded", "Upgrade"):
            self.refused(f"requestHeaders.{name}", "a", "ood sets it itself")

    def test_a_password_is_not_shown(self) -> None:
        """Who writes a password instead of its hash does not find it in an error."""
        self.assertEqual({"ann": HASH}, self.set("basicAuth.ann", HASH).basic_auth)
        for value in ("hunter2", "$scrypt$ln=30,r=8,p=1$" + "a" * 22 + "$" + "a" * 43):
            error = self.assertRaises(InvalidError, self.set, "basicAuth.ann", value)
            self.assertNotIn(value, str(error))
            self.assertIn("ood password", str(error))

    def test_networks(self) -> None:
        self.assertEqual(("10.0.0.0/8", "::1/128"), self.set("deny", "10.0.0.0/8, ::1").deny)
        self.refused("allow", "10.0.0.1/8", "did you mean 10.0.0.0/8?")
        self.refused("allow", "example.com", "no address and no network")

    def test_rates_and_sizes(self) -> None:
        for text, rate in (("10", "10/s"), (10, "10/s"), ("100 / m", "100/m"), ("5/h", "5/h")):
            self.assertEqual(rate, self.set("rateLimit", text).rate_limit)
        for text in ("0", "10/d", "fast", True):
            self.refused("rateLimit", text, "")
        self.assertEqual(10 << 20, self.set("bodyLimit", "10M").body_limit)
        for text in ("0", "-1", "much", True, 1.5):
            self.refused("bodyLimit", text, "")

    def test_error_pages(self) -> None:
        pages = {"502": "502.html", "maintenance": "/srv/m.html"}
        self.assertEqual(pages, self.set("errorPages", json.dumps(pages)).error_pages)
        self.refused("errorPages.200", "x.html", "is not one of")

    def test_unset(self) -> None:
        """An entry goes like a variable of env does."""
        app = changed_app("site", BASE, {"headers.A": "1", "headers.B": "2"})
        app = changed_app("site", app, {"headers.A": None})
        self.assertEqual({"B": "2"}, app.headers)
        self.assertEqual({}, changed_app("site", app, {"headers": None}).headers)

    def test_what_is_stored_is_read_back(self) -> None:
        """The document's form of each rule is one that is read."""
        app = changed_app("site", BASE, {
            "routes./api": "api strip", "redirects./a": "301 /b", "rewrites./c/*": "/d/*",
            "headers.X": "y", "requestHeaders.Z": "", "basicAuth.ann": HASH,
            "basicAuthPaths": "/admin", "allow": "10.0.0.0/8", "deny": "::/0", "rateLimit": "1/m",
            "rateLimitBurst": 7, "bodyLimit": "1K", "errorPages.502": "x", "requestId": True,
            "maintenanceAllow": "127.0.0.1",
        })  # fmt: skip
        self.assertEqual(app, check_app("site", json.loads(json.dumps(to_plain(app)))))
        self.assertEqual({"cwd", "port"} | set(RULE_KEYS), set(to_plain(app)))

    @given(st.sampled_from(sorted(RULE_KEYS)), st.text(max_size=12) | st.none() | st.integers()
           | st.dictionaries(st.text(max_size=5), st.text(max_size=8) | st.integers()))  # fmt: skip
    def test_anything(self, key: str, value: Any) -> None:
        """Whatever is written, the answer is a value or a fault."""
        try:
            APP_KEYS[key].kind.parse(value)
        except ValueError as error:
            self.assertTrue(str(error))


class TogetherTests(SynchronousTestCase):
    def faults(self, **apps: App) -> dict[str, str]:
        document = Document(apps=apps)
        try:
            check_together(document)
        except InvalidError as error:
            return {fault.key: str(fault) for fault in error.faults}
        return {}

    def test_routes(self) -> None:
        """A route leads to another app that there is."""
        site = changed_app("site", BASE, {"routes./api": "api", "routes./me": "site"})
        api = App(cwd="/", port=3002)
        self.assertEqual({"apps.site.routes./me"}, set(self.faults(site=site, api=api)))
        faults = self.faults(site=site)
        self.assertIn("there is no app api", faults["apps.site.routes./api"])

    def test_handoff(self) -> None:
        """Who asks for the hand-off is told which rule stands against it."""
        site = changed_app("site", BASE, {"handoff": "guard", "rateLimit": "5", "allow": "::/0"})
        self.assertIn("allow, rateLimit", self.faults(site=site)["apps.site.handoff"])
        for handoff in ("auto", "never"):
            self.assertEqual({}, self.faults(site=changed_app("site", site, {"handoff": handoff})))

    def test_passthrough(self) -> None:
        """What ood does not decrypt it can't look at."""
        site = changed_app("site", BASE, {"tls": "passthrough", "headers.A": "b"})
        self.assertIn("headers", self.faults(site=site)["apps.site.tls"])

    def test_maintenance_goes_with_any_handoff(self) -> None:
        site = App(cwd="/", port=3001, handoff="guard", maintenance=Maintenance())
        self.assertEqual({}, self.faults(site=site))

    def test_what_means_nothing(self) -> None:
        site = changed_app("site", BASE, {"basicAuthPaths": "/admin", "rateLimitBurst": 3})
        self.assertEqual(
            {"apps.site.basicAuthPaths", "apps.site.rateLimitBurst"}, set(self.faults(site=site))
        )

    def test_keys(self) -> None:
        """Every rule is a field of an app, and what forces the proxy is one of them."""
        self.assertLess(len(RULE_KEYS), len(RULE_FIELDS))
        self.assertLessEqual(set(EVERY_REQUEST), {*RULE_KEYS, *COMPRESS_KEYS, "maintenance"})
        self.assertEqual((), BASE.proxied_because())
        site = changed_app("site", BASE, {"headers.A": "1", "errorPages.502": "x"})
        self.assertEqual(("headers",), site.proxied_because())

    def test_settings(self) -> None:
        settings = changed_settings(Document().settings, {"trustedProxies": "10.0.0.0/8"})
        self.assertEqual(("10.0.0.0/8",), settings.trusted_proxies)
        settings = changed_settings(settings, {"errorPages.404": "/srv/404.html"})
        self.assertEqual({"404": "/srv/404.html"}, settings.error_pages)
        self.assertEqual({}, changed_settings(settings, {"errorPages.404": None}).error_pages)
        error = self.assertRaises(
            InvalidError, changed_settings, settings, {"errorPages.502": "502.html"}
        )
        self.assertIn("not an absolute path", str(error))
