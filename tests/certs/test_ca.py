"""The CA in memory keeps to what real ones do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from ood.certs.client import Client
from ood.certs.errors import AcmeError
from ood.certs.http import Reply
from ood.certs.jose import AccountKey
from ood.certs.pem import new_key
from ood.certs.responders import HttpResponder
from ood.certs.session import Session
from ood.clock import MonotonicClock
from tests.certs.ca import BASE, MemoryCa
from tests.certs.contract import NAMES, CaContract


class MemoryTests(CaContract, TestCase):
    """The contract, over memory."""

    timeout = 30

    def setUp(self) -> None:
        self.clock: Any = MonotonicClock(reactor)
        self.ca = MemoryCa(self.clock)
        self.http = HttpResponder()

    def client(self) -> Client:
        key = AccountKey.generate()
        session = Session(self.ca, self.clock, self.ca.now, f"{BASE}/dir", key)
        return Client(session, self.clock)

    def spoil(self, name: str) -> None:
        self.ca.bad.add(name)

    async def test_another_name(self) -> None:
        """A CA does not choose which name is proved, and so what is written into the DNS."""
        honest = self.ca._authz

        def lying(rest: str, payload: Any) -> Reply:
            reply = honest(rest, payload)
            return replace(reply, body=reply.body.replace(NAMES[0].encode(), b"bank.example"))

        self.patch(self.ca, "_authz", lying)
        with self.assertRaises(AcmeError) as caught:
            await self.client().issue(NAMES[:1], new_key(), [self.http])
        self.assertIn("not asked for", caught.exception.message)
        self.assertEqual(self.ca.chosen, [])
