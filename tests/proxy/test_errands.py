from __future__ import annotations

import msgspec

from ood.proxy.core.errand import BodyFilter, Errand, ResponseChange
from ood.proxy.core.forward import Peer
from ood.proxy.core.pages import Page
from ood.proxy.core.request import CHUNKED, Request
from ood.proxy.core.response import Response
from ood.proxy.sites import Sites
from tests.proxy.support import ProxyTestCase

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Old: 1\r\n\r\nhello"
HOST = b"Host: site.localhost\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKS = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


class AddField:
    """Adds a field, and touches nothing else."""

    def change(self, response: Response) -> tuple[Response, BodyFilter | None]:
        fields = response.fields.replace(b"X-Old: 1\r\n", b"") + b"X-New: 2\r\n"
        return msgspec.structs.replace(response, fields=fields), None


class Doubled:
    """Sends every byte twice, and says how many there were at the end."""

    def change(self, response: Response) -> tuple[Response, BodyFilter | None]:
        if not response.length:
            return response, None
        fields = response.fields.replace(b"Content-Length: 5\r\n", b"")
        return msgspec.structs.replace(response, fields=fields, length=CHUNKED), Doubling()


class Doubling:
    def __init__(self) -> None:
        self.size = 0

    def feed(self, data: bytes) -> bytes:
        self.size += len(data)
        return bytes(byte for one in data for byte in (one, one))

    def end(self) -> bytes:
        return b"=%d" % self.size


class ErrandTestCase(ProxyTestCase):
    def rule(
        self, *changes: ResponseChange, body_bytes_max: int | None = None, page: Page | None = None
    ) -> None:
        """Have every request be done so."""

        def decide(
            _: Sites, app: str, request: Request, peer: Peer, *, again: bool = False
        ) -> Errand | Page:
            self.assertFalse(again)
            return page or Errand(app, request, peer, changes, body_bytes_max)

        self.patch(Sites, "decide", decide)


class ChangeTests(ErrandTestCase):
    async def test_a_field(self) -> None:
        """A change of the fields reaches the client, and leaves the body as it is."""
        self.rule(AddField())
        client = await self.client()
        await self.exchange(client, GET, OK)
        answer = await client.until(b"hello")
        self.assertEqual(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-New: 2\r\n\r\nhello", answer)

    async def test_a_filter(self) -> None:
        """A body is rewritten as it passes, whatever its parts, and the connection goes on."""
        self.rule(Doubled(), AddField())
        client = await self.client()
        wire, _ = await self.exchange(client, GET, OK[:-3])
        self.assertIn(b"Transfer-Encoding: chunked\r\n", await client.until(b"\r\n\r\n"))
        await client.until(b"4\r\nhhee\r\n")
        wire.send(b"llo")
        self.assertEqual(b"8\r\nlllloo=5\r\n0\r\n\r\n", await client.until(b"0\r\n\r\n"))
        client.send(GET)
        await wire.until(b"\r\n\r\n")
        wire.send(OK)
        self.assertIn(b"\r\n\r\n" + b"c\r\nhheelllloo=5\r\n", await client.until(b"=5\r\n"))

    async def test_a_filter_in_one_go(self) -> None:
        """An answer that comes whole is rewritten whole, for HTTP/1.0 up to the end."""
        self.rule(Doubled())
        client = await self.client()
        await self.exchange(client, b"GET / HTTP/1.0\r\n" + HOST + b"\r\n", OK)
        self.assertTrue((await client.end()).endswith(b"close\r\n\r\nhheelllloo=5"))

    async def test_no_body(self) -> None:
        """The answer to HEAD goes past a filter that leaves it alone."""
        self.rule(Doubled())
        client = await self.client()
        await self.exchange(client, GET.replace(b"GET", b"HEAD"), OK[:-5])
        self.assertIn(b"Content-Length: 5\r\n", await client.until(b"\r\n\r\n"))
        await self.settle()
        self.assertEqual(b"", client.data)

    async def test_a_page(self) -> None:
        """A rule that answers itself leaves the connection to the next request."""
        self.rule(page=Page(404, "No."))
        client = await self.client()
        client.send(GET)
        await client.until(b"No.\n")
        client.send(GET)
        await client.until(b"No.\n")
        self.assertEqual(0, self.pool.connects)


class LargeBodyTests(ErrandTestCase):
    async def test_a_length(self) -> None:
        """A body that says it is too long is refused, and its client gets to read that."""
        self.rule(body_bytes_max=10)
        client = await self.client()
        client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\n")
        client.send(b"x" * 1_000_000)
        answer = await client.end()
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 Content Too Large\r\n"))
        self.assertIn(b"Connection: close\r\n", answer)
        self.assertFalse(client.reset)
        self.assertEqual(0, self.pool.connects)

    async def test_a_length_that_fits(self) -> None:
        """The longest body is taken."""
        self.rule(body_bytes_max=10)
        client = await self.client()
        request = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n0123456789"
        await self.exchange(client, request, OK)
        await client.until(b"hello")

    async def test_chunks(self) -> None:
        """Chunks are counted: the upstream is dropped as soon as there are too many bytes."""
        self.rule(body_bytes_max=10)
        client = await self.client()
        client.send(CHUNKS + b"a\r\n0123456789\r\n")
        wire = await self.backend.next()
        await wire.until(b"789\r\n")
        client.send(b"1\r\nx\r\n")
        self.assertTrue((await client.end()).startswith(b"HTTP/1.1 413 "))
        await wire.end()

    async def test_chunks_after_the_reply(self) -> None:
        """Once an answer has begun, there is none to send: the connection is cut."""
        self.rule(body_bytes_max=10)
        client = await self.client()
        client.send(CHUNKS + b"a\r\n0123456789\r\n")
        wire = await self.backend.next()
        await wire.until(b"789\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n")
        await client.until(b"!\r\n")
        client.send(b"1\r\nx\r\n")
        self.assertEqual(b"", await client.end())
        await wire.end()

    async def test_broken_chunks_after_the_reply(self) -> None:
        """A page is never put into the middle of an answer."""
        client = await self.client()
        client.send(CHUNKS)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n")
        await client.until(b"!\r\n")
        client.send(b"no size\r\n")
        self.assertEqual(b"", await client.end())
        await wire.end()
