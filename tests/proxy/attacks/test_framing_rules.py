"""The rules of the strict path, one after the other: a rule, what breaks it, what comes of that.

The rules are those of RFC 9112, 9110 and 9113; each is tried on the proxy as a whole.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from ood.proxy.core.framing import CHUNK_EXTENSION_BYTES_MAX
from tests.proxy.attacks.oracle import ATTACKER, Told
from tests.proxy.attacks.test_answers import CASES, CHUNKED, HEAD, AnswersTestCase, Case
from tests.proxy.attacks.test_http2_smuggling import GET, POST, SITE, Http2OracleTestCase
from tests.proxy.attacks.test_smuggling import SmugglingTestCase

LINE = b"POST / HTTP/1.1\r\n"
HOST = b"Host: site.localhost\r\n"
CHUNKS = LINE + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: site.localhost\r\n\r\n"


class RequestRules(SmugglingTestCase):
    """Rules for what clients send."""

    async def refused(self, *requests: bytes, status: int = 400) -> None:
        """See that each request gets the status, nothing reaches the app, and the end follows."""
        for request in requests:
            found = await self.reached([request + NEXT])
            self.assertEqual(([], [status]), found, request)

    async def taken(self, request: bytes) -> Told:
        """Return a request as the app sees it; the one behind it arrives, too."""
        told, statuses = await self.reached([request + NEXT])
        self.assertEqual([200, 200], statuses, request)
        self.assertEqual("/next", told[1].url)
        return told[0]

    async def test_lengths(self) -> None:
        """One Content-Length, of digits only, and never with Transfer-Encoding (9112 6.1, 6.3)."""
        both = [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"]
        await self.refused(
            LINE + HOST + both[0] + both[1] + b"\r\n0\r\n\r\n",
            LINE + HOST + both[1] + both[0] + b"\r\n0\r\n\r\n",
            LINE + HOST + both[0] + both[0] + b"\r\nabc",
        )
        for wrong in (b"5,6", b"5, 5", b"+1", b"0x10", b"-1", b"1 2", b"1.0", b"1e1", b"", b"\xb2"):
            await self.refused(LINE + HOST + b"Content-Length: %b\r\n\r\n" % wrong)
        await self.taken(LINE + HOST + b"Content-Length: 010\r\n\r\n0123456789")

    async def test_transfer_encodings(self) -> None:
        """Exactly chunked, in any case, and only in HTTP/1.1 (9112 6.1)."""
        for wrong in (
            b"gzip, chunked",
            b"chunked, chunked",
            b"identity",
            b"xchunked",
            b"chunked;q=1",
        ):
            await self.refused(CHUNKS.replace(b"chunked", wrong) + b"0\r\n\r\n")
        await self.refused(CHUNKS.replace(b"/1.1", b"/1.0") + b"0\r\n\r\n")
        await self.taken(CHUNKS.replace(b"chunked", b"Chunked") + b"3\r\nabc\r\n0\r\n\r\n")

    async def test_chunks(self) -> None:
        """Sizes of at most 16 hexadecimal digits, CRLF, few extensions (9112 7.1)."""
        for wrong in (b"0x3", b"+3", b"-3", b" 3", b"3 ", b"g", b"", b"1" * 17, b"3\n", b"3;a\rb"):
            await self.refused(CHUNKS + wrong + b"\r\nabc\r\n0\r\n\r\n")
        await self.refused(CHUNKS + b"3\nabc\n0\n\n", CHUNKS + b"3\r\nabcd\r\n0\r\n\r\n")
        many = b"1;" + b"x" * 200 + b"\r\na\r\n"
        await self.refused(CHUNKS + many * (CHUNK_EXTENSION_BYTES_MAX // 200 + 2) + b"0\r\n\r\n")
        await self.taken(CHUNKS + b"03;a=b\r\nabc\r\n0\r\n\r\n")

    async def test_fields(self) -> None:
        """A name that is a word, a colon right behind it, one line, no controls (9112 5)."""
        for wrong in (
            b"X : a", b" X: a", b"X: a\r\n b", b"X: a\r\n\tb", b"X: a\x00", b"X: a\rb", b"X: a\nb",
            b": a", b"X(y): a", b'"X": a', b"X\xe9: a", b"X\ty: a", b"X", b"X: a\x07", b"X: \x7f",
        ):  # fmt: skip
            await self.refused(LINE + HOST + wrong + b"\r\n\r\n")
        await self.taken(LINE + HOST + b"X:\t a\tb \r\n\r\n")

    async def test_hosts(self) -> None:
        """One Host that is one; the target's wins (9112 3.2)."""
        await self.refused(LINE + b"\r\n", LINE + HOST + HOST + b"\r\n")
        for wrong in (
            b"a b",
            b"a/b",
            b"u@a",
            b"a:b",
            b"a:1:2",
            b"[a]",
            b"[::1",
            b"a\\b",
            b"a?b",
            b"a#",
        ):
            await self.refused(LINE + b"Host: %b\r\n\r\n" % wrong)
        told = await self.taken(b"GET http://site.localhost/x HTTP/1.1\r\nHost: other\r\n\r\n")
        self.assertEqual(("host", "site.localhost"), told.headers[0])

    async def test_hop_by_hop_fields(self) -> None:
        """What Connection names goes, then ood sets its own (9110 7.6.1)."""
        named = b"Connection: X-Hop, X-Forwarded-For, close, Content-Length, Host\r\n"
        fields = b"X-Hop: 1\r\nX-Forwarded-For: 6.6.6.6\r\nKeep-Alive: 1\r\nTE: x\r\nX-Stays: 1\r\n"
        told, statuses = await self.reached(
            [LINE + HOST + named + fields + b"Content-Length: 3\r\n\r\nabc"]
        )
        self.assertEqual([200], statuses)
        names = [name for name, _ in told[0].headers]
        self.assertEqual({"host", "x-stays", "content-length", "x-ood-peer"}, set(names))

    async def test_upgrades(self) -> None:
        """Only to WebSocket, never with a body, and only at 101 (9110 7.8)."""
        ask = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: %b\r\n%b\r\n"
        for protocol in (b"h2c", b"TLS/1.0", b"websocket, h2c", b"x"):
            told = await self.taken(ask % (protocol, b""))
            self.assertNotIn("upgrade", dict(told.headers))
        told = await self.taken(ask % (b"websocket", b"Content-Length: 3\r\n") + b"abc")
        self.assertNotIn("upgrade", dict(told.headers))
        told = await self.taken(ask % (b"WebSocket", b""))  # refused: what follows is a request
        self.assertEqual("websocket", dict(told.headers)["upgrade"])

    async def test_names_with_underscores(self) -> None:
        """Those that could pass for a field of ood's or of the framing are dropped."""
        fields = b"X_Forwarded_For: 6.6.6.6\r\nContent_Length: 3\r\nTransfer_Encoding: chunked\r\n"
        told = await self.taken(LINE + HOST + fields + b"api_key: 1\r\n\r\n")
        self.assertEqual(
            [name for name, _ in told.headers if "_" in name],
            ["api_key"],
        )


