from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import psutil
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest

from ood.clock import MonotonicClock
from ood.net.listen import bind
from ood.proxy.edge import ReverseProxy
from ood.testing.workerpool import FakeWorkerPool
from tests.proxy.support import LOOPBACK, ProxyTestCase, Wire

BACKEND = Path(__file__).with_name("proxy_backend.cjs")
MEGABYTE = 1_000_000
PAUSING_CLIENTS = 21
HOST = b"Host: site.localhost\r\n"


class Node(ProcessProtocol):
    """A Node process whose lines a test reads."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.exited: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.wire.dataReceived(data)

    def processEnded(self, reason: Failure) -> None:
        reason.trap(ProcessTerminated)
        self.exited.callback(None)

    def kill(self) -> Deferred[None]:
        assert self.transport is not None
        self.transport.signalProcess("KILL")
        return self.exited


class NodeTests(ProxyTestCase):
    """The proxy before a real Node server, over pipes and in real time."""

    timeout = 240

    async def setUp(self) -> None:  # type: ignore[override]
        node = shutil.which("node")
        if node is None:
            raise SkipTest("there is no node")
        self.node = Node()
        where = str(Path(tempfile.mkdtemp()) / "s") if self.pipe else "0"
        reactor.spawnProcess(self.node, node, [node, str(BACKEND), where], env=None)
        self.addCleanup(self.node.kill)
        line = await self.node.wire.until(b"\n")
        address = where if self.pipe else (LOOPBACK, int(line.split()[1]))
        self.pool = FakeWorkerPool()
        self.pool.add("site", address)
        http = bind(LOOPBACK, 0, what="test")
        self.port = http.getsockname()[1]
        self.proxy = ReverseProxy(reactor, MonotonicClock(reactor), self.pool, [http])
        self.converge("site")
        self.proxy.startService()
        self.addCleanup(self.stop)

    async def stop(self) -> None:
        await self.proxy.stopService()

    async def get(self, client: Wire, path: str, fields: bytes = b"") -> bytes:
        """Return the body of an answer that has a length."""
        client.send(b"GET /%b HTTP/1.1\r\n%b%b\r\n" % (path.encode(), HOST, fields))
        return await self.body(client)

    async def body(self, client: Wire) -> bytes:
        head = (await client.until(b"\r\n\r\n")).lower()
        self.assertIn(b" 200 ", head)
        if b"content-length: " in head:
            return await client.take(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        body = b""
        while size := int(await client.until(b"\r\n"), 16):
            body += await client.take(size)
            await client.take(2)
        await client.take(2)
        return body

    async def test_keep_alive(self) -> None:
        """A client's requests use one upstream connection, as long as nobody else needs it."""
        client = await self.client()
        for number in range(20):
            headers = json.loads(await self.get(client, "", b"X-Number: %d\r\n" % number))
            self.assertEqual(str(number), headers["x-number"])
            told = headers.get("x-forwarded-for") or headers["x-ood-peer"]
            self.assertEqual("127.0.0.1", told.split()[0])
        self.assertLessEqual(self.pool.connects, 3)

    async def test_pauses_of_five_seconds(self) -> None:
        """Node closes an idle connection after 5 s: no request that comes just then is lost,
        not even one that may not be repeated.
        """
        clients = [await self.client() for _ in range(PAUSING_CLIENTS)]
        await DeferredList(
            [
                Deferred.fromCoroutine(self.pausing(client, 4.9 + 0.2 * number / PAUSING_CLIENTS))
                for number, client in enumerate(clients)
            ],
            fireOnOneErrback=True,
        )

    async def pausing(self, client: Wire, pause: float) -> None:
        for number in range(3):
            if number:
                await deferLater(reactor, pause)
            client.send(b"POST /count HTTP/1.1\r\n%bContent-Length: 2\r\n\r\nhi" % HOST)
            self.assertEqual(b"2", await self.body(client))

    async def test_a_large_answer(self) -> None:
        """100 MB pass through a proxy whose memory does not grow with them."""
        size = 100 * MEGABYTE
        client = await self.client()
        before = psutil.Process().memory_info().rss
        client.send(b"GET /big/%d HTTP/1.1\r\n%b\r\n" % (size, HOST))
        await client.until(b"\r\n\r\n")
        for _ in range(100):
            await client.take(MEGABYTE)
        self.assertLess(psutil.Process().memory_info().rss - before, 30 * MEGABYTE)

    async def test_a_large_request(self) -> None:
        """An upload is counted by the app to the last byte."""
        size = 20 * MEGABYTE
        client = await self.client()
        client.send(b"POST /count HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (HOST, size))
        client.send(bytes(size))
        self.assertEqual(str(size).encode(), await self.body(client))

    async def test_echo_while_sending(self) -> None:
        """An answer that comes while the request is still being sent passes at once."""
        client = await self.client()
        client.send(b"POST /echo HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % HOST)
        client.send(b"4\r\nping\r\n")
        self.assertIn(b"Transfer-Encoding: chunked", await client.until(b"\r\n\r\n"))
        self.assertEqual(b"4\r\nping\r\n", await client.take(9))
        client.send(b"0\r\n\r\n")
        self.assertEqual(b"0\r\n\r\n", await client.take(5))

    async def test_trailers(self) -> None:
        client = await self.client()
        client.send(b"GET /trailers HTTP/1.1\r\n%b\r\n" % HOST)
        self.assertTrue(
            (await client.until(b"X-Sum: 1\r\n\r\n")).endswith(b"0\r\nX-Sum: 1\r\n\r\n")
        )

    async def test_an_aborted_request(self) -> None:
        """The app learns that its client is gone."""
        client = await self.client()
        client.send(b"GET /hang HTTP/1.1\r\n%b\r\n" % HOST)
        await self.node.wire.until(b"hanging\n")
        client.abort()
        await self.node.wire.until(b"closed\n")

    async def test_a_websocket(self) -> None:
        """What comes with the handshake and after it is echoed."""
        client = await self.client()
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        client.send(b"GET / HTTP/1.1\r\n" + HOST + upgrade + key + b"\r\nearly")
        head = await client.until(b"\r\n\r\n")
        self.assertIn(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", head)
        self.assertEqual(b"early", await client.take(5))
        client.send(b"later" * 100_000)
        self.assertEqual(b"later" * 100_000, await client.take(500_000))

    async def test_many_short_connections(self) -> None:
        """Connections of one request each are all answered, over few pipes."""
        for _ in range(300):
            client = await self.client()
            client.send(b"GET / HTTP/1.1\r\n%bConnection: close\r\n\r\n" % HOST)
            self.assertIn(b" 200 OK", await client.end())
            self.assertFalse(client.reset)
        self.assertLess(self.pool.connects, 20)


class NodeTcpTests(NodeTests):
    """The same over TCP, as for apps that are not Node."""

    pipe = False
