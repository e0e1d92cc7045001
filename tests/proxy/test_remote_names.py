"""Servers that ood does not run: their names, looked up again and again."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from ood.errors import UnavailableError, WorkerError
from ood.model.upstreams import parse_address
from ood.proxy import remoteapp
from ood.proxy.names import Address, look_up
from tests.proxy.remotes import GET, OK, RemoteTestCase


class Resolver:
    """Answers look-ups as a test says."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[Deferred[tuple[Address, ...]]] = []

    def look_up(self, _: object, place: Any) -> Deferred[tuple[Address, ...]]:
        self.asked.append(place.host)
        answer: Deferred[tuple[Address, ...]] = Deferred()
        self.answers.append(answer)
        return answer


class NameTests(RemoteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.resolver = Resolver()
        self.patch(remoteapp, "look_up", self.resolver.look_up)

    def found(self, address: str) -> tuple[Address, ...]:
        host, _, port = address.rpartition(":")
        return (Address(socket.AF_INET, (host, int(port))),)

    async def test_a_name(self) -> None:
        """Requests wait for the first look-up; later ones move them, failed ones don't."""
        (one, first), (two, second) = self.server(), self.server()
        self.upstreams("api.example:80")
        client = await self.client()
        client.send(GET)
        await self.settle()
        self.assertEqual(["api.example"], self.resolver.asked)
        self.resolver.answers.pop().callback(self.found(first))
        wire = await one.next()
        await wire.until(b"\r\n\r\n")
        wire.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await client.until(b"ok")
        self.advance(30)
        self.resolver.answers.pop().callback(())
        client.send(GET)
        wire = await one.next()
        await wire.until(b"\r\n\r\n")
        wire.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await client.until(b"ok")
        self.advance(30)
        self.resolver.answers.pop().callback(self.found(second))
        client.send(GET)
        await self.answered(two, client)

    async def test_no_such_name(self) -> None:
        """A name that can't be looked up is the reason that the app does not start."""
        self.upstreams("api.example:80")
        settled = self.remotes.settled("site")
        waiting = self.remotes.when_available("site")
        self.resolver.answers.pop().callback(())
        error = await self.assertFailure(settled, WorkerError)
        self.assertIn("api.example can't be looked up", str(error))
        await self.assertFailure(waiting, UnavailableError)
        self.advance(30)
        _, address = self.server()
        self.resolver.answers.pop().callback(self.found(address))
        self.assertEqual("online", self.remotes.status("site").state)


class ResolvingTests(TestCase):
    async def test_localhost(self) -> None:
        """Twisted's resolver looks names up, in a thread."""
        found = await look_up(reactor, parse_address("localhost:80"))
        self.assertIn(("127.0.0.1", 80), [one.where for one in found])
