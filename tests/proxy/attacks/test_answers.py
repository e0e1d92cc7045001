"""Answers that would be read in two ways: their client gets all of one, or learns that it failed.

And nobody else gets any of it.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

import h11
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.threads import blockingCallFromThread, deferToThread

from tests.proxy.attacks.oracle import ATTACKER, BYSTANDER, OracleTestCase, at_once
from tests.proxy.support import Server, Wire

EXAMPLES = int(os.environ.get("OOD_FUZZ_EXAMPLES", "150"))
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbystander"
SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class Case(NamedTuple):
    """An answer, and what is to become of it.

    :ivar outcome: the status that the client gets, or 0 where it is cut off.
    :ivar body: of the client's answer, where it is the app's.
    :ivar reused: the connection to the app may be used again.
    """

    answer: bytes
    outcome: int
    body: bytes = b""
    reused: bool = False
    method: bytes = b"GET"


CASES = {
    "a good one": Case(HEAD + b"Content-Length: 2\r\n\r\nok", 200, b"ok", reused=True),
    "good chunks": Case(CHUNKED + b"2\r\nok\r\n0\r\n\r\n", 200, b"ok", reused=True),
    "chunks and a length": Case(
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 502
    ),
    "two lengths": Case(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk", 502),
    "two equal lengths": Case(HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", 502),
    "a list of lengths": Case(HEAD + b"Content-Length: 2, 2\r\n\r\nok", 502),
    "a length with a sign": Case(HEAD + b"Content-Length: +2\r\n\r\nok", 502),
    "a hexadecimal length": Case(HEAD + b"Content-Length: 0x2\r\n\r\nok", 502),
    "gzip and chunked": Case(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 502),
    "xchunked": Case(HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 502),
    "chunks in HTTP/1.0": Case(
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502
    ),
    "a line feed in a field": Case(HEAD + b"X: a\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", 502),
    "a carriage return in a field": Case(HEAD + b"X: a\rb\r\nContent-Length: 0\r\n\r\n", 502),
    "NUL in a field": Case(HEAD + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n", 502),
    "a space before the colon": Case(HEAD + b"Content-Length : 2\r\n\r\nok", 502),
    "a folded field": Case(HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok", 502),
    "no HTTP": Case(b"220 mail.example ESMTP\r\n\r\n", 502),
    "a line that is no HTTP": Case(b"SSH-2.0-OpenSSH_9.2\r\n", 502),
    "HTTP/2": Case(b"HTTP/2 200 OK\r\n\r\n", 502),
    "bare line feeds": Case(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 502),
    "a status of four digits": Case(b"HTTP/1.1 2000 OK\r\n\r\n", 502),
    "bytes after the body": Case(
        HEAD + b"Content-Length: 2\r\n\r\nok" + SMUGGLED, 200, b"ok", reused=False
    ),
    "bytes after the chunks": Case(CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + SMUGGLED, 200, b"ok"),
    "a body with 204": Case(b"HTTP/1.1 204 No Content\r\n\r\n" + SMUGGLED, 204),
    "a length with 204": Case(b"HTTP/1.1 204 No Content\r\nContent-Length: 44\r\n\r\n", 204),
    "chunks with 204": Case(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204),
    "an honest 204": Case(b"HTTP/1.1 204 No Content\r\n\r\n", 204, reused=True),
    "a body with 304": Case(b"HTTP/1.1 304 Not Modified\r\n\r\n" + SMUGGLED, 304),
    "an honest 304": Case(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 44\r\n\r\n", 304, reused=True
    ),
    "a body for HEAD": Case(HEAD + b"Content-Length: 2\r\n\r\nok", 200, method=b"HEAD"),
    "an answer for HEAD": Case(
        HEAD + b"Content-Length: 2\r\n\r\n", 200, method=b"HEAD", reused=True
    ),
    "a chunk size that is none": Case(CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n", 502),
    "a chunk size that ends in a bare LF": Case(CHUNKED + b"2\nok\r\n0\r\n\r\n", 502),
    "a trailer that is none": Case(CHUNKED + b"0\r\nX : y\r\n\r\n", 502),
    "a broken chunk later on": Case(CHUNKED + b"2\r\nok\r\n\x00|0x2\r\nok\r\n0\r\n\r\n", 502),
    "another protocol": Case(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        502,
    ),
    "an interim answer": Case(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\nok",
        200,
        b"ok",
        reused=True,
    ),
    "an interim answer with a length": Case(
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 44\r\n\r\n" + SMUGGLED,
        200,
        b"stray",
        reused=True,
    ),
}  # fmt: skip


class Scripted(Wire):
    """A backend's connection: the first request that is the attacker's gets the answer."""

    def __init__(self, server: ScriptedServer) -> None:
        super().__init__()
        self._server = server
        self.asked = 0

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        while b"\r\n\r\n" in self.data:
            head = self._cut(self.data.find(b"\r\n\r\n") + 4)
            self.asked += 1
            self.send(GOOD if b" /bystander " in head else self._server.answer)


class ScriptedServer(Server):
    """A backend that answers as told, and anybody else well."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = b""
        self.wires = []

    def buildProtocol(self, addr: IAddress | None) -> Wire:
        wire = Scripted(self)
        self.wires.append(wire)
        return wire


