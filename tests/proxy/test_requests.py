from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

import h11
import httptools
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.core.grammar import FIELDS_MAX, HEAD_BYTES_MAX, MalformedError
from ood.proxy.core.head import Preface, classify
from ood.proxy.core.request import CHUNKED, Request, parse_request

CORPUS = Path(__file__).with_name("requests.txt")
PREFACES = {"incomplete": Preface.INCOMPLETE, "tls": Preface.TLS, "http2": Preface.HTTP2}


class Case(NamedTuple):
    name: str
    verdict: str
    data: bytes


def read_corpus() -> list[Case]:
    cases = []
    text = "\n".join(line for line in CORPUS.read_text().split("\n") if line[:1] != "#")
    for block in re.split(r"\n\n(?=\[)", text.strip()):
        name, verdict, *lines = block.split("\n")
        data = "".join(lines).encode("latin-1").decode("unicode_escape").encode("latin-1")
        cases.append(Case(name.strip("[]"), verdict, data))
    return cases


def look(data: bytes) -> Request | Preface | MalformedError:
    try:
        return classify(data)
    except MalformedError as error:
        return error


class CorpusTests(SynchronousTestCase):
    """Each request of the corpus is judged as written there."""

    def check(self, case: Case) -> None:
        found = look(case.data)
        word, _, rest = case.verdict.partition(" ")
        if word in PREFACES:
            self.assertIs(PREFACES[word], found)
        elif word.isdigit():
            assert isinstance(found, MalformedError), found
            self.assertEqual(int(word), found.status)
            self.assertIn(rest, found.why)
        else:
            assert isinstance(found, Request), found
            self.assertEqual(word == "plain", found.plain)
            for attribute in rest.split():
                self.check_attribute(found, attribute)

    def check_attribute(self, request: Request, attribute: str) -> None:
        name, _, value = attribute.partition("=")
        found = getattr(request, name)
        self.assertEqual(value, found.decode() if isinstance(found, bytes) else str(found))


def add_cases() -> None:
    for case in read_corpus():

        def test(self: CorpusTests, case: Case = case) -> None:
            self.check(case)

        setattr(CorpusTests, "test_" + re.sub(r"\W+", "_", case.name), test)


add_cases()


def head(*fields: bytes, host: bytes = b"a") -> bytes:
    lines = [b"GET / HTTP/1.1", b"Host: " + host, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


class LimitTests(SynchronousTestCase):
    def test_a_host_of_ten_thousand_bytes(self) -> None:
        """A Host longer than any name is refused, not looked up."""
        error = look(head(host=b"a" * 10_000))
        assert isinstance(error, MalformedError)
        self.assertEqual(400, error.status)

    def test_the_most_fields(self) -> None:
        """The limit itself is allowed, one more is not."""
        most = head(*[b"A: b"] * (FIELDS_MAX - 1))
        self.assertIsInstance(look(most), Request)
        error = look(head(*[b"A: b"] * FIELDS_MAX))
        assert isinstance(error, MalformedError)
        self.assertEqual(431, error.status)

    def test_the_longest_head(self) -> None:
        """The limit itself is allowed, one byte more is not."""
        longest = head(b"A: " + b"b" * (HEAD_BYTES_MAX - len(head(b"A: "))))
        self.assertEqual(HEAD_BYTES_MAX, len(longest))
        self.assertIsInstance(look(longest), Request)
        error = look(longest.replace(b"b\r\n\r\n", b"bb\r\n\r\n"))
        assert isinstance(error, MalformedError)
        self.assertEqual(431, error.status)

    def test_an_endless_head(self) -> None:
        """A head is refused when it has reached the limit without an end."""
        error = look(b"GET / HTTP/1.1\r\nA: ".ljust(HEAD_BYTES_MAX, b"b"))
        assert isinstance(error, MalformedError)
        self.assertEqual(431, error.status)

    def test_empty_lines(self) -> None:
        """However many come before a request, they are one thing to skip, not one call each."""
        count = (HEAD_BYTES_MAX - len(head())) // 2
        request = look(b"\r\n" * count + head())
        assert isinstance(request, Request)
        self.assertEqual(2 * count + len(head()), request.end)
        self.assertFalse(request.plain)
        error = look(b"\r\n" * (HEAD_BYTES_MAX // 2))
        assert isinstance(error, MalformedError)
        self.assertEqual(400, error.status)


class PrefixTests(SynchronousTestCase):
    def test_every_prefix_is_incomplete(self) -> None:
        """A valid request cut anywhere is never taken for another one, nor refused."""
        for case in read_corpus():
            if case.verdict.split()[0] in {"plain", "proxied"}:
                request = look(case.data)
                assert isinstance(request, Request)
                for cut in range(1, request.end):
                    self.assertIs(Preface.INCOMPLETE, look(case.data[:cut]), case.data[:cut])


class Listener:
    """What httptools (llhttp, Node's parser) makes of a request."""

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.strip()))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


def by_llhttp(data: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bool]:
    listener = Listener()
    parser = httptools.HttpRequestParser(listener)
    with contextlib.suppress(httptools.HttpParserUpgrade):
        parser.feed_data(data)
    return parser.get_method(), listener.url, listener.fields, bool(listener.complete)


def by_h11(data: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bool]:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX + 1)
    connection.receive_data(data)
    request = connection.next_event()
    assert isinstance(request, h11.Request), request
    done = isinstance(connection.next_event(), h11.EndOfMessage)
    fields = [(bytes(name), bytes(value)) for name, value in request.headers]
    return bytes(request.method), bytes(request.target), fields, done


