"""``ood notify`` against an API in memory."""

from __future__ import annotations

import json

from tests.cli.support import CliCase

HOOK = "https://hooks.example/T0/verysecret"


class NotifyTests(CliCase):
    """The command."""

    def set_targets(self, *targets: object) -> str:
        result = self.ood("config", "--set", "notify", json.dumps(targets))
        self.assertEqual(result.status, 0, result.err)
        return result.out

    def test_shown(self) -> None:
        """Targets are shown; of a webhook only the host."""
        self.assertIn("Nobody is told", self.ood("notify").out)
        out = self.set_targets({"webhook": HOOK}, {"command": ["/bin/page"], "events": ["death"]})
        out += self.ood("notify").out + self.ood("config", "--get", "notify").out
        out += self.ood("config", "--get", "--json").out
        self.assertEqual(out.count("https://hooks.example/***"), 4)
        self.assertEqual(out.count("/bin/page"), 4)
        self.assertNotIn("verysecret", out)

    def test_written_back(self) -> None:
        """What was shown can be changed and written back."""
        self.set_targets({"webhook": HOOK})
        (target,) = self.ood("notify", "--json").value["targets"]
        self.set_targets({**target, "apps": ["shop.example"]}, {"command": ["x"]})
        stored, _ = self.controller.document.settings.notify
        self.assertEqual((stored.webhook, stored.apps), (HOOK, ("shop.example",)))

    def test_tested(self) -> None:
        """Each target with what came of it; a failure is one of the command."""
        result = self.ood("notify", "--test")
        self.assertEqual((result.status, "no target" in result.err), (1, True))
        self.set_targets({"webhook": HOOK})
        self.assertEqual(self.ood("notify", "--test").status, 0)
        self.set_targets({"webhook": HOOK}, {"command": ["/bin/fail"]})
        result = self.ood("notify", "--test")
        self.assertEqual(result.status, 1)
        self.assertIn("/bin/fail: exited with status 1", result.out)
        self.assertIn("1 of 2 targets", result.err)
