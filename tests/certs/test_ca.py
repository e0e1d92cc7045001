"""The CA in memory keeps to what real ones do."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from ood.certs.client import Client
from ood.certs.jose import AccountKey
from ood.certs.responders import HttpResponder
from ood.certs.session import Session
from ood.clock import MonotonicClock
from tests.certs.ca import BASE, MemoryCa
from tests.certs.contract import CaContract


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
