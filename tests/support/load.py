"""Clients in mixed styles that count every failure and every connection that was closed."""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.support.h2load import Http2Link

ANSWER_SECONDS = 60.0
"""How long an answer may take: a request that hangs is a failure, not a test that hangs."""
LAST_ANSWERS_SECONDS = 90.0
PAUSE_SECONDS = 0.1
LONG_PAUSE_SECONDS = 2.5

SERVER = """
const http = require('http');
const server = http.createServer((request, response) => {
  let bytes = 0;
  request.on('data', (data) => { bytes += data.length; });
  request.on('end', () => {
    const answer = `${request.url} ${bytes}`;
    if (request.url.startsWith('/slow')) {
      setTimeout(() => response.end(answer), 200);
    } else if (request.url.startsWith('/stream')) {
      const pieces = answer.split('');
      const timer = setInterval(() => {
        if (pieces.length) response.write(pieces.splice(0, 4).join(''));
        else { clearInterval(timer); response.end(); }
      }, 20);
    } else response.end(answer);
  });
});
server.keepAliveTimeout = 120_000;
server.listen(process.env.PORT);
"""
"""An app that echoes each request's address and the length of its body.

It keeps idle connections for long: on a slow machine a client may pause for the 5 s of Node's own.
"""


class _Connection:
    """One keep-alive connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.host = host

    def head(self, path: str, method: str = "GET", more: str = "") -> bytes:
        return f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\n{more}\r\n".encode()

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, each in a packet of its own."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if len(pieces) > 1:
                await asyncio.sleep(0.03)

    async def answer(self, path: str, sent: int = 0) -> None:
        """Read an answer; it has to be the right one."""
        status = await self.reader.readuntil(b"\r\n")
        length: int | None = None
        while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
            name, _, value = line.decode().lower().partition(":")
            if name == "content-length":
                length = int(value)
        body = await (self._chunks() if length is None else self.reader.readexactly(length))
        if b" 200 " not in status or body.decode() != f"{path} {sent}":
            raise AssertionError(f"{path}: {status!r} {body[:200]!r}")

    async def _chunks(self) -> bytes:
        data = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            data += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return data


async def _plain(link: _Connection, path: str) -> int:
    await link.send(link.head(path))
    await link.answer(path)
    return 1


async def _pipelined(link: _Connection, path: str) -> int:
    paths = [f"{path}/{number}" for number in range(3)]
    await link.send(b"".join(map(link.head, paths)))
    for one in paths:
        await link.answer(one)
    return 3


async def _split_head(link: _Connection, path: str) -> int:
    head = link.head(path, more="X-Long: " + "y" * 300 + "\r\n")
    await link.send(head[:9], head[9:40], head[40:])
    await link.answer(path)
    return 1


async def _split_body(link: _Connection, path: str) -> int:
    await link.send(link.head(path, "POST", "Content-Length: 30\r\n"), b"x" * 10, b"y" * 20)
    await link.answer(path, 30)
    return 1


async def _chunked_body(link: _Connection, path: str) -> int:
    head = link.head(path, "POST", "Transfer-Encoding: chunked\r\n")
    await link.send(head + b"5\r\nhel", b"lo\r\n3\r\nabc\r\n", b"0\r\n\r\n")
    await link.answer(path, 8)
    return 1


async def _slow(link: _Connection, path: str) -> int:
    return await _plain(link, f"/slow{path}")


async def _stream(link: _Connection, path: str) -> int:
    return await _plain(link, f"/stream{path}")


async def _long_pause(link: _Connection, path: str) -> int:
    await asyncio.sleep(LONG_PAUSE_SECONDS)
    return await _plain(link, path)


async def _http2_round(link: Http2Link, path: str) -> int:
    """Ask in every style at once."""
    await asyncio.gather(
        link.ask(path),
        link.ask(f"{path}/body", b"x" * 30_000),
        link.ask(f"/slow{path}"),
        link.ask(f"/stream{path}"),
    )
    return 4


Style = Callable[[_Connection, str], Awaitable[int]]
STYLES: tuple[Style, ...] = (
    _plain,
    _pipelined,
    _split_head,
    _split_body,
    _chunked_body,
    _slow,
    _stream,
    _long_pause,
)


class Load:
    """Clients in a thread of their own, from ``start`` to ``stop``.

    :param keep_alive: clients with one connection each, of every style.
    :param short: clients with a connection for each request.
    :param tls: how they speak TLS; None for plain HTTP.
    :param host: whom they ask.
    :param http2: clients with one HTTP/2 connection each, and requests beside each other on it.
    :param http2_tls: how these speak TLS.
    :ivar seen: SHA-256 of the certificates that new connections of HTTP/1.1 were shown.
    :ivar requests: answers that were right.
    :ivar failures: what went wrong: wrong answers, and requests that got none.
    :ivar closes: keep-alive connections that were closed while nothing was asked.
    """

    def __init__(
        self,
        port: int,
        keep_alive: int,
        short: int,
        tls: ssl.SSLContext | None = None,
        host: str = "site.localhost",
        http2: int = 0,
        http2_tls: ssl.SSLContext | None = None,
    ) -> None:
        self._port = port
        self._tls = tls
        self._http2_tls = http2_tls
        self._host = host
        self._counts = keep_alive, short, http2
        self._chance = random.Random(3)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.seen: set[str] = set()
        self.requests = 0
        self.failures: list[str] = []
        self.closes = 0

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Let every client have its last answer, and end."""
        self._ending.set()
        self._thread.join(LAST_ANSWERS_SECONDS)
        if self._thread.is_alive():
            raise AssertionError("clients hang")

    def _work(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:
            self.failures.append(f"the clients ended: {error!r}")
            raise

    async def _run(self) -> None:
        keep_alive, short, http2 = self._counts
        await asyncio.gather(
            *(self._kept(number) for number in range(keep_alive)),
            *(self._short(number) for number in range(short)),
            *(self._http2(number) for number in range(http2)),
        )

    async def _connect(self) -> _Connection:
        host = None if self._tls is None else self._host
        opened = asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._tls, server_hostname=host
        )
        reader, writer = await opened
        wire = writer.get_extra_info("ssl_object")
        if wire is not None:
            shown = wire.getpeercert(binary_form=True)
            self.seen.add(hashlib.sha256(shown).hexdigest())
        return _Connection(reader, writer, self._host)

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.2, 2) * PAUSE_SECONDS)

    async def _kept(self, client: int) -> None:
        style, count = STYLES[client % len(STYLES)], 0
        link = await self._connect()
        while not self._ending.is_set():
            await self._pause()
            if link.reader.at_eof():
                self.closes += 1
                link = await self._connect()
            count += 1
            if not await self._ask(style, link, f"/{client}/{count}"):
                link.writer.close()
                link = await self._connect()
        link.writer.close()

    async def _short(self, client: int) -> None:
        count = 0
        while not self._ending.is_set():
            count += 1
            link = await self._connect()
            await self._ask(_plain, link, f"/short/{client}/{count}")
            link.writer.close()
            with suppress(OSError):
                await link.writer.wait_closed()
            await asyncio.sleep(PAUSE_SECONDS / 4)

    async def _http2(self, client: int) -> None:
        link, count = await self._connect_http2(), 0
        while not self._ending.is_set():
            await self._pause()
            if link.gone:
                self.closes += 1
                link = await self._connect_http2()
            count += 1
            if not await self._right(_http2_round(link, f"/h2/{client}/{count}"), "http2"):
                await link.close()
                link = await self._connect_http2()
        await link.close()

    async def _connect_http2(self) -> Http2Link:
        streams = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._http2_tls, server_hostname=self._host
        )
        return Http2Link(*streams, self._host)

    async def _ask(self, style: Style, link: _Connection, path: str) -> bool:
        return await self._right(style(link, path), f"{getattr(style, '__name__', '')} {path}")

    async def _right(self, answering: Awaitable[int], what: str) -> bool:
        """Wait for answers; note what is wrong with them."""
        try:
            answers = await asyncio.wait_for(answering, ANSWER_SECONDS)
        except (OSError, EOFError, ValueError, AssertionError, asyncio.TimeoutError) as error:
            self.failures.append(f"{what}: {type(error).__name__} {error}")
            return False
        self.requests += answers
        return True
