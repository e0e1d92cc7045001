from __future__ import annotations

from itertools import pairwise

import h11
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.core.framing import (
    CHUNK_EXTENSION_BYTES_MAX,
    CHUNK_LINE_BYTES_MAX,
    TRAILER_BYTES_MAX,
    Body,
    ChunkedBody,
    CloseBody,
    LengthBody,
    encode_chunk,
    encode_end,
)
from ood.proxy.core.grammar import MalformedError


def read(body: Body, data: bytes, cuts: list[int] | None = None) -> tuple[bytes, bytes]:
    """Feed ``data`` in pieces cut at ``cuts``; return the payload and the rest."""
    edges = [0, *sorted(cuts or []), len(data)]
    payload, rest = b"", b""
    for start, end in pairwise(edges):
        if body.done:
            rest += data[start:end]
        else:
            got, rest = body.feed(data[start:end])
            payload += got
    return payload, rest


BODIES = st.lists(st.binary(min_size=1, max_size=20), max_size=5)
CUTS = st.lists(st.integers(0, 150), max_size=6)


class LengthTests(SynchronousTestCase):
    @given(st.binary(max_size=30), st.binary(max_size=10), CUTS)
    def test_any_cut(self, payload: bytes, after: bytes, cuts: list[int]) -> None:
        """However it is cut, the body is the given number of bytes and nothing of the next."""
        data = payload + after
        body = LengthBody(len(payload))
        self.assertEqual((payload, after), read(body, data, [min(c, len(data)) for c in cuts]))
        self.assertTrue(body.done)

    def test_until_close(self) -> None:
        """Everything belongs to a body that ends with its connection."""
        body = CloseBody()
        self.assertEqual((b"abc", b""), body.feed(b"abc"))
        self.assertFalse(body.done)


class ChunkedTests(SynchronousTestCase):
    @given(BODIES, st.sampled_from([b"", b"X-Sum: 1\r\n"]), st.binary(max_size=10), CUTS)
    def test_any_cut(
        self, parts: list[bytes], trailers: bytes, after: bytes, cuts: list[int]
    ) -> None:
        """However it is cut, payload and trailers come out, and the next message's bytes stay."""
        data = b"".join(map(encode_chunk, parts)) + encode_end(trailers) + after
        body = ChunkedBody()
        found = read(body, data, [min(cut, len(data)) for cut in cuts])
        self.assertEqual((b"".join(parts), after), found)
        self.assertEqual(trailers, body.trailers)
        self.assertTrue(body.done)

    def test_extensions_are_dropped(self) -> None:
        self.assertEqual((b"abc", b""), read(ChunkedBody(), b"3 ;a=b\r\nabc\r\n0;c\r\n\r\n"))

    def test_malformed(self) -> None:
        """What is not exactly a chunk is refused, as soon as that is clear."""
        for data in (
            b"+3\r\n",
            b"0x3\r\n",
            b"-1\r\n",
            b" 3\r\n",
            b"3 \r\n",
            b"\r\n",
            b"g\r\n",
            b"3\nabc",
            b"3\r\nabcd",
            b"3\r\nabc\n",
            b"3\r\nabc\rX",
            b"3\rabc",
            b"3;a\x00\r\n",
            b"0\r\nX : y\r\n\r\n",
            b"0\r\nX: y\nZ: w\r\n\r\n",
            b"0\r\n folded\r\n\r\n",
            b"1" * 17 + b"\r\n",
        ):
            self.assertRaises(MalformedError, ChunkedBody().feed, data)

    def test_bounded(self) -> None:
        """No part of the framing may grow without end."""
        long_line = b"3;" + b"a" * CHUNK_LINE_BYTES_MAX
        self.assertRaises(MalformedError, ChunkedBody().feed, long_line)
        trailer = b"0\r\nA: " + b"b" * TRAILER_BYTES_MAX
        self.assertRaises(MalformedError, ChunkedBody().feed, trailer)
        chunk = b"1;" + b"a" * 99 + b"\r\nx\r\n"
        many = chunk * (CHUNK_EXTENSION_BYTES_MAX // 99)
        self.assertRaises(MalformedError, ChunkedBody().feed, many)

    @given(
        st.binary(max_size=40), st.sampled_from([b"3\r\nabc\r\n", b"", b"A;x\r\n0123456789\r\n"])
    )
    def test_as_h11(self, data: bytes, before: bytes) -> None:
        """What we take as a whole body, h11 takes as the same one."""
        stream = before + data + b"0\r\n\r\n"
        body = ChunkedBody()
        try:
            payload, rest = body.feed(stream)
        except MalformedError:
            return
        if body.done:
            self.assertEqual(payload, by_h11(stream[: len(stream) - len(rest)]))


def by_h11(stream: bytes) -> bytes:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.next_event()
    connection.receive_data(stream)
    payload = b""
    while isinstance(event := connection.next_event(), h11.Data):
        payload += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage), event
    return payload
