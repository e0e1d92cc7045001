"""``ood maintenance`` and ``ood password``."""

from __future__ import annotations

import io
import sys

from ood.model import passwords
from ood.model.passwords import verify
from ood.model.rules import HOLD_MS_MAX, Maintenance
from tests.cli.support import CliCase


class MaintenanceTests(CliCase):
    @property
    def state(self) -> Maintenance | None:
        return self.controller.document.apps["shop.example"].maintenance

    def test_on_and_off(self) -> None:
        """It begins and ends; what is said tells how to end it."""
        result = self.ood("maintenance", "shop.example", "on", "--message", "Soon.", "--hold", "30")
        self.assertEqual(0, result.status, result.err)
        self.assertIn("ood maintenance shop.example off", result.out)
        self.assertEqual(Maintenance("Soon.", 30_000), self.state)
        self.assertEqual(0, self.ood("maintenance", "shop.example", "on", "--hold", "1m").status)
        self.assertEqual(Maintenance("", 60_000), self.state)
        self.assertIn("answers again", self.ood("maintenance", "shop.example", "off").out)
        self.assertIsNone(self.state)

    def test_json(self) -> None:
        result = self.ood("--json", "maintenance", "shop.example", "on")
        self.assertEqual("shop.example", result.value["name"])

    def test_refused(self) -> None:
        """What is wrong is said, and nothing has begun."""
        for arguments, words in (
            (("shop.example", "on", "--hold", "soon"), "not a duration"),
            (("shop.example", "on", "--hold", f"{HOLD_MS_MAX + 1}ms"), "longer than"),
            (("shop.example", "on", "--message", "x" * 501), "message"),
            (("shop.example", "off", "--message", "x"), "go with on"),
            (("nobody", "on"), "no app nobody"),
        ):
            result = self.ood("maintenance", *arguments)
            self.assertNotEqual(0, result.status)
            self.assertIn(words, result.err)
        self.assertIsNone(self.state)

    def test_not_by_config(self) -> None:
        result = self.ood("config", "-a", "shop.example", "-s", "maintenance", "{}")
        self.assertIn("use ood maintenance", result.err)


class PasswordTests(CliCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(passwords, "COST_LOG2", 10)

    @property
    def users(self) -> dict[str, str]:
        return dict(self.controller.document.apps["shop.example"].basic_auth)

    def type(self, text: str) -> None:
        self.patch(sys, "stdin", io.StringIO(text))

    def test_set_and_remove(self) -> None:
        """Only a hash is sent; each time another one."""
        self.type("s3cret\n")
        result = self.ood("password", "shop.example", "ann.b")
        self.assertEqual(0, result.status, result.err)
        first = self.users["ann.b"]
        self.assertTrue(verify(first, b"s3cret"))
        self.assertFalse(verify(first, b"s3cret\n"))
        self.type("s3cret")
        self.ood("password", "shop.example", "ann.b")
        self.assertNotEqual(first, self.users["ann.b"])
        result = self.ood("password", "shop.example", "ann.b", "--remove")
        self.assertIn("open to everybody", result.out)
        self.assertEqual({}, self.users)

    def test_refused(self) -> None:
        for text in ("", "\n", "x" * 513):
            self.type(text)
            result = self.ood("password", "shop.example", "ann")
            self.assertIn("is empty or too long", result.err)
        result = self.ood("password", "shop.example", "ann", "--remove")
        self.assertIn("there is no user ann", result.err)
        self.type("x")
        self.assertIn("can't name a user", self.ood("password", "shop.example", "a:b").err)