class ExpectRule(AnswersTestCase):
    async def test_expect(self) -> None:
        """The interim answer is the app's own, and so is a refusal (9110 10.1.1)."""
        self.scripted.answer = b"HTTP/1.1 100 Continue\r\n\r\n"
        client = await self.connected()
        client.send(LINE + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        await self.at_rest(client)
        self.assertEqual(b"HTTP/1.1 100 Continue\r\n\r\n", bytes(client.data))
        client.abort()
        self.scripted.answer = b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"
        client = await self.connected()
        client.send(LINE + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        await self.at_rest(client)
        self.assertTrue(client.data.startswith(b"HTTP/1.1 417 No\r\n"))
        self.assertIn(b"Connection: close\r\n", client.data)


class AnswerRules(AnswersTestCase):
    """Rules for what apps answer: else 502, and the connection is not used again."""

    def test_answers(self) -> Deferred[None]:
        """Ambiguous framing and control characters are 502; what follows a whole answer is lost."""
        return Deferred.fromCoroutine(self.check_all())

    async def check_all(self) -> None:
        for name, case in CASES.items():
            await self.check(name, case)
        for bad in (b"\r", b"\n", b"\x00"):
            await self.check(
                "field", Case(HEAD + b"X: a%bb\r\nContent-Length: 0\r\n\r\n" % bad, 502)
            )
            await self.check("reason", Case(b"HTTP/1.1 200 O%bK\r\n\r\n" % bad, 502))
            await self.check("chunk", Case(CHUNKED + b"2;%b\r\nok\r\n0\r\n\r\n" % bad, 502))

    async def check(self, name: str, case: Case) -> None:
        status, _, whole = await self.got(case.answer, case.method)
        self.assertEqual((case.outcome, True), (status, whole), name)
        asked = [wire.asked for wire in self.scripted.wires]  # type: ignore[attr-defined]
        self.assertEqual([2] if case.reused else [1, 1], asked, name)

    def test_switching_without_being_asked(self) -> Deferred[None]:
        """A 101 opens a tunnel only for who asked for a WebSocket."""
        return Deferred.fromCoroutine(self.switched())

    async def switched(self) -> None:
        switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n"
        ask = (ATTACKER % b"GET")[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        for request, protocol, status in (
            (ATTACKER % b"GET", b"websocket", b"502"),
            (ask, b"h2c", b"502"),
            (ask, b"websocket", b"101"),
        ):
            self.scripted.answer = switch % protocol
            client = await self.connected()
            client.send(request)
            await self.at_rest(client)
            self.assertEqual(status, bytes(client.data[9:12]), request)
            client.abort()


class Http2Rules(Http2OracleTestCase):
    async def test_streams(self) -> None:
        """What would mean something else in HTTP/1.1 is an error of the stream (9113 8.2, 8.3)."""
        for fields in (
            [*GET, *SITE, (b"x", b"a\r\nb: c")],
            [*GET, *SITE, (b"x", b"a\nb")],
            [*GET, *SITE, (b"x", b"a\x00")],
            [*GET, *SITE, (b"x:y", b"a")],
            [*GET, *SITE, (b"transfer-encoding", b"chunked")],
            [*GET, *SITE, (b"te", b"gzip")],
            [*GET, *SITE, (b"host", b"other")],
            [*GET, *SITE, (b"content-length", b"3")],
        ):
            self.assertEqual(([], None), await self.reached(fields), fields)
        for body in ([b"ab"], [b"abcd"]):
            told, status = await self.reached([*POST, *SITE, (b"content-length", b"3")], body)
            self.assertEqual(([], None), (told, status))
