"""Tests of :mod:`ood.proxy.core.h2`: HTTP/2 heads as HTTP/1.1 ones, and back."""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.core.forward import Peer, request_head
from ood.proxy.core.grammar import MalformedError
from ood.proxy.core.h2 import (
    Field,
    StreamError,
    field_list,
    read_request,
    trailer_lines,
    trailer_list,
)
from ood.proxy.core.request import CHUNKED

GET: list[Field] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"example.com"),
    (b":path", b"/a?b=1"),
]
PEER = Peer("192.0.2.1", 1234, b"https", 443)


def changed(name: bytes, value: bytes | None) -> list[Field]:
    """Return the plain request with one field set, or left out."""
    rest = [field for field in GET if field[0] != name]
    if value is None:
        return rest
    return [(name, value), *rest] if name[:1] == b":" else [*rest, (name, value)]


class RequestTests(SynchronousTestCase):
    """Tests of :func:`read_request`."""

    def test_a_plain_request(self) -> None:
        """Method, path, Host and fields arrive; crumbs of the cookie become one field."""
        fields = [*GET, (b"cookie", b"a=1"), (b"accept", b"*/*"), (b"cookie", b"b=2")]
        request = read_request(fields, ended=True)
        self.assertEqual((request.method, request.target), (b"GET", b"/a?b=1"))
        self.assertEqual((request.host, request.length), (b"example.com", 0))
        self.assertEqual(
            request.fields, b"host: example.com\r\naccept: */*\r\ncookie: a=1; b=2\r\n"
        )

    def test_bodies(self) -> None:
        """A body has the length that is told, or comes in chunks."""
        post = changed(b":method", b"POST")
        self.assertEqual(read_request(post, ended=False).length, CHUNKED)
        told = [*post, (b"content-length", b"5")]
        self.assertEqual(read_request(told, ended=False).length, 5)
        with self.assertRaises(StreamError):
            read_request(told, ended=True)
        with self.assertRaises(MalformedError):
            read_request([*post, (b"content-length", b"+5")], ended=False)

    def test_host_instead_of_authority(self) -> None:
        """Host counts if there is no authority, and may not contradict one."""
        alone = [*changed(b":authority", None), (b"host", b"a.example")]
        self.assertEqual(read_request(alone, ended=True).host, b"a.example")
        same = [*GET, (b"host", b"EXAMPLE.com")]
        self.assertEqual(read_request(same, ended=True).host, b"example.com")
        for bad in ([*GET, (b"host", b"evil.example")], changed(b":authority", None)):
            with self.assertRaises(StreamError):
                read_request(bad, ended=True)

    def test_a_web_socket(self) -> None:
        """RFC 8441's CONNECT becomes the handshake of HTTP/1.1; any other CONNECT is refused."""
        connect = [*changed(b":method", b"CONNECT"), (b"sec-websocket-version", b"13")]
        opening = [(b":protocol", b"websocket"), *connect]
        request = read_request(opening, ended=False, key=lambda: b"a2V5")
        self.assertEqual(
            (request.method, request.upgrade, request.length), (b"GET", b"websocket", 0)
        )
        self.assertIn(b"sec-websocket-key: a2V5\r\n", request.fields)
        for fields in (connect, [(b":protocol", b"connect-udp"), *connect]):
            with self.assertRaises(MalformedError) as caught:
                read_request(fields, ended=False)
            self.assertEqual(caught.exception.status, 405)

    def test_what_would_mean_something_else(self) -> None:
        """Whatever could smuggle a field or a request is an error of the stream."""
        bad = {
            "line end in a value": changed(b"x", b"1\r\nhost: evil"),
            "bare line feed": changed(b"x", b"1\nhost: evil"),
            "NUL": changed(b"x", b"a\x00b"),
            "colon in a name": changed(b"x:y", b"1"),
            "upper case": changed(b"Host", b"evil"),
            "empty name": changed(b"", b"1"),
            "space in front": changed(b"x", b" 1"),
            "tab behind": changed(b"x", b"1\t"),
            "space in the path": changed(b":path", b"/ HTTP/1.1\r\nx: y"),
            "no path": changed(b":path", None),
            "relative path": changed(b":path", b"a"),
            "absolute path": changed(b":path", b"http://evil/"),
            "method": changed(b":method", b"GET /evil"),
            "scheme": changed(b":scheme", b"javascript"),
            "authority": changed(b":authority", b"a\r\nx: y"),
            "authority with a space": changed(b":authority", b"a b"),
            "unknown pseudo-field": changed(b":status", b"200"),
            "pseudo-field twice": [*GET[:1], *GET],
            "pseudo-field behind": [*GET[:3], (b"x", b"1"), GET[3]],
            "protocol without CONNECT": changed(b":protocol", b"websocket"),
            "te": changed(b"te", b"gzip"),
            "connection": changed(b"connection", b"close"),
            "transfer-encoding": changed(b"transfer-encoding", b"chunked"),
            "upgrade": changed(b"upgrade", b"h2c"),
        }
        for what, fields in bad.items():
            with self.assertRaises(StreamError, msg=what):
                read_request(fields, ended=True)

    def test_too_much(self) -> None:
        """A head beyond the limits is answered, as in HTTP/1.1."""
        for fields in (
            [*GET, (b"x", b"y" * 20_000)],
            [*GET, *((b"x%d" % number, b"") for number in range(101))],
        ):
            with self.assertRaises(MalformedError) as caught:
                read_request(fields, ended=True)
            self.assertEqual(caught.exception.status, 431)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([b"x", b"host", b"content-length", b"cookie", b"te", b"a-b"])
                | st.binary(max_size=5),
                st.binary(max_size=8) | st.text("0123456789, \t;=", max_size=5).map(str.encode),
            ),
            max_size=5,
        ),
        st.sampled_from([b"GET", b"POST"]) | st.binary(min_size=1, max_size=4),
        st.just(b"/") | st.binary(max_size=6),
        st.booleans(),
    )
    def test_what_is_passed_on_is_one_request(
        self, fields: list[Field], method: bytes, path: bytes, ended: bool
    ) -> None:
        """An independent parser reads just that request, with just those names."""
        head = [(b":method", method), (b":path", path), *GET[1:3], *fields]
        try:
            request = read_request(head, ended=ended)
        except (StreamError, MalformedError):
            return
        oracle = h11.Connection(h11.SERVER)
        oracle.receive_data(request_head(request, PEER, pipe=False))
        event = oracle.next_event()
        self.assertIsInstance(event, h11.Request)
        self.assertEqual((event.method, event.target), (method, path))
        sent = {name for name, _ in fields} - {b"te"}
        added = {b"host", b"forwarded", b"transfer-encoding"}
        names = {name for name, _ in event.headers if not name.startswith(b"x-forwarded-")}
        self.assertLessEqual(names, sent | added)


class ResponseTests(SynchronousTestCase):
    """Tests of the way back."""

    def test_a_head(self) -> None:
        """Names become lower case, values lose the spaces around them."""
        fields = field_list(404, b"Content-Type: text/html\r\nSet-Cookie:a=1:2 \r\n")
        self.assertEqual(
            fields,
            [(b":status", b"404"), (b"content-type", b"text/html"), (b"set-cookie", b"a=1:2")],
        )

    def test_trailers(self) -> None:
        """Trailers pass in both directions; what would be a line of its own does not."""
        self.assertEqual(trailer_list(b"X-Sum: 1\r\n"), [(b"x-sum", b"1")])
        self.assertEqual(trailer_lines([(b"x-sum", b"1")]), b"x-sum: 1\r\n")
        for bad in ([(b"x", b"1\r\ny: 2")], [(b"x:y", b"1")], [(b":status", b"1")]):
            with self.assertRaises(StreamError):
                trailer_lines(bad)