def ours(request: Request) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bool]:
    lines = request.fields.split(b"\r\n")[:-1]
    pairs = [line.partition(b":") for line in lines]
    fields = [(name.lower(), value.strip(b" \t")) for name, _, value in pairs]
    return request.method, request.target, fields, request.length == 0


NAMES = st.sampled_from(
    [b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"Expect", b"X"]
)
VALUES = st.one_of(
    st.sampled_from(
        [b"a", b"a:80", b"chunked", b"3", b"close", b"keep-alive", b"upgrade", b"websocket", b""]
    ),
    st.binary(max_size=6),
)
SEPARATORS = st.sampled_from([b": ", b":", b" : ", b":\t", b"\x00", b""])
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b"\r\n "])
FIELD = st.tuples(NAMES, SEPARATORS, VALUES, ENDS).map(b"".join)
LINE = st.tuples(
    st.sampled_from([b"GET", b"POST", b"OPTIONS", b"HEAD", b"G@T"]),
    st.sampled_from([b" "] * 5 + [b"  ", b"\t"]),
    st.sampled_from([b"/", b"/a?b#c", b"*", b"/%00", b"/\xc3\xbc"]),
    st.sampled_from([b" HTTP/1.1"] * 8 + [b" HTTP/1.0", b" HTTP/1.2", b""]),
    ENDS,
).map(b"".join)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    fields = draw(st.lists(FIELD, max_size=3))
    return draw(LINE) + b"Host: a\r\n" * draw(st.integers(0, 1)) + b"".join(fields) + b"\r\n"


class OracleTests(SynchronousTestCase):
    """What is plain for us is read in the same way by llhttp (so by Node) and by h11."""

    def compare(self, data: bytes) -> None:
        found = look(data)
        if not isinstance(found, Request) or not found.plain:
            return
        head = re.sub(rb"(?i)chunked", b"chunked", data[: found.end])  # as h11 writes it
        found = look(head)
        assert isinstance(found, Request)
        self.assertEqual(ours(found), by_llhttp(head), head)
        self.assertEqual(ours(found), by_h11(head), head)

    def test_corpus(self) -> None:
        for case in read_corpus():
            self.compare(case.data)

    @settings(max_examples=1000, deadline=None)
    @given(requests())
    def test_generated(self, data: bytes) -> None:
        self.compare(data)

    @settings(max_examples=1000, deadline=None)
    @given(st.sampled_from(read_corpus()), st.data())
    def test_mutated(self, case: Case, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(case.data)))
        put = data.draw(st.binary(max_size=2))
        cut = data.draw(st.integers(0, 2))
        self.compare(case.data[:at] + put + case.data[at + cut :])


class ParseTests(SynchronousTestCase):
    def test_what_follows_the_head_is_left(self) -> None:
        """``end`` is the head's length, whatever follows."""
        request = parse_request(head() + b"GET /next")
        assert request is not None
        self.assertEqual(len(head()), request.end)

    def test_names_in_connection(self) -> None:
        """Names beside the known options are kept for the forwarder."""
        request = parse_request(head(b"Connection: X-One, close, Keep-Alive, x-two"))
        assert request is not None
        self.assertEqual((b"x-one", b"x-two"), request.named)

    def test_chunked(self) -> None:
        request = parse_request(head(b"Transfer-Encoding: chunked"))
        assert request is not None
        self.assertEqual(CHUNKED, request.length)
