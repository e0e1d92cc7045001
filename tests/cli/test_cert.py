"""``ood cert``, and the question for the CA's terms."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import msgspec

from ood.model.certificates import AppCertificate
from ood.model.status import AppStatus
from tests.cli.support import CliCase, Terminal


class CertTests(CliCase):
    """Each verb shows what came of it."""

    def test_list(self) -> None:
        """A row each, then what is wrong, and JSON for programs."""
        self.assertIn("no certificates", self.ood("cert", "list").out)
        self.desk.put("shop.example", apps=("shop.example",))
        again = "2026-11-21T12:00:00Z"
        lack = {"state": "failed", "trouble": "it does not resolve", "not_after": None}
        self.desk.put("bad.example", next_try=again, **lack)
        lines = self.ood("cert", "list").out.splitlines()
        self.assertEqual(
            lines[1].split(),
            ["shop.example", "valid", "2027-01-31", "acme", "shop.example", "a", "CA"],
        )
        self.assertEqual(lines[-1], f"bad.example: it does not resolve; next try {again}")
        listed = self.ood("--json", "cert", "list").value["certificates"]
        self.assertEqual([one["name"] for one in listed], ["shop.example", "bad.example"])

    def test_show(self) -> None:
        """In depth; an unknown one is an error with advice."""
        self.desk.put("shop.example", fingerprint="ab12")
        shown = self.ood("cert", "show", "shop.example").out
        self.assertIn("shop.example is valid; it ends 2027-01-31", shown)
        self.assertIn("sha256   ab12", shown)
        missing = self.ood("cert", "show", "x/../y")
        self.assertEqual(missing.status, 1)
        self.assertIn("ood cert list", missing.err)

    def test_add(self) -> None:
        """Paths are sent as absolute ones, since the service stands elsewhere."""
        self.ood("cert", "add", "x.example.pem", "/etc/x.key", "--chain", "ca.pem")
        files = self.desk.kept["x.example"].files
        here = Path.cwd()
        self.assertEqual(files, (f"{here}/x.example.pem", "/etc/x.key", f"{here}/ca.pem"))

    def test_renew_and_remove(self) -> None:
        """Both say what they did."""
        self.desk.put("shop.example")
        self.assertIn("2027-04-30", self.ood("cert", "renew", "shop.example").out)
        self.assertIn("2027-04-30", self.ood("cert", "revoke", "shop.example").out)
        self.assertIn("is removed", self.ood("cert", "remove", "shop.example").out)
        self.assertEqual(self.desk.kept, {})

    def test_help(self) -> None:
        """Every verb has help with an example."""
        for verb in ("list", "show", "add", "renew", "revoke", "remove"):
            self.assertIn(f"ood cert {verb}", self.ood("cert", verb, "--help").out)


class TermsTests(CliCase):
    """Whoever starts an app with a public name is asked once."""

    def setUp(self) -> None:
        super().setUp()
        start = self.controller.start
        self.certificate = AppCertificate(state="terms", trouble=("not accepted",))

        def waiting(status: AppStatus) -> AppStatus:
            return msgspec.structs.replace(status, certificate=self.certificate)

        self.controller.start = lambda name: start(name).addCallback(waiting)

    def start(self, answer: str) -> str:
        self.patch(sys, "stdin", Terminal(answer))
        return self.ood("start", "shop.example", terminal=True).out

    def agreed(self) -> bool | None:
        return self.controller.document.settings.acme_agree_tos

    def test_yes(self) -> None:
        """The answer is kept, and the next start does not ask."""
        self.assertIn("do you accept them?", self.start("y\n"))
        self.assertIs(self.agreed(), True)
        self.assertNotIn("accept", self.start(""))

    def test_no(self) -> None:
        """So is the other answer."""
        self.assertIn("acmeAgreeTos true", self.start("n\n"))
        self.assertIs(self.agreed(), False)
        self.assertNotIn("accept", self.start(""))

    def test_nobody_there(self) -> None:
        """A script is not asked, nor is anybody whose app needs none."""
        self.patch(sys, "stdin", io.StringIO(""))
        self.assertNotIn("accept them", self.ood("start", "shop.example", terminal=True).out)
        self.patch(sys, "stdin", Terminal(""))
        self.assertNotIn("accept them", self.ood("start", "shop.example").out)
        self.certificate = AppCertificate(state="none")
        self.assertNotIn("accept them", self.start(""))
        self.assertIsNone(self.agreed())

    def test_status(self) -> None:
        """ood status APP shows how HTTPS stands."""
        status = self.controller.status
        good = AppCertificate(
            state="partial",
            names=("shop.example",),
            not_after="2027-01-31T00:00:00Z",
            trouble=("www.shop.example: it does not resolve",),
        )
        self.controller.status = lambda name: [
            msgspec.structs.replace(one, certificate=good) for one in status(name)
        ]
        shown = self.ood("status", "shop.example").out
        self.assertIn("https       partial for shop.example until 2027-01-31", shown)
        self.assertIn("www.shop.example: it does not resolve", shown)
        self.assertIn("www.shop.example: it does not resolve", self.ood("status").out)
