"""The short way and the long one: the same requests and answers, byte by byte."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.proxy.test_brief import HOST, OK, BriefCase

CLOSE = b"Connection: close\r\n"

REQUESTS = (
    b"GET / HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    b"GET / HTTP/1.1\r\n" + CLOSE + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\nhOST: SITE.localhost.:80\r\nconnection:CLOSE\r\n\r\n",
    b"GET / HTTP/1.1\r\n"
    + HOST
    + b"Connection: close, X-A, X-Ood-Peer\r\nX-A: 1\r\nX-B: 2\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Connection: X-A\r\nConnection: close\r\nX-A: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + CLOSE + b"Connection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Connection: keep-alive, close\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + CLOSE + b"Keep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + CLOSE + b"Upgrade: websocket\r\nHTTP2-Settings: AA\r\n\r\n",
    b"GET / HTTP/1.1\r\n"
    + HOST
    + CLOSE
    + b"X-Ood-Peer: 9.9.9.9 1\r\nX_Ood_Peer: 9.9.9.9 1\r\n\r\n",
    b"GET / HTTP/1.1\r\n"
    + HOST
    + CLOSE
    + b"X-Forwarded-For: 9.9.9.9\r\nX_Real-IP: 9.9.9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + CLOSE + b"Forwarded: for=9.9.9.9\r\nProxy: evil\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + CLOSE + b"Proxy-Connection: keep-alive\r\nVia: 1.0 x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + CLOSE + b"Content-Length: 0\r\nContent_Length: 7\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + CLOSE + b"Transfer_Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + CLOSE + b"Expect: 100-continue\r\n\r\n",
    b"GET / HTTP/1.1\r\n"
    + HOST
    + CLOSE
    + b"Cookie: a=1\r\nCookie: b=\xff\r\nEmpty:\r\nTab:\ta\t\r\n\r\n",
    b"GET /%20//../?a=%0d%0ab HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    b"GET http://site.localhost/x HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    b"HEAD / HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    b"DELETE /x HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    b"TRACE /x HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    b"M-SEARCH /x HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    b"WHAT /x HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
)

_END = b"\r\n\r\n"
ANSWERS = (
    OK,
    b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 200 Fine\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.0 200 Fine\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nConnection: X-A, close\r\nX-A: 1\r\nX-Ood-A: 1\r\n"
    b"Content-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=9\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nProxy-Connection: x\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + OK,
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    b"HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 600 Much\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nBig: " + b"x" * 70_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nBig: " + b"x" * 30_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 16400\r\n\r\n" + b"x" * 16_400,
)


class Seen(NamedTuple):
    """What both sides saw of a request, and what the books say of it."""

    asked: bytes
    answered: bytes
    reset: bool
    kept: bool
    status: dict[int, int]
    classes: list[list[int]]


class AlikeTests(BriefCase):
    """Without an idle connection to the app a request goes the long way."""

    short = 0

    async def seen(self, request: bytes, answer: list[bytes], *, short: bool) -> Seen:
        """Return what comes of a request whose answer comes in these parts, and ends then."""
        before = await self.warm()
        if not short:
            before.close()
            await self.settle()
        counters, traffic = self.proxy.counters, self.proxy._context.traffic.of("site")
        counters.statuses.clear()
        classes = {way: list(one.classes) for way, one in traffic.tallies.items()}
        client = await self.client()
        client.send(request)
        wire = before if short else await self.backend.next()
        asked = await wire.until(_END)
        self.short += self.briefs()
        for part in answer:
            wire.send(part)
            await self.settle()
        kept = not wire.over
        wire.close()
        answered = await client.end()
        await self.settle()
        self.assertEqual(0, counters.in_flight)
        self.assertEqual(0, traffic.in_flight)
        self.assertEqual(0, self.app.backends[0].worker.busy)
        now = {way: list(one.classes) for way, one in traffic.tallies.items()}
        grown = [
            [after - classes.get(way, [0] * 9)[place] for place, after in enumerate(found)]
            for way, found in sorted(now.items())
        ]
        told = re.sub(rb"X-Ood-Peer: 127.0.0.1 \d+", b"X-Ood-Peer: it", asked)
        status = dict(counters.statuses)
        return Seen(told, bytes(answered), client.reset, kept, status, grown)

    async def compare(self, request: bytes, answer: list[bytes]) -> None:
        found = [await self.seen(request, answer, short=short) for short in (True, False)]
        self.assertEqual(found[1], found[0], (request, answer))

    async def test_requests(self) -> None:
        """Whatever is asked."""
        for request in REQUESTS:
            await self.compare(request, [OK])
        self.assertEqual(22, self.short)

    async def test_answers(self) -> None:
        """Whatever is answered, in one part or two."""
        for answer in ANSWERS:
            for request in (REQUESTS[0], REQUESTS[0].replace(b"GET", b"HEAD")):
                await self.compare(request, [answer])
                for cut in (5, answer.find(_END) + 2, answer.find(_END) + 4, len(answer) - 1):
                    if 0 < cut < len(answer):
                        await self.compare(request, [answer[:cut], answer[cut:]])
        self.assertLess(4 * len(ANSWERS), self.short)
