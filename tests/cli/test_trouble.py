"""What a command says that worked only in part, or can't be sent."""

from __future__ import annotations

import os

from tests.cli.support import CliCase


class TroubleTests(CliCase):
    """Trouble is told by the command that meets it."""

    def test_trouble(self) -> None:
        """A port that somebody else has is told wherever it matters, and only as text."""
        self.controller.trouble = ("port 3005 is in use",)
        for line in (
            "start shop.example",
            "status",
            "status shop.example",
            "config -a shop.example -s port 3005",
        ):
            self.assertIn("port 3005 is in use", self.ood(*line.split()).out, line)
        result = self.ood("--json", "config", "-a", "shop.example", "-s", "port", "3006")
        self.assertEqual(result.value["port"], 3006)

    def test_no_text(self) -> None:
        """Bytes that are no UTF-8 are named, wherever they are."""
        for line in (
            ["start", "a\udcff"],
            ["config", "-a", "shop.example", "-s", "env.A", "\udcff"],
        ):
            result = self.ood(*line)
            self.assertEqual(result.status, 2, result.err)
            self.assertIn("is not UTF-8: '", result.err)
            self.assertIn("\\udcff'", result.err)
        directory = os.path.abspath(self.mktemp()) + "\udcff"
        os.makedirs(directory)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(directory)
        result = self.ood("init", "other", "--script", "/bin/sh")
        self.assertEqual(result.status, 1)
        self.assertIn("not UTF-8: ", result.err)
