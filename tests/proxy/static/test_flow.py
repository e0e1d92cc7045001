"""Files over real connections: small and large, whole and in pieces, to any kind of client."""

from __future__ import annotations

import errno
import gzip
import os
import tempfile
from pathlib import Path
from shutil import rmtree
from unittest import mock

import msgspec
from twisted.internet.defer import Deferred

from ood.model.document import App, Document
from ood.model.rules import Route
from ood.net.stream import WRITE_HIGH_BYTES, Stream
from ood.proxy.core.framing import ChunkedBody
from ood.proxy.static.flow import TURN_BYTES
from tests.proxy.support import ProxyTestCase, Wire
from tests.support.ports import free_port

LARGE_BYTES = 12_000_000
"""More than the kernel's buffers of a connection take."""


class StaticTests(ProxyTestCase):
    """A site of files; everything opened is closed at the end."""

    def setUp(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="ood-www-"))
        self.addCleanup(rmtree, self.root)
        (self.root / "index.html").write_text("<h1>home</h1>")
        (self.root / "small.txt").write_text("0123456789")
        self.large = os.urandom(LARGE_BYTES)
        (self.root / "large.bin").write_bytes(self.large)
        super().setUp()
        self.site(fallback="index.html", cache_control="max-age=60")

    def site(self, **values: object) -> None:
        app = App(type="static", cwd=str(self.root), port=free_port(), running=True)
        for key, value in values.items():
            app = msgspec.structs.replace(app, **{key: value})
        self.proxy.converge(Document(apps={"site": app}))

    def open_files(self) -> int:
        """Return how many of the root's files are open."""
        links = []
        for entry in Path("/proc/self/fd").iterdir():
            try:
                links.append(os.readlink(entry))
            except OSError:
                continue
        return sum(link.startswith(str(self.root)) for link in links)

    async def ask(self, client: Wire, line: str, *fields: str) -> tuple[str, dict[str, str]]:
        head = "".join(f"{one}\r\n" for one in (f"{line} HTTP/1.1", "Host: site", *fields))
        client.send(head.encode() + b"\r\n")
        return self.parsed(await client.until(b"\r\n\r\n"))

    @staticmethod
    def parsed(head: bytes) -> tuple[str, dict[str, str]]:
        first, *lines = head.decode().strip().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return first, {name.lower(): value for name, value in pairs}

    async def test_small(self) -> None:
        """A small file with all that a cache wants to know; then 304 without a body."""
        client = await self.client()
        status, fields = await self.ask(client, "GET /small.txt")
        self.assertEqual(status, "HTTP/1.1 200 OK")
        self.assertEqual(fields["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(fields["cache-control"], "max-age=60")
        self.assertEqual(await client.take(10), b"0123456789")
        tag = f"If-None-Match: {fields['etag']}"
        status, again = await self.ask(client, "GET /small.txt", tag)
        self.assertEqual(status, "HTTP/1.1 304 Not Modified")
        self.assertEqual(again["etag"], fields["etag"])
        self.assertNotIn("content-length", again)
        status, head = await self.ask(client, "HEAD /small.txt")
        self.assertEqual((status, head["content-length"]), ("HTTP/1.1 200 OK", "10"))
        status, piece = await self.ask(client, "GET /small.txt", "Range: bytes=2-4")
        self.assertEqual(
            (status, piece["content-range"]), ("HTTP/1.1 206 Partial Content", "bytes 2-4/10")
        )
        self.assertEqual(await client.take(3), b"234")
        self.assertEqual(self.open_files(), 0)

    async def test_changed(self) -> None:
        """After a change the tag is another one, even within the same second."""
        client = await self.client()
        _, before = await self.ask(client, "HEAD /small.txt")
        (self.root / "small.txt").write_text("9876543210")
        _, after = await self.ask(client, "HEAD /small.txt")
        self.assertNotEqual(before["etag"], after["etag"])

    async def test_below_a_route(self) -> None:
        """A directory below a route that strips its path is found where the client knows it."""
        (self.root / "guide" / "first steps").mkdir(parents=True)
        files = App(type="static", cwd=str(self.root), port=free_port(), running=True)
        routes = {"/docs": Route("files", strip=True), "/guide": Route("files")}
        site = App(cwd="/", port=free_port(), routes=routes, default=True)
        apps = {"site": site, "files": files}
        self.proxy.converge(Document(apps=apps))
        client = await self.client()
        for path, location in {
            "/docs/guide": "/docs/guide/",
            "//docs/./guide/first%20steps?a=%2F": "/docs/guide/first%20steps/?a=%2F",
            "/guide": "/guide/",
        }.items():
            line, fields = await self.ask(client, f"GET {path}")
            self.assertEqual(("HTTP/1.1 301 Moved Permanently", location),
                             (line, fields["location"]))  # fmt: skip
            await client.take(int(fields["content-length"]))

    async def test_fallback(self) -> None:
        """Pages that only the browser knows get the application; missing files are missing."""
        client = await self.client()
        for path, status in {
            "/": "200",
            "/some/page": "200",
            "/some/page/": "200",
            "/missing.js": "404",
            "/.env": "404",
        }.items():
            line, fields = await self.ask(client, f"GET {path}")
            self.assertIn(status, line, path)
            await client.take(int(fields["content-length"]))

    async def test_other_methods(self) -> None:
        """Files are only read: 405 says how, and a body on the way is read away."""
        client = await self.client()
        status, fields = await self.ask(client, "POST /", "Content-Length: 3")
        self.assertIn("405", status)
        self.assertEqual(fields["allow"], "GET, HEAD")

    async def test_large(self) -> None:
        """A large file by the kernel's own copying, and the connection serves on after it."""
        client = await self.client()
        sent: list[int] = []
        original = os.sendfile

        def counted(*arguments: int) -> int:
            sent.append(original(*arguments))
            return sent[-1]

        with mock.patch("os.sendfile", counted):
            _, fields = await self.ask(client, "GET /large.bin")
            self.assertEqual(fields["content-length"], str(LARGE_BYTES))
            self.assertTrue(await client.take(LARGE_BYTES) == self.large)
        self.assertGreater(sum(sent), LARGE_BYTES * 0.9)
        await self.ask(client, "GET /large.bin", "Range: bytes=100-2000099", "Connection: close")
        self.assertTrue(await client.end() == self.large[100:2_000_100])
        self.assertEqual(self.open_files(), 0)

    async def test_without_sendfile(self) -> None:
        """The same where the kernel can't copy by itself, as with TLS: in bounded memory."""
        highest: list[int] = []
        original = Stream.write

        def noted(stream: Stream, data: bytes, *, last: bool = False) -> None:
            original(stream, data, last=last)
            highest.append(stream.backlog)

        with (
            mock.patch.object(Stream, "write_file", lambda *_: None),
            mock.patch.object(Stream, "write", noted),
        ):
            client = await self.client()
            await self.ask(client, "GET /large.bin")
            self.assertTrue(await client.take(LARGE_BYTES) == self.large)
        self.assertLess(max(highest), WRITE_HIGH_BYTES + 200_000)
        self.assertEqual(self.open_files(), 0)

    async def test_pipelined(self) -> None:
        """Requests behind a large file are answered after it, in order."""
        client = await self.client()
        client.send(
            b"GET /large.bin HTTP/1.1\r\nHost: site\r\n\r\n"
            b"GET /small.txt HTTP/1.1\r\nHost: site\r\n\r\n"
        )
        await client.until(b"\r\n\r\n")
        self.assertTrue(await client.take(LARGE_BYTES) == self.large)
        await client.until(b"\r\n\r\n")
        self.assertEqual(await client.take(10), b"0123456789")

    async def test_compressed(self) -> None:
        """A long text is compressed in turns, between which others are served."""
        text = b"All work and no play makes Jack a dull boy.\n" * 100_000
        (self.root / "long.txt").write_bytes(text)
        self.site(compress=True)
        client, other = await self.client(), await self.client()
        await self.ask(client, "GET /long.txt", "Accept-Encoding: gzip", "Connection: close")
        self.assertEqual(self.open_files(), 1)
        await self.ask(other, "GET /small.txt")
        self.assertEqual(self.open_files(), 1)
        for _ in range(len(text) // TURN_BYTES + 2):
            self.clock.advance(0)
        body, _ = ChunkedBody().feed(await client.end())
        self.assertTrue(gzip.decompress(body) == text)
        self.assertEqual(self.open_files(), 0)

    async def stalled(self) -> Wire:
        """Return a client that asked for the large file and does not read on."""
        client = await self.client()
        client.transport.pauseProducing()  # type: ignore[union-attr]
        client.send(b"GET /large.bin HTTP/1.1\r\nHost: site\r\n\r\n")
        await self.eventually(lambda: self.open_files() == 1)
        await self.settle()
        return client

    async def test_client_leaves(self) -> None:
        """A client that goes away leaves no file open; what it got is counted, not the rest."""
        client = await self.stalled()
        client.abort()
        await self.eventually(lambda: self.open_files() == 0)
        tally = self.proxy._context.traffic.of("site").tallies["static"]
        self.assertEqual([0, 0, 1, 0, 0, 0], tally.classes)
        before = tally.size
        self.assertTrue(0 < before < LARGE_BYTES, before)
        client = await self.client()
        await self.ask(client, "GET /large.bin", "Connection: close")
        await client.end()
        self.assertEqual(before + LARGE_BYTES, tally.size)

    async def test_pages_count(self) -> None:
        """The bodies of ood's own answers are counted, whether they are written down or not."""
        client = await self.client()
        _, fields = await self.ask(client, "GET /missing.js")
        await self.ask(client, "HEAD /missing.js")
        tally = self.proxy._context.traffic.of("site").tallies["page"]
        self.assertEqual((2, int(fields["content-length"])), (sum(tally.classes), tally.size))

    async def test_client_stalls(self) -> None:
        """One that takes nothing for a minute is cut off."""
        client = await self.stalled()
        self.advance(50)
        self.assertEqual(self.open_files(), 1)
        self.advance(30)
        self.assertEqual(self.open_files(), 0)
        client.transport.resumeProducing()  # type: ignore[union-attr]
        await client.end()

    async def test_shrinking(self) -> None:
        """A file that gets shorter meanwhile does not look whole."""
        client = await self.stalled()
        os.truncate(self.root / "large.bin", 100_000)
        client.transport.resumeProducing()  # type: ignore[union-attr]
        rest = await client.end()
        self.assertLess(len(rest), LARGE_BYTES)
        self.assertEqual(self.open_files(), 0)

    async def test_stopped(self) -> None:
        """A site that is stopped says so, and one without its directory."""
        client = await self.client()
        self.site(running=False)
        status, fields = await self.ask(client, "GET /")
        self.assertIn("503", status)
        await client.take(int(fields["content-length"]))
        self.site(cwd=str(self.root / "gone"))
        status, _ = await self.ask(client, "GET /")
        self.assertIn("503", status)

    async def test_no_descriptors(self) -> None:
        """Where nothing can be opened, what is there is not called missing."""
        client = await self.client()
        original = os.open

        def full(path: object, flags: int, *arguments: int, **more: int) -> int:
            if "dir_fd" in more:
                raise OSError(errno.EMFILE, "too many")
            return original(path, flags, *arguments, **more)  # type: ignore[call-overload,no-any-return]

        with mock.patch("os.open", full):
            status, _ = await self.ask(client, "GET /some/page")
        self.assertIn("503", status)

    def test_files_are_closed(self) -> Deferred[None]:
        """The end of the service closes what is being sent."""
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        await self.stalled()
        await self.stop()
        self.assertEqual(self.open_files(), 0)
