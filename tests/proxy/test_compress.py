"""Compressed answers: only where they are right, and never late."""

from __future__ import annotations

import gzip
import zlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from ood.model.document import App, Document
from ood.proxy.core.compress import LEAST_BYTES, CompressedBody, Compression, coders
from ood.proxy.core.request import CHUNKED, Request, parse_request
from ood.proxy.core.response import Response, parse_response
from tests.proxy.support import ProxyTestCase
from tests.support.ports import free_port

TEXT = b"All work and no play makes Jack a dull boy.\n" * 100


def request(accept: str = "gzip", method: str = "GET") -> Request:
    head = f"{method} / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {accept}\r\n\r\n"
    parsed = parse_request(head.encode("latin-1"))
    assert parsed is not None
    return parsed


def response(*fields: str, status: int = 200, length: int | None = 5000) -> Response:
    lines = [*fields] if length is None else [*fields, f"Content-Length: {length}"]
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} X", *lines))
    parsed = parse_response(head.encode() + b"\r\n", to_head=False)
    assert parsed is not None
    return parsed


HTML = "Content-Type: text/html; charset=utf-8"


class DecisionTests(SynchronousTestCase):
    """What is compressed, and what the fields say then."""

    def coded(self, given: Response, asked: Request | None = None) -> bool:
        changed, body_filter = Compression(asked or request()).change(given)
        coded = b"Content-Encoding: gzip\r\n" in changed.fields
        self.assertEqual(coded, body_filter is not None)
        if not coded:
            self.assertEqual(changed.length, given.length)
            self.assertTrue(changed.fields.startswith(given.fields))
        return coded

    def test_coded(self) -> None:
        """The length goes, a strong tag becomes weak, caches are told what it depends on."""
        given = response(HTML, 'ETag: "a"', "Accept-Ranges: bytes", "X: y")
        changed, body_filter = Compression(request()).change(given)
        self.assertEqual(
            changed.fields,
            f'{HTML}\r\nETag: W/"a"\r\nX: y\r\nVary: Accept-Encoding\r\n'
            "Content-Encoding: gzip\r\n".encode(),
        )
        self.assertEqual(changed.length, CHUNKED)
        assert body_filter is not None
        self.assertEqual(gzip.decompress(body_filter.feed(TEXT) + body_filter.end()), TEXT)

    def test_which(self) -> None:
        """Only texts of some length that are whole, plain and free to be changed."""
        self.assertTrue(self.coded(response(HTML)))
        self.assertTrue(self.coded(response("Content-Type: application/json", length=None)))
        self.assertTrue(self.coded(response(HTML, status=404)))
        self.assertTrue(self.coded(response(HTML, length=LEAST_BYTES)))
        for other in (
            response(HTML, length=LEAST_BYTES - 1),
            response(HTML, length=0),
            response("Content-Type: image/png"),
            response("X: y"),
            response(HTML, "Content-Encoding: br"),
            response(HTML, "Cache-Control: public, No-Transform"),
            response(HTML, "Content-Range: bytes 0-4999/9000", status=206),
            response(HTML, status=204),
            response(HTML, status=304),
        ):
            self.assertFalse(self.coded(other), other)

    def test_who(self) -> None:
        """Only clients that take it; HEAD has no body to be compressed."""
        self.assertTrue(self.coded(response(HTML), request("deflate, gzip;q=0.3")))
        for accept in ("", "identity", "gzip;q=0", "identity, gzip;q=0.9", "deflate"):
            self.assertFalse(self.coded(response(HTML), request(accept)), accept)
        self.assertFalse(self.coded(response(HTML), request(method="HEAD")))

    def test_vary(self) -> None:
        """What might have been compressed tells caches so, once."""
        for one, expected in (
            (response(HTML), 1),
            (response(HTML, "Vary: Cookie, accept-encoding"), 1),
            (response(HTML, "Vary: *"), 0),
            (response(HTML, "Vary: Cookie"), 1),
            (response(HTML, length=3), 1),
            (response("Content-Type: image/png"), 0),
        ):
            changed, _ = Compression(request("")).change(one)
            self.assertEqual(changed.fields.lower().count(b"accept-encoding"), expected, one)

    @given(st.binary(max_size=200))
    def test_anything(self, value: bytes) -> None:
        """Strange fields do no harm."""
        line = bytes(byte for byte in value if byte >= 32 and byte != 127)
        given = response(HTML)
        fields = b"ETag:%b\r\nVary: %b\r\nCache-Control: %b\r\n" % (line, line, line)
        odd = msgspec.structs.replace(given, fields=given.fields + fields)
        changed, _ = Compression(request()).change(odd)
        self.assertEqual(changed.fields.count(b"\n"), changed.fields.count(b"\r\n"))


