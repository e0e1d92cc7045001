"""``ood deploy``, ``rollback`` and ``releases``: what they ask for and what they show."""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.defer import Deferred

from ood.errors import ReleaseError
from ood.model.release import Order, Step
from ood.model.status import AppStatus
from tests.cli.support import CliCase


class DeployTests(CliCase):
    """A deployment is shown as it goes."""

    def test_plain(self) -> None:
        """Piped, each step has a line; then comes what is."""
        self.ood("start", "shop.example")
        result = self.ood("deploy", "shop.example", "/srv/new")
        self.assertEqual(result.status, 0)
        self.assertEqual(result.err.splitlines(), ["   0.0 s  copying", "   1.2 s  installing"])
        self.assertIn("shop.example is online, 1 worker", result.out)
        self.assertIn("release 20260102-030400-0000", result.out)
        self.assertIn("20260102-030400-0000", self.ood("status", "shop.example").out)

    def test_sources(self) -> None:
        """A path is made absolute, a URL is left as it is."""
        for source, ref, sent in (
            ("site", None, os.path.abspath("site")),
            ("../site.tgz", None, os.path.abspath("../site.tgz")),
            ("https://example.com/site.git", "v1", "https://example.com/site.git"),
            ("git@example.com:me/site.git", None, "git@example.com:me/site.git"),
        ):
            self.ood("deploy", "shop.example", source, *(["--ref", ref] if ref else []))
            wanted = ("deploy", "shop.example", sent, *([ref] if ref else []))
            self.assertEqual(self.controller.calls[-1], wanted)
        self.ood("deploy", "shop.example")
        self.assertEqual(self.controller.calls[-1], ("deploy", "shop.example"))

    def test_script(self) -> None:
        """Another script is passed on with the order."""
        orders = []
        deploy = self.controller.deploy

        def noted(name: str, order: Order, told: Callable[[Step], None]) -> Deferred[AppStatus]:
            orders.append(order.script)
            return deploy(name, order, told)

        self.controller.deploy = noted
        self.ood("deploy", "shop.example", "--script", "dist/main.js")
        self.ood("deploy", "shop.example")
        self.assertEqual(orders, ["dist/main.js", None])

    def test_failure(self) -> None:
        """The command's last lines, then the reason on one line; status 1."""
        self.controller.failure = ReleaseError("npm failed", "look", ("npm error x",))
        result = self.ood("deploy", "shop.example")
        self.assertEqual((result.status, result.out), (1, ""))
        last = ["  | npm error x", "ood: npm failed (look)"]
        self.assertEqual(result.err.splitlines()[2:], last)
        self.assertEqual(self.ood("deploy", "none").status, 1)

    def test_json(self) -> None:
        """Programs get the state, and nothing else."""
        result = self.ood("deploy", "shop.example", "--json")
        self.assertEqual(result.value["release"], "20260102-030400-0000")
        self.assertEqual(result.err, "")

    def test_rollback(self) -> None:
        """Back to the one before, or to a named one; releases show which is in use."""
        self.assertIn("no releases", self.ood("releases", "shop.example").out)
        self.assertEqual(self.ood("rollback", "shop.example").status, 1)
        for _ in range(2):
            self.ood("deploy", "shop.example")
        self.assertIn("030400", self.ood("rollback", "shop.example").out)
        head, newest, oldest = self.ood("releases", "shop.example").out.splitlines()
        self.assertEqual(head.split(), ["release", "time", "source"])
        self.assertEqual((newest.split()[1], oldest.split()[1]), ("-", "current"))
        self.ood("rollback", "shop.example", "20260102-030401-0000")
        self.assertEqual(
            self.ood("releases", "shop.example", "--json").value["releases"][0]["current"], True
        )

    def test_purge(self) -> None:
        """``--purge`` is passed on, and said."""
        self.assertIn("its releases", self.ood("delete", "shop.example", "--purge").out)
        self.assertEqual(self.controller.calls, [("delete", "shop.example", "purge")])


class TerminalTests(CliCase):
    """On a terminal one line shows the present step."""

    def meanwhile(self, done: Deferred[None]) -> None:
        for _ in range(12):
            self.clock.advance(0.1)
        assert self.controller.held
        self.controller.held[0].callback(None)
        for _ in range(10):
            self.stub.flush()

    def test_step(self) -> None:
        """The step, what its command wrote last, and the time; nothing of it remains."""
        self.controller.held = []
        result = self.ood("deploy", "shop.example", terminal=True)
        self.assertIn("installing: added 3 packages … 1 s", result.err)
        self.assertTrue(result.err.endswith("\r\x1b[K"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
