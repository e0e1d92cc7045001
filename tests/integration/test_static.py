"""A site that is just files, from ``ood init`` to its roll-back."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.support.http import get
from tests.support.ood import RunningOod, wait_until
from tests.support.ports import free_ports

HOST = "docs.example"


class StaticSiteTests(SynchronousTestCase):
    """The real service; nothing but files behind it."""

    def setUp(self) -> None:
        self.service = RunningOod()
        self.addCleanup(self.service.close)
        self.service.start()
        self.site = self.service.directory / "site"
        self.site.mkdir(mode=0o755)
        (self.site / "index.html").write_text("one")
        (port,) = free_ports(1)
        self.port = port
        self.service.ood("init", HOST, "--static", str(self.site), "--port", str(port))
        self.service.ood("start", HOST)

    def page(self) -> str:
        return get(self.service.http_port, HOST).body.decode()

    def test_releases(self) -> None:
        """Deployments and roll-backs change what is shown; its state tells so."""
        self.assertEqual(self.page(), "one")
        self.service.ood("deploy", HOST)
        (self.site / "index.html").write_text("two")
        self.assertEqual(self.page(), "one")
        self.service.ood("deploy", HOST)
        self.assertEqual(self.page(), "two")
        self.service.ood("rollback", HOST)
        self.assertEqual(self.page(), "one")
        self.assertEqual(get(self.port, "anything").body, b"one")
        status = self.service.json("status", HOST)
        self.assertEqual((status["state"], status["workers"]), ("online", []))
        self.service.ood("stop", HOST)
        self.assertEqual(get(self.service.http_port, HOST).status, 503)

    def test_no_directory(self) -> None:
        """A site whose directory is gone is not online, and says why no page comes."""
        self.site.rename(self.site.with_name("away"))
        status = json.loads(self.service.run("--json", "status", HOST).stdout)
        self.assertEqual(status["state"], "errored")
        self.assertIn("is no directory that can be read", status["trouble"][0])
        self.assertEqual(get(self.service.http_port, HOST).status, 503)
        self.site.with_name("away").rename(self.site)
        self.assertEqual(self.page(), "one")

    def test_keys(self) -> None:
        """What has no meaning is refused with a reason; the log knows the way."""
        refused = self.service.run("config", "-a", HOST, "-s", "instances", "2")
        self.assertIn("has no meaning for an app of type static", refused.stderr)
        self.assertNotEqual(self.service.run("scale", HOST, "2").returncode, 0)
        self.service.ood("restart", HOST)
        self.service.ood("config", "-a", HOST, "-s", "accessLog", "json")
        (self.site / "lost.html").write_text("<p>nothing here")
        self.service.ood("config", "-a", HOST, "-s", "errorPages.404", "lost.html")
        self.page()
        lost = "<p>nothing here"
        wait_until(lambda: self.missing() == lost, "the site's own page")
        wait_until(lambda: len(self.log()) >= 2, "two lines")
        self.assertEqual(self.log()[0], ("static", 3))
        self.assertEqual(self.log()[-1], ("page", len(lost)))

    def missing(self) -> str:
        return get(self.service.http_port, HOST, "/none", Accept="text/html").body.decode()

    def log(self) -> list[tuple[str, int]]:
        lines = map(json.loads, self.service.ood("log", HOST, "--access").splitlines())
        return [(line["via"], line["bytes"]) for line in lines]
