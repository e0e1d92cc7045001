"""The API on a real loopback socket: logs that are followed, and the end."""

from __future__ import annotations

import json
import socket

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from ood.api import service
from ood.api.follow import BACKLOG_BYTES_MAX
from ood.api.handlers import FOLLOWERS_MAX
from ood.api.service import ApiService
from ood.api.site import make_site
from ood.testing.controller import MemoryController
from tests.api.support import TOKEN

LOG = "/api/v1/apps/shop.example/log?follow=true"


class Client(Protocol):
    """Collects what the server sends."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Deferred[None] = Deferred()
        self._waiting: list[tuple[bytes, Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        for entry in tuple(self._waiting):
            if entry[0] in self.received:
                self._waiting.remove(entry)
                entry[1].callback(None)

    def until(self, text: bytes) -> Deferred[None]:
        """Fire when ``text`` has come."""
        arrived: Deferred[None] = Deferred()
        self._waiting.append((text, arrived))
        self.dataReceived(b"")
        return arrived

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost.callback(None)

    def ask(self, method: str, path: str, port: int) -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        head += f"Authorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n"
        self.transport.write(head.encode())


class ServiceTests(TestCase):
    """A service that listens, serves and ends."""

    async def _start(self) -> None:
        self.controller = MemoryController()
        await self.controller.init("shop.example", {"cwd": "/srv/shop"})
        self.clock = Clock()
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        site = make_site(self.controller, TOKEN, reactor=self.clock)
        self.service = ApiService(site, sock, reactor, self.clock)
        self.service.startService()
        self.clients: list[Client] = []

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._start())

    async def _end(self) -> None:
        for client in self.clients:
            client.transport.abortConnection()
            if not client.lost.called:
                await client.lost
        if self.service.running:
            await self.service.stopService()

    def tearDown(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._end())

    async def connect(self) -> Client:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)
        client = await connectProtocol(endpoint, Client())
        self.clients.append(client)
        return client

    async def follow(self) -> Client:
        client = await self.connect()
        client.ask("GET", LOG, self.port)
        await client.until(b"\r\n\r\n")
        return client

    async def test_follow(self) -> None:
        """Past lines come first, then new ones at once; a reader that leaves is forgotten."""
        self.controller.log("shop.example", "old")
        client = await self.follow()
        await client.until(b'"old"')
        self.assertIn(b"application/x-ndjson", client.received)
        self.controller.log("shop.example", "new\x1b\nline")
        await client.until(b"line")
        [line] = [text for text in client.received.split(b"\r\n") if b"new" in text]
        self.assertEqual(json.loads(line)["text"], "new\x1b\nline")
        self.assertEqual(self.controller.followers, 1)
        client.transport.loseConnection()
        await client.lost
        self.clients.remove(client)
        await self._until(lambda: self.controller.followers == 0)

    async def test_stream_filter(self) -> None:
        """Only lines of the stream that was asked for are sent."""
        client = await self.connect()
        client.ask("GET", f"{LOG}&stream=err&lines=0", self.port)
        await client.until(b"\r\n\r\n")
        self.controller.log("shop.example", "to out", "out")
        self.controller.log("shop.example", "to err", "err")
        await client.until(b"to err")
        self.assertNotIn(b"to out", client.received)

    async def test_stop_ends_follow(self) -> None:
        """When the service stops, a followed log ends like any complete answer."""
        client = await self.follow()
        await self.service.stopService()
        await client.lost
        self.clients.remove(client)
        self.assertTrue(client.received.endswith(b"0\r\n\r\n"), client.received[-99:])
        self.assertEqual(self.controller.followers, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_deployer_leaves(self) -> None:
        """A deployment is cancelled when nobody listens to it any more."""
        self.controller.held = []
        client = await self.connect()
        head = f"POST /api/v1/apps/shop.example/deploy HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
        head += f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
        client.transport.write(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
        await client.until(b"installing")
        ended: list[bool] = []
        self.controller.held[0].addBoth(lambda _: ended.append(True))
        client.transport.loseConnection()
        await client.lost
        self.clients.remove(client)
        await self._until(lambda: ended)
        self.assertEqual(self.controller.calls, [("init", "shop.example")])

    async def test_stop_answers_commands(self) -> None:
        """When the service stops, a command that waits is answered before the end."""
        self.controller.held = []
        client = await self.connect()
        client.ask("POST", "/api/v1/apps/shop.example/start", self.port)
        await self._until(lambda: bool(self.controller.held))
        await self.service.stopService()
        await client.lost
        self.clients.remove(client)
        self.assertIn(b"HTTP/1.1 503", client.received)
        self.assertIn(b"ood is stopping", client.received)
        self.controller.held[0].callback(None)

    async def test_stop_with_idle_connection(self) -> None:
        """A connection that says nothing does not hold the service up."""
        client = await self.connect()
        await self.service.stopService()
        await client.lost
        self.clients.remove(client)

    async def test_stop_cuts_who_does_not_read(self) -> None:
        """A reader that takes nothing is cut off after a while."""
        client = await self._stuck()
        stopped = self.service.stopService()
        await self._turns(20)
        self.assertFalse(stopped.called)
        self.clock.advance(3)
        await stopped
        client.transport.resumeProducing()

    async def test_slow_reader_misses_lines(self) -> None:
        """A reader that falls too far behind is told how much it missed, and then goes on."""
        client = await self._stuck()
        line, count = "x" * 65536, BACKLOG_BYTES_MAX // 65536 + 5
        for _ in range(count):
            self.controller.log("shop.example", line)
        client.transport.resumeProducing()
        await client.until(b"the log has them")
        self.controller.log("shop.example", "afterwards")
        await client.until(b"afterwards")
        told = [text for text in client.received.split(b"\r\n") if text.startswith(b"{")]
        late = [json.loads(text) for text in told if b'"afterwards"' not in text]
        *held, missed = late[late.index(next(one for one in late if one["text"] == line)) :]
        number = int(missed["text"].split()[0])
        self.assertEqual((missed["stream"], missed["instance"]), ("ood", -1))
        self.assertGreater(number, 4)
        self.assertEqual(len(held) + number, count)

    async def test_slow_reader_gets_the_end(self) -> None:
        """What an answer ends with, as how a deployment went, reaches even a slow reader."""
        client = await self._stuck()
        [follower] = self.service._site.api._handlers._followers
        for _ in range(BACKLOG_BYTES_MAX // 65536 + 5):
            follower.send("x" * 65536)
        follower.end({"app": "runs"})
        client.transport.resumeProducing()
        await client.until(b"0\r\n\r\n")
        self.assertIn(b'{"app":"runs"}', client.received[-99:])

    async def test_slow_reader_catches_up(self) -> None:
        """A reader that pauses for less gets every line, in order."""
        client = await self._stuck()
        for number in range(3):
            self.controller.log("shop.example", f"late {number}")
        client.transport.resumeProducing()
        await client.until(b"late 2")
        late = [client.received.index(b"late %d" % number) for number in range(3)]
        self.assertEqual(late, sorted(late))

    async def test_followers_bounded(self) -> None:
        """Only so many logs are followed at once."""
        for _ in range(FOLLOWERS_MAX):
            await self.follow()
        client = await self.connect()
        client.ask("GET", LOG, self.port)
        await client.until(b"\r\n\r\n")
        self.assertTrue(client.received.startswith(b"HTTP/1.1 503"), client.received)

    async def test_the_silent_give_way(self) -> None:
        """Connections that say nothing lock nobody out, and who works is not cut off for them."""
        self.patch(service, "CONNECTIONS_MAX", 3)
        follower = await self.follow()
        silent = [await self.connect() for _ in range(4)]
        client = await self.connect()
        client.ask("GET", "/api/v1/apps", self.port)
        await client.until(b"HTTP/1.1 200")
        await silent[2].lost
        self.assertEqual([one.lost.called for one in silent], [True, True, True, False])
        self.controller.log("shop.example", "still there")
        await follower.until(b"still there")

    async def test_all_at_work(self) -> None:
        """When every connection has a request in progress, one more is refused."""
        self.patch(service, "CONNECTIONS_MAX", 1)
        await self.follow()
        client = await self.connect()
        await client.lost

    async def _stuck(self) -> Client:
        """Return a follower that reads nothing, with the kernel's buffers full."""
        client = await self.follow()
        client.transport.pauseProducing()
        handlers = self.service._site.api._handlers
        [follower] = handlers._followers
        line = "y" * 65536
        while not follower._paused:
            self.controller.log("shop.example", line)
            # What the kernel still takes lets the follower go on within these.
            await self._turns(5)
        return client

    async def _turns(self, count: int) -> None:
        """Let the reactor go round ``count`` times."""
        for _ in range(count):
            turn: Deferred[None] = Deferred()
            reactor.callLater(0, turn.callback, None)
            await turn

    async def _until(self, condition: object) -> None:
        """Let the reactor go round until ``condition()``; trial's timeout ends it."""
        while not condition():
            await self._turns(1)
