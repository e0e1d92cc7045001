"""What is said beside a result: contradictions, what holds only later, why nothing is shown."""

from __future__ import annotations

from tests.cli.support import CliCase


class RemarkTests(CliCase):
    def test_one_kind(self) -> None:
        """An app is a program, files, or servers elsewhere."""
        for line, text in (
            ("--static . --upstream http://10.0.0.5", "--static and --upstream don't go together"),
            ("--upstream http://10.0.0.5 --script a.js", "--upstream and --script don't"),
            ("--static . --instances 2 --env A=B", "--static and --instances and --env don't"),
        ):
            result = self.ood("init", "new.example", *line.split())
            self.assertEqual(result.status, 2)
            self.assertIn(text, result.err)

    def test_nothing_logged(self) -> None:
        """A person is told why there are no lines; a program gets none."""
        for line, text in (
            ("log shop.example", "Nothing has been written yet."),
            ("log shop.example --access", "ood config -a shop.example -s accessLog combined"),
        ):
            self.assertIn(text, self.ood(*line.split(), terminal=True).err)
            result = self.ood(*line.split())
            self.assertEqual((result.out, result.err), ("", ""))

    def test_late_settings(self) -> None:
        """What holds only from the next start of the service is said."""
        out = self.ood("config", "-s", "httpPort", "8081", "-s", "acmeEmail", "a@b.example").out
        self.assertIn("httpPort is kept, and holds from the next start of the service", out)
        self.assertNotIn("acmeEmail is kept", out)