class AnswersTestCase(OracleTestCase):
    def make_backend(self) -> Server:
        self.scripted = ScriptedServer()
        return self.scripted

    def moved(self) -> int:
        return sum(wire.asked for wire in self.scripted.wires)  # type: ignore[attr-defined]

    async def got(self, answer: bytes, method: bytes, late: bytes = b"") -> tuple[int, bytes, bool]:
        """Return the status that a client got for an answer, its body, and whether it was whole.

        Somebody else asks behind it, while what is ``late`` arrives, and gets what is his.
        """
        self.scripted.wires.clear()
        self.scripted.answer = answer
        client, other = await self.connected(), await self.connected()
        client.send(ATTACKER % method)
        await self.at_rest(client)
        wire = self.scripted.wires[0]
        if wire.over:
            other.send(BYSTANDER)
        else:
            at_once(other, BYSTANDER, wire, late)
        await self.at_rest(other)
        assert other.data.endswith(b"\r\n\r\nbystander"), bytes(other.data)
        assert other.data.count(b"HTTP/1.1 ") == 1, bytes(other.data)
        other.abort()
        await self.finish(client)
        return heard(bytes(client.data), method)


def heard(data: bytes, method: bytes, *, alone: bool = True) -> tuple[int, bytes, bool]:
    """Return what h11 makes of what a client got: status, body, and whether it is whole.

    :param alone: nothing may follow it.
    """
    oracle = h11.Connection(h11.CLIENT)
    oracle.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    oracle.send(h11.EndOfMessage())
    oracle.receive_data(data)
    status, body = 0, b""
    while True:
        event = oracle.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
            assert not alone or method == b"HEAD" or _framed(event), data
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert not alone or not oracle.trailing_data[0], data
            return status, body, True
        elif not isinstance(event, h11.InformationalResponse):
            return status, body, False


def _framed(event: h11.Response) -> bool:
    """Tell whether an answer's end is certain."""
    names = {name for name, _ in event.headers}
    return bool(names & {b"content-length", b"transfer-encoding"}) or event.status_code in (
        204,
        304,
    )


class TableTests(AnswersTestCase):
    """Each answer ends as written above."""

    async def check(self, case: Case) -> None:
        status, body, whole = await self.got(case.answer, case.method)
        self.assertEqual((case.outcome, True), (status, whole))
        if status != 502:
            self.assertEqual(case.body, body)
        asked = [wire.asked for wire in self.scripted.wires]  # type: ignore[attr-defined]
        self.assertEqual([2] if case.reused else [1, 1], asked)

    async def test_a_broken_chunk_behind_a_good_one(self) -> None:
        """What has begun can only be cut off."""
        self.scripted.answer = CHUNKED + b"2\r\nok\r\n"
        client = await self.connected()
        client.send(ATTACKER % b"GET")
        await client.until(b"ok\r\n")
        self.scripted.wires[0].send(b"0x2\r\nok\r\n0\r\n\r\n")
        await client.end()
        self.assertTrue(client.reset)
        self.assertEqual(b"", bytes(client.data))

    async def test_what_nobody_asked_for(self) -> None:
        """An answer that comes with the next request is not the answer to it."""
        for method in (b"GET", b"HEAD"):
            good = HEAD + b"Content-Length: 2\r\n\r\n" + (b"ok" if method == b"GET" else b"")
            self.assertEqual(200, (await self.got(good, method, late=SMUGGLED))[0])
            self.assertEqual(2, len(self.scripted.wires))


def add_cases() -> None:
    for name, case in CASES.items():

        async def test(self: TableTests, case: Case = case) -> None:
            await self.check(case)

        setattr(TableTests, "test_" + re.sub(r"\W+", "_", name), test)


add_cases()

PARTS = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b";", b"0", b"1", b"a", b"\r\n ",
        b"\xff", b"0\r\n\r\n", b"\r\n\r\n", b"chunked", b"Content-Length: 3\r\n", b"HTTP/1.0",
        b"close", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", SMUGGLED,
        b"100", b"204", b"304",
    ]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return an answer of the table, changed in some places."""
    data = draw(st.sampled_from(list(CASES.values()))).answer
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.integers(0, 3))
        data = data[:at] + draw(PARTS | st.binary(max_size=2)) + data[at + cut :]
    return data


class FuzzTests(AnswersTestCase):
    """Whatever an app answers, its client reads one answer or learns that it failed."""

    def test_mutated(self) -> Deferred[None]:
        """What is whole for the client is what h11 reads in the app's answer."""

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            report_multiple_bugs=False,
        )
        @given(mutated(), st.sampled_from([b"GET", b"HEAD"]), PARTS)
        def test(answer: bytes, method: bytes, late: bytes) -> None:
            found = blockingCallFromThread(
                reactor, lambda: Deferred.fromCoroutine(self.got(answer, method, late))
            )
            status, body, whole = found
            if whole and status not in (502, 504):
                # what comes late belongs to an answer that lacked it
                readings = [
                    heard(data, method, alone=False)[:2] for data in (answer, answer + late)
                ]
                assert (status, body) in readings, (found, answer, late)

        return deferToThread(test)
