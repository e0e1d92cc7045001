"""Heads that were read a moment ago: nobody can tell the difference."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.core import forward
from ood.proxy.core.familiar import FAMILIAR_BYTES_MAX, FAMILIAR_MAX, Heads
from ood.proxy.core.grammar import MalformedError
from ood.proxy.core.h2 import Field, StreamError, field_list, read_request
from ood.proxy.core.request import parse_request
from ood.proxy.core.response import parse_response
from ood.proxy.live import TICK_SECONDS, Live

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /",
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 1\r\nX-Ood-Peer: 1.1.1.1 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Me: 1\r\nConnection: X-Me\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Me: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * FAMILIAR_BYTES_MAX + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
]
RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Me: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Me: 1\r\nConnection: X-Me\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Me: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * FAMILIAR_BYTES_MAX + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200\x00\r\n\r\n",
]

GET = ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"a"))
OPENING = (
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"https"),
    (b":path", b"/"),
    (b":authority", b"a"),
)
STREAMS = [
    GET,
    (*GET, (b"cookie", b"a"), (b"cookie", b"b")),
    (*GET, (b"cookie", b"a; b")),
    (*GET, (b"content-length", b"2")),
    (*GET, (b"x-long", b"x" * FAMILIAR_BYTES_MAX)),
    (*GET, (b"host", b"b")),
    (*GET, (b"x-me", b"\x00")),
    OPENING[:-1],
    (*OPENING[:1], *OPENING[2:]),
]


def stream_request_of(heads: Heads | None, fields: Sequence[Field], *, ended: bool) -> object:
    """Return what is made of a stream's head."""
    read = heads.stream_request if heads else read_request
    try:
        return read(fields, ended=ended, key=lambda: b"a2V5")
    except MalformedError as error:
        return error.status, error.why
    except StreamError as error:
        return str(error)


def request_of(heads: Heads | None, data: bytes) -> object:
    """Return all that is made of a request's head."""
    try:
        found = heads.request(data) if heads else parse_request(data)
    except MalformedError as error:
        return error.status, error.why
    if found is None:
        return None
    return found, heads.passed(found) if heads else forward.request_fields(found)


def response_of(heads: Heads | None, data: bytes, *, to_head: bool) -> object:
    """Return all that is made of a response's head."""
    try:
        if heads is None:
            found = parse_response(data, to_head=to_head)
        else:
            found = heads.response(data, to_head=to_head)
    except MalformedError as error:
        return error.status, error.why
    if found is None:
        return None
    return found, heads.shown(found) if heads else forward.response_fields(found)


def size(known: object) -> int:
    """Return how many bytes there are in a key."""
    if isinstance(known, tuple):
        return sum(map(size, known))
    return len(known) if isinstance(known, bytes) else 0