class BodyTests(SynchronousTestCase):
    """What is compressed comes out again."""

    @given(st.lists(st.binary(min_size=1, max_size=3000), max_size=6), st.booleans())
    def test_whole(self, parts: list[bytes], at_once: bool) -> None:
        """All parts, with every coding that is there."""
        for coding, coder in coders().items():
            body = CompressedBody(coder(), at_once=at_once)
            out = b"".join(map(body.feed, parts)) + body.end()
            self.assertEqual(decoded(coding, out), b"".join(parts))

    def test_at_once(self) -> None:
        """Where parts come one by one each can be read as soon as it is there."""
        body = CompressedBody(coders()["gzip"](), at_once=True)
        reader = zlib.decompressobj(31)
        for part in (b"data: one\n\n", b"data: two\n\n"):
            self.assertEqual(reader.decompress(body.feed(part)), part)

    def test_brotli_and_zstd(self) -> None:
        """They are liked better than gzip, where their packages are installed."""
        if len(coders()) < 3:
            raise SkipTest("brotli or zstandard is not installed")
        self.assertEqual(list(coders()), ["br", "zstd", "gzip"])


def decoded(coding: str, data: bytes) -> bytes:
    if coding == "br":
        import brotli

        return bytes(brotli.decompress(data))
    if coding == "zstd":
        import zstandard

        return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(data))
    return gzip.decompress(data)


class CompressedSiteTests(ProxyTestCase):
    """Through the proxy, to a client on the wire."""

    def setUp(self) -> None:
        super().setUp()
        app = App(cwd="/", port=free_port(), compress=True)
        self.proxy.converge(Document(apps={"site": app}))

    async def test_whole(self) -> None:
        """An answer of known length comes compressed, in chunks."""
        client = await self.client()
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
        await self.exchange(
            client,
            b"GET / HTTP/1.1\r\nHost: site\r\nAccept-Encoding: gzip\r\n\r\n",
            answer % len(TEXT) + TEXT,
        )
        head = await client.until(b"\r\n\r\n")
        self.assertIn(b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", head)
        self.assertNotIn(b"Content-Length", head)
        chunks = await client.until(b"\r\n0\r\n\r\n")
        self.assertLess(len(chunks), len(TEXT) / 5)
        self.assertEqual(gzip.decompress(chunks.partition(b"\r\n")[2][:-7]), TEXT)

    async def test_events(self) -> None:
        """Each event of a stream is readable when it comes."""
        client = await self.client()
        backend, _ = await self.exchange(
            client,
            b"GET / HTTP/1.1\r\nHost: site\r\nAccept-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n",
        )
        await client.until(b"\r\n\r\n")
        reader = zlib.decompressobj(31)
        for event in (b"data: 1\n\n", b"data: 2\n\n"):
            backend.send(b"%x\r\n%b\r\n" % (len(event), event))
            size = int(await client.until(b"\r\n"), 16)
            self.assertEqual(reader.decompress(await client.take(size)), event)
            await client.take(2)

    async def test_old_clients(self) -> None:
        """To HTTP/1.0 the compressed body ends with the connection."""
        client = await self.client()
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
        await self.exchange(
            client,
            b"GET / HTTP/1.0\r\nHost: site\r\nAccept-Encoding: gzip\r\n\r\n",
            answer % len(TEXT) + TEXT,
        )
        _, _, body = (await client.end()).partition(b"\r\n\r\n")
        self.assertEqual(gzip.decompress(body), TEXT)
