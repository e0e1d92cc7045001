"""Requests that would be read in two ways: what reaches the app is read in one."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from ood.model.rules import Route
from tests.proxy.attacks.oracle import OracleTestCase, Told

CORPUS = Path(__file__).with_name("requests.txt")
EXAMPLES = int(os.environ.get("OOD_FUZZ_EXAMPLES", "150"))
"""Of each fuzz test: some seconds; by hand, take 20,000."""
STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) ")
RULES: dict[str, Any] = {
    "routes": {"/api": Route("site", strip=True)},
    "rewrites": {"/old/*": "/new/*?from=old"},
    "headers": {"X-Frame-Options": "DENY", "Server": ""},
    "request_headers": {"X-Site": "1", "Accept": ""},
    "request_id": True,
}


class Case(NamedTuple):
    name: str
    whole: int
    statuses: list[int]
    data: bytes


def read_corpus() -> list[Case]:
    cases = []
    text = "\n".join(line for line in CORPUS.read_text().split("\n") if line[:1] != "#")
    for block in re.split(r"\n\n(?=\[)", text.strip()):
        name, verdict, *lines = block.split("\n")
        whole, *statuses = map(int, verdict.split())
        data = "".join(lines).encode("latin-1").decode("unicode_escape").encode("latin-1")
        cases.append(Case(name.strip("[]"), whole, statuses, data))
    return cases


CASES = read_corpus()


class SmugglingTestCase(OracleTestCase):
    async def check(self, case: Case) -> None:
        """See that a case ends as the corpus says."""
        told, statuses = await self.reached([case.data])
        self.assertEqual((case.whole, case.statuses), (len(told), statuses), (case.name, told))

    async def reached(
        self, pieces: list[bytes], *, ends: bool = False, early: bool = False
    ) -> tuple[list[Told], list[int]]:
        """Send what a client sends; return the requests that reached the app, and the answers.

        :param ends: the client closes its side then.
        """
        self.begin(early=early)
        client = await self.connected()
        for piece in pieces:
            if client.over:
                break
            client.send(piece)
            if len(pieces) > 1:
                await self.settle()
        if ends:
            await self.at_rest(client)
        if ends and not client.over:
            client.transport.loseWriteConnection()  # type: ignore[union-attr]
        await self.at_rest(client)
        answer = await self.bystander()
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\nok"))
        await self.finish(client)
        return self.judged(), [int(one) for one in STATUS.findall(bytes(client.data))]


class CorpusTests(SmugglingTestCase):
    """Each case of the corpus ends as written there, over pipes."""


def add_cases() -> None:
    for case in CASES:

        async def test(self: CorpusTests, case: Case = case) -> None:
            await self.check(case)

        setattr(CorpusTests, "test_" + re.sub(r"\W+", "_", case.name), test)


class TcpCorpusTests(SmugglingTestCase):
    """The same over TCP, with the fields that tell of the client."""

    pipe = False

    async def test_all(self) -> None:
        for case in CASES:
            await self.check(case)


class RulesCorpusTests(TcpCorpusTests):
    """The same with rules that change each request's head."""

    keys = RULES


add_cases()