class HeadsTests(SynchronousTestCase):
    """What is known already is what would be found anew."""

    @given(st.lists(st.sampled_from(REQUESTS), max_size=30))
    def test_requests(self, sent: list[bytes]) -> None:
        """Whatever came before, a request's head means the same."""
        heads = Heads()
        for data in sent:
            self.assertEqual(request_of(None, data), request_of(heads, data))

    @given(st.lists(st.tuples(st.sampled_from(RESPONSES), st.booleans()), max_size=30))
    def test_responses(self, sent: list[tuple[bytes, bool]]) -> None:
        """So does a response's, to GET and to HEAD."""
        heads = Heads()
        for data, to_head in sent:
            expected = response_of(None, data, to_head=to_head)
            self.assertEqual(expected, response_of(heads, data, to_head=to_head))

    @given(st.lists(st.tuples(st.sampled_from(STREAMS), st.booleans()), max_size=30))
    def test_streams(self, sent: list[tuple[Sequence[Field], bool]]) -> None:
        """So does that of a request in HTTP/2, whether a body follows or not."""
        heads = Heads()
        for fields, ended in sent:
            expected = stream_request_of(None, fields, ended=ended)
            self.assertEqual(expected, stream_request_of(heads, fields, ended=ended))

    def test_keys(self) -> None:
        """Two WebSockets don't share a key."""
        heads = Heads()
        keys = [b"b25l", b"dHdv"]
        requests = [heads.stream_request(OPENING, ended=False, key=lambda: key) for key in keys]
        for key, request in zip(keys, requests, strict=True):
            self.assertIn(key, request.fields)

    @given(st.lists(st.sampled_from(RESPONSES[:8]), max_size=30))
    def test_listed(self, sent: list[bytes]) -> None:
        """And what the answer to one is made of."""
        heads = Heads()
        for data in sent:
            found = parse_response(data, to_head=False)
            assert found is not None
            expected = field_list(found.status, forward.response_fields(found))
            self.assertEqual(expected, heads.listed(found))

    def test_named(self) -> None:
        """A rule may change the fields of two requests so that only what they named differs."""
        heads = Heads()
        request = parse_request(REQUESTS[9])
        assert request is not None
        self.assertIn(b"X-Me", heads.passed(request))
        named = msgspec.structs.replace(request, named=(b"x-me",))
        self.assertNotIn(b"X-Me", heads.passed(named))

    def test_known(self) -> None:
        """The same bytes are read once, until all is forgotten."""
        heads = Heads()
        first = heads.request(REQUESTS[0])
        self.assertIs(first, heads.request(bytes(bytearray(REQUESTS[0]))))
        reply = heads.response(RESPONSES[0], to_head=False)
        self.assertIs(reply, heads.response(RESPONSES[1], to_head=False))
        stream = heads.stream_request(GET, ended=True)
        self.assertIs(stream, heads.stream_request(list(GET), ended=True))
        heads.forget()
        self.assertIsNot(stream, heads.stream_request(GET, ended=True))
        self.assertIsNot(first, heads.request(REQUESTS[0]))
        self.assertIsNot(reply, heads.response(RESPONSES[0], to_head=False))

    def test_bounds(self) -> None:
        """Clients and apps that never say the same twice don't fill the memory."""
        heads = Heads()
        for number in range(3 * FAMILIAR_MAX):
            request = heads.request(
                b"GET /%d HTTP/1.1\r\nHost: a\r\nX: %d\r\n\r\n" % (number, number)
            )
            reply = heads.response(b"HTTP/1.1 200 OK\r\nX: %d\r\n\r\n" % number, to_head=False)
            assert request is not None and reply is not None
            heads.passed(request)
            heads.listed(reply)
            heads.stream_request((*GET, (b"x", b"%d" % number)), ended=True)
        for fields in STREAMS:
            stream_request_of(heads, fields, ended=True)
        for data in (REQUESTS[10], RESPONSES[7], REQUESTS[5] + b"x" * FAMILIAR_BYTES_MAX):
            request_of(heads, data)
            response_of(heads, data, to_head=False)
        long = parse_response(RESPONSES[7], to_head=False)
        assert long is not None
        heads.listed(long)
        kept = [getattr(heads, name) for name in Heads.__slots__]
        for one in kept:
            self.assertLessEqual(len(one), FAMILIAR_MAX)
            self.assertLessEqual(max(map(size, one)), FAMILIAR_BYTES_MAX)

    def test_a_moment(self) -> None:
        """At each tick all is forgotten, at the last one, too: nothing stays while nobody comes."""
        clock, heads = Clock(), Heads()
        live = Live(clock, heads.forget)
        member = _Member()
        live.add(member)
        first = heads.request(REQUESTS[0])
        live.discard(member)
        clock.advance(TICK_SECONDS)
        self.assertEqual([], clock.getDelayedCalls())
        self.assertIsNot(first, heads.request(REQUESTS[0]))


class _Member:
    """Something with a socket."""

    deadline = float("inf")

    def expired(self) -> None:
        """Never called."""

    def drain(self) -> None:
        """Never called."""

    def reset(self) -> None:
        """Never called."""
