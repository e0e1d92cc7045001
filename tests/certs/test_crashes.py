"""Crashes in the middle of orders, damaged files, and accounts that are forgotten."""

from __future__ import annotations

from pathlib import Path

from ood.certs.errors import AcmeError
from tests.certs.ca import Machine
from tests.certs.test_issuing import HOUR, NAME, IssuingCase


class CrashTests(IssuingCase):
    """The machine dies at every request of an order, and comes back."""

    def test_at_every_step(self) -> None:
        """Nothing is lost, and at most one order more is placed."""
        self.machine.start(NAME)
        self.machine.turn(10)
        steps = len(self.ca.requests)
        self.assertGreater(steps, 8)
        for step in range(1, steps + 1):
            directory = Path(self.mktemp()).absolute()
            machine = Machine(directory)
            machine.ca.crash = step
            machine.start(NAME)
            machine.turn(10)
            self.assertEqual(machine.service.held, {}, step)
            for call in machine.clock.getDelayedCalls():
                call.cancel()
            machine.ca.crash = None
            machine.http._answers.clear()
            machine.start(NAME)
            machine.turn(10)
            self.assertEqual(list(machine.service.held), [NAME], step)
            # between the CA's and our knowledge of an order there is always a moment
            placed = len(machine.ca.asked("place"))
            self.assertLessEqual(placed, 2, step)
            if placed == 2:
                self.assertIn("place", [one for one, _ in machine.ca.requests[:step]])
                self.assertEqual(machine.ca.requests[step - 1][0], "place")
            self.assertEqual(machine.http._answers, {})

    def test_kept_and_not_noted(self) -> None:
        """A crash right after the certificate was kept: its order is not gone on with."""
        self.ca.looks = 10_000
        self.machine.start(NAME)
        order = self.directory / "orders" / f"{NAME}.json"
        self.machine.turn(5)
        placed = order.read_bytes()
        self.ca.looks = 1
        self.machine.turn(30)
        self.assertFalse(order.exists())
        self.successResultOf(self.machine.service.stopService())
        (self.directory / "journal.json").unlink()
        order.write_bytes(placed)
        before = self.pem()
        service = self.machine.start(NAME)
        self.assertFalse(order.exists())
        self.assertEqual(service.journal.entry(NAME).terms, service.terms)
        asked = service.issue_cert(NAME)
        self.machine.turn(10)
        self.successResultOf(asked)
        self.assertNotEqual(self.pem(), before)
        self.assertEqual(len(self.ca.orders), 2)

    def test_forgotten_order(self) -> None:
        """An order that the CA knows no more is begun anew."""
        self.ca.looks = 10_000
        self.machine.start(NAME)
        self.machine.turn(5)
        self.successResultOf(self.machine.service.stopService())
        self.assertEqual(len(list((self.directory / "orders").iterdir())), 1)
        self.ca.looks = 1
        self.ca.refusals["order"] = [(404, "malformed", {})]
        self.machine.start(NAME)
        self.machine.turn(10)
        self.assertIn(NAME, self.machine.service.held)
        self.assertEqual(len(self.ca.orders), 2)

    def test_disk(self) -> None:
        """A disk that does not take the certificate: the same order is gone on with later."""
        blocked = self.directory / "acme" / f"{NAME}.pem"
        blocked.mkdir(parents=True)
        self.machine.start(NAME)
        asked = self.machine.service.issue_cert(NAME)
        self.machine.turn(10)
        self.failureResultOf(asked, AcmeError)
        problem = self.machine.service.journal.entry(NAME).problem
        self.assertIn("can't be kept", problem)
        blocked.rmdir()
        self.machine.turn(HOUR)
        self.assertIn(NAME, self.machine.service.held)
        self.assertEqual(len(self.ca.orders), 1)

    def test_damaged_files(self) -> None:
        """Records that a disk has spoilt are put aside; the certificate is got anew."""
        self.machine.start(NAME)
        self.machine.turn(10)
        self.successResultOf(self.machine.service.stopService())
        (self.directory / "journal.json").write_bytes(b"{")
        (self.directory / "acme" / f"{NAME}.pem").write_bytes(b"rubbish")
        (self.directory / "orders" / f"{NAME}.json").write_bytes(b"\0")
        self.machine.start(NAME)
        self.machine.turn(10)
        self.assertIn(NAME, self.machine.service.held)
        self.assertTrue((self.directory / "journal.json.damaged").exists())


class AccountTests(IssuingCase):
    """The account at the CA."""

    def test_forgotten(self) -> None:
        """A CA that has forgotten the account gets it again."""
        self.machine.start(NAME)
        self.machine.turn(10)
        self.ca.refusals["place"] = [(400, "accountDoesNotExist", {})]
        asked = self.machine.service.issue_cert(NAME)
        self.machine.turn(10)
        self.successResultOf(asked)
        self.assertEqual(len(self.ca.asked("account")), 2)