PARTS = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b",", b";", b"0", b"1", b"a",
        b"\r\n\r\n", b"\r\n ", b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: site.localhost\r\n\r\n",
        b"chunked", b"_", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
        b"Host: site.localhost\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n",
        b"Connection: close\r\n", b"\x80", b"\x0b", b"Expect: 100-continue\r\n", b"HTTP/1.0",
        b"HEAD", b"POST", b"%0d%0a", b"/api/../old/",
    ]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a case of the corpus, changed in some places, perhaps with another one behind it."""
    data = draw(st.sampled_from(CASES)).data
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.integers(0, 3))
        put = draw(PARTS | st.binary(max_size=2))
        data = data[:at] + put + data[at + cut :]
    return data + draw(st.just(b"") | st.sampled_from(CASES).map(lambda case: case.data))


@st.composite
def built(draw: st.DrawFn) -> bytes:
    """Return requests that are mostly right, with the fields that matter in any combination."""
    return b"".join(draw(st.lists(one_request(), min_size=1, max_size=3)))


@st.composite
def one_request(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"PURGE"]))
    target = draw(
        st.sampled_from([b"/", b"/api/x?y", b"/old/a//b", b"*", b"http://site.localhost/"])
    )
    minor = draw(st.sampled_from(b"1110"))
    body = draw(st.binary(max_size=12) | st.just(b"GET /inner HTTP/1.1\r\nHost: a\r\n\r\n"))
    chunks = b"".join(
        b"%x%b\r\n%b\r\n" % (1, draw(EXTENSIONS), body[n : n + 1]) for n in range(len(body))
    )
    framing, body = draw(
        st.sampled_from(
            [
                (b"", b""),
                (b"Content-Length: %d\r\n" % len(body), body),
                (b"Transfer-Encoding: chunked\r\n", chunks + b"0\r\n%b\r\n" % draw(TRAILERS)),
                (b"Content-Length: %d\r\n" % (len(body) + 1), body),
            ]
        )
    )
    fields = b"".join(draw(st.lists(FIELDS, max_size=4)))
    head = b"%b %b HTTP/1.%c\r\nHost: site.localhost\r\n%b%b\r\n"
    return head % (method, target, minor, fields, framing) + body


EXTENSIONS = st.sampled_from([b"", b"", b"", b";a=b", b' ; a="b"', b";\xff"])
TRAILERS = st.sampled_from(
    [b"", b"X-Sum: 1\r\n", b"Content-Length: 5\r\nHost: a\r\n", b"X: \xff\r\n"]
)
FIELDS = st.sampled_from(
    [
        b"Connection: close\r\n", b"Connection: keep-alive, X-A\r\n",
        b"connection: x-a,,cookie\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Upgrade: websocket\r\n", b"X-A: 1\r\n",
        b"Expect: 100-continue\r\n", b"Expect: x\r\n", b"TE: trailers\r\n", b"Trailer: X-Sum\r\n",
        b"Content_Length: 7\r\n", b"X-Forwarded-For: 1.2.3.4\r\n", b"Forwarded: for=a\r\n",
        b"Cookie: a=b\r\n", b"X-Ood-Peer: 1.2.3.4 5\r\n", b"Keep-Alive: timeout=1\r\n",
        b"Proxy-Connection: close\r\n", b"X-Site: 2\r\nX_Site: 3\r\n", b"Accept:\r\n",
        b"X:\xff\t\r\n",
    ]
)  # fmt: skip


class FuzzTests(SmugglingTestCase):
    """Whatever is sent, h11 and Node agree about what reaches the app."""

    def fuzzed(self, data: st.SearchStrategy[bytes]) -> Deferred[None]:
        """Try examples in a thread, as hypothesis waits for each."""

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(data, st.lists(st.integers(1, 200), max_size=2), st.booleans(), st.booleans())
        def test(data: bytes, cuts: list[int], ends: bool, early: bool) -> None:
            edges = [0, *sorted(cuts), len(data)]
            pieces = [data[a:b] for a, b in pairwise(edges) if data[a:b]]
            blockingCallFromThread(
                reactor,
                lambda: Deferred.fromCoroutine(self.reached(pieces, ends=ends, early=early)),
            )

        return deferToThread(test)

    def test_mutated(self) -> Deferred[None]:
        """Cases of the corpus, changed."""
        return self.fuzzed(mutated())

    def test_built(self) -> Deferred[None]:
        """Requests that are mostly right."""
        return self.fuzzed(built())


class RulesFuzzTests(FuzzTests):
    """The same with rules that change each request's head, over TCP."""

    keys = RULES
    pipe = False
