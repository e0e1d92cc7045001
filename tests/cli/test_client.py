"""The API's client on a real socket: what it says of a service that says nothing."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from ood.cli.access import Access
from ood.cli.client import connect
from ood.errors import UnavailableError


class SilentTests(TestCase):
    """A service that is there and does not answer."""

    async def ask(self) -> str:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            access = Access(Path("/home/of/ood"), sock.getsockname()[1], "token")
            try:
                await connect(reactor, access).ask("GET", "/version", timeout=0.05)
            except UnavailableError as error:
                return error.message
        return ""

    async def check(self) -> None:
        self.assertEqual(await self.ask(), "ood does not answer in time")

    def test_silent(self) -> Deferred[None]:
        """It is told from one that breaks off."""
        return Deferred.fromCoroutine(self.check())
