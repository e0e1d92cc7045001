from __future__ import annotations

import json
import sys

import httptools
from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.core import forward, pages
from ood.proxy.core.forward import Peer
from ood.proxy.core.grammar import MalformedError
from ood.proxy.core.request import CHUNKED, Request, parse_request
from ood.proxy.core.response import (
    RESPONSE_HEAD_BYTES_MAX,
    UNTIL_CLOSE,
    Response,
    parse_response,
)

PEER = Peer("192.0.2.7", 4711, b"http", 8080)
DATE = b"Thu, 01 Jan 1970 00:00:00 GMT"


def request(*fields: str, line: str = "GET / HTTP/1.1", host: str = "a") -> Request:
    found = parse_request("\r\n".join([line, f"Host: {host}", *fields, "", ""]).encode())
    assert found is not None
    return found


def response(*fields: str, line: str = "HTTP/1.1 200 OK", to_head: bool = False) -> Response:
    data = "\r\n".join([line, *fields, "", ""]).encode()
    found = parse_response(data, to_head=to_head)
    assert found is not None
    return found


def fields_of(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return [(name.lower(), value.strip()) for name, _, value in (s.partition(":") for s in lines)]


class RequestHeadTests(SynchronousTestCase):
    def forwarded(self, found: Request, pipe: bool = False) -> dict[str, str]:
        head = forward.request_head(found, PEER, pipe=pipe)
        again = parse_request(head)
        assert again is not None
        pairs = fields_of(head)
        self.assertEqual(len(pairs), len(dict(pairs)), "a field is set twice")
        return dict(pairs)

    def test_pretended_proxies_are_not_believed(self) -> None:
        """Whatever a client says of other proxies is replaced by what is seen here."""
        found = self.forwarded(
            request(
                "X-Forwarded-For: 1.1.1.1",
                "x-forwarded-proto: https",
                "X-FORWARDED-HOST: evil",
                "X-Forwarded-Port: 1",
                "Forwarded: for=1.1.1.1",
                "X-Real-IP: 1.1.1.1",
                "X-Ood-Peer: 1.1.1.1 1",
                "X-Ood-Other: 1",
                "X_Forwarded_For: 1.1.1.1",
                "x-forwarded_proto: https",
                "X_Real_IP: 1.1.1.1",
                "X_Ood_Peer: 1.1.1.1 1",
                "Transfer_Encoding: chunked",
                "Content_Length: 5",
                "X-Kept: 1",
                "api_key: k",
                "X_Kept: 1",
                host="example.com:8080",
            )
        )
        self.assertEqual(
            {
                "host": "example.com:8080",
                "x-kept": "1",
                "api_key": "k",
                "x_kept": "1",
                "x-forwarded-for": "192.0.2.7",
                "x-forwarded-proto": "http",
                "x-forwarded-host": "example.com:8080",
                "x-forwarded-port": "8080",
                "forwarded": 'for=192.0.2.7;proto=http;host="example.com:8080"',
            },
            found,
        )

    def test_hop_by_hop(self) -> None:
        """Fields named in Connection go, then the known ones; no name removes framing or Host."""
        found = self.forwarded(
            request(
                "Connection: close, X-Mine, content-length, host, X-Forwarded-For",
                "X-Mine: 1",
                "Keep-Alive: 5",
                "Proxy-Connection: x",
                "TE: trailers",
                "Upgrade: h2c",
                "HTTP2-Settings: A",
                "Content-Length: 3",
                line="POST / HTTP/1.1",
            )
        )
        for name in ("connection", "x-mine", "keep-alive", "te", "upgrade", "http2-settings"):
            self.assertNotIn(name, found)
        self.assertEqual("3", found["content-length"])
        self.assertEqual("a", found["host"])
        self.assertEqual("192.0.2.7", found["x-forwarded-for"])

    def test_many_names_in_connection(self) -> None:
        """A head full of names costs no step for each: clients choose them."""
        names = ",".join(f"n{number}" for number in range(2_000))
        wanted = request(f"Connection: {names}", "N7: x", "X-Kept: 1")
        steps = 0

        def count(*_: object) -> None:
            nonlocal steps
            steps += 1

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            found = self.forwarded(wanted)
        finally:
            sys.setprofile(before)
        self.assertIn("x-kept", found)
        self.assertNotIn("n7", found)
        self.assertLess(steps, 1_000)

    def test_a_websocket_stays_one(self) -> None:
        found = self.forwarded(request("Connection: Upgrade", "Upgrade: WebSocket", "TE: x"))
        self.assertEqual(("Upgrade", "websocket"), (found["connection"], found["upgrade"]))

    def test_chunked_stays_chunked(self) -> None:
        found = self.forwarded(request("Transfer-Encoding:  CHUNKED", line="POST / HTTP/1.1"))
        self.assertEqual("chunked", found["transfer-encoding"])

    def test_pipes_tell_the_peer(self) -> None:
        """Only a pipe's guard gets X-Ood-Peer, and only ours."""
        found = self.forwarded(request("X-Ood-Peer: 1.1.1.1 1"), pipe=True)
        self.assertEqual("192.0.2.7 4711", found["x-ood-peer"])

    def test_ipv6(self) -> None:
        head = forward.request_head(request(), Peer("::1", 1, b"https", 443), pipe=False)
        self.assertIn(b'Forwarded: for="[::1]";proto=https;', head)

    def test_the_absolute_form(self) -> None:
        """The target's host replaces Host, the path remains."""
        head = forward.request_head(request(line="GET http://b:1/x HTTP/1.1"), PEER, pipe=False)
        self.assertTrue(head.startswith(b"GET /x HTTP/1.1\r\nHost: b:1\r\n"))
        self.assertEqual(1, head.count(b"\r\nHost:"))

    def test_a_told_peer(self) -> None:
        """A guard's word is read; a malformed one is not."""
        told = forward.told_peer(request("X-Ood-Peer: ::1 12"), 80)
        self.assertEqual(Peer("::1", 12, b"http", 80), told)
        told = forward.told_peer(request("X-Ood-Peer: ::1 12 https"), 443)
        self.assertEqual(Peer("::1", 12, b"https", 443), told)
        for wrong in ("x 12", "::1 12 ftp", "::1 12https"):
            self.assertIsNone(forward.told_peer(request(f"X-Ood-Peer: {wrong}"), 80))
        self.assertIsNone(forward.told_peer(request(), 80))


class ResponseTests(SynchronousTestCase):
    def test_framing(self) -> None:
        """How the body ends follows RFC 9112 6.3."""
        self.assertEqual(5, response("Content-Length: 5").length)
        self.assertEqual(CHUNKED, response("transfer-encoding: chunked").length)
        self.assertEqual(UNTIL_CLOSE, response().length)
        for line in ("HTTP/1.1 204 No Content", "HTTP/1.1 304 x", "HTTP/1.1 103 Early Hints"):
            self.assertEqual(0, response("Content-Length: 5", line=line).length)
        self.assertEqual(0, response("Content-Length: 5", to_head=True).length)

    def test_keep_alive(self) -> None:
        self.assertTrue(response("Content-Length: 0").keep_alive)
        self.assertFalse(response("Content-Length: 0", "Connection: Close").keep_alive)
        self.assertFalse(response("Content-Length: 0", line="HTTP/1.0 200 OK").keep_alive)
        self.assertFalse(response().keep_alive)
        self.assertEqual(5, response("Keep-Alive: timeout=5, max=3").idle_timeout)

    def test_malformed(self) -> None:
        """A response that two parsers could read in two ways is none."""
        for data in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1,1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 600 OK\r\n\r\n",
            b"HTTP/2 200\r\n\r\n",
            b"SSH-2.0-x\r\n\r\n",
            b"SSH-2.0-x\r\n",
            b"\r\n",
            b"HTTP/2",
            b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
            b"HTTP/1.1 200 OK\r\nA: b\n",
            b"x" * RESPONSE_HEAD_BYTES_MAX,
        ):
            self.assertRaises(MalformedError, parse_response, data, to_head=False)

    def test_incomplete(self) -> None:
        """Each beginning of a head is waited for."""
        head = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
        for end in range(len(head)):
            self.assertIsNone(parse_response(head[:end], to_head=False), head[:end])

    def test_forwarded(self) -> None:
        """Hop-by-hop fields go, our own framing and connection are set, others stay in order."""
        found = response(
            "Set-Cookie: a",
            "Connection: close, X-Hop",
            "X-Hop: 1",
            "Keep-Alive: timeout=5",
            "Transfer-Encoding: chunked",
            "set-cookie: b",
            line="HTTP/1.1 404 Nope",
        )
        self.assertEqual(
            b"HTTP/1.1 404 Nope\r\nSet-Cookie: a\r\nset-cookie: b\r\n"
            b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
            forward.response_head(found, chunked=True, close=True),
        )

    def test_no_length_with_204(self) -> None:
        found = response("Content-Length: 0", line="HTTP/1.1 204 No Content")
        head = forward.response_head(found, chunked=False, close=False)
        self.assertEqual(b"HTTP/1.1 204 No Content\r\n\r\n", head)

    def test_trailers(self) -> None:
        """Trailers pass, but none that frames, routes or authenticates."""
        trailers = b"X-Sum: 1\r\nContent-Length: 3\r\nhost: b\r\nX_Ood_Y: 1\r\nX-Ood-Peer: 1\r\n"
        trailers += b"Set_Cookie: a=b\r\nX_Real_IP: 1.1.1.1\r\nX_Y: 1\r\n"
        self.assertEqual(b"X-Sum: 1\r\nX_Y: 1\r\n", forward.trailer_fields(trailers))


class PageTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """Accept decides between HTML, JSON and text; each is one whole valid response."""
        page = pages.no_site(b"<script>.example")
        for accept, kind in (
            (b"text/html,*/*", "text/html"),
            (b"application/json", "application/json"),
            (b"*/*", "text/plain"),
            (b"", "text/plain"),
        ):
            data = pages.render(page, date=DATE, accept=accept, to_head=False, close=False)
            head = parse_response(data, to_head=False)
            assert head is not None
            self.assertEqual(head.length, len(data) - head.end)
            self.assertTrue(dict(fields_of(data[: head.end]))["content-type"].startswith(kind))
            httptools.HttpResponseParser(object()).feed_data(data)

    def test_html_is_escaped(self) -> None:
        page = pages.no_site(b"<script>")
        data = pages.render(page, date=DATE, accept=b"text/html", to_head=False, close=False)
        self.assertNotIn(b"<script>", data)

    def test_head_has_no_body(self) -> None:
        """A HEAD request gets the head that GET would get, and nothing more."""
        page = pages.bad_upstream("a")
        full = pages.render(page, date=DATE, accept=b"", to_head=False, close=True)
        head = pages.render(page, date=DATE, accept=b"", to_head=True, close=True)
        self.assertTrue(full.startswith(head) and head.endswith(b"\r\n\r\n"))

    def test_json(self) -> None:
        page = pages.unavailable("the app a is stopped", "ood start a")
        data = pages.render(page, date=DATE, accept=b"application/json", to_head=False, close=False)
        head, _, body = data.partition(b"\r\n\r\n")
        error = {"code": 503, "message": "The app a is stopped.", "hint": "ood start a"}
        self.assertEqual({"error": error}, json.loads(body))
        self.assertIn(b"Retry-After: 5", head)

    def test_accept(self) -> None:
        self.assertEqual(b"text/html", pages.accepted(request("aCCept:  Text/HTML").fields))
        self.assertEqual(b"", pages.accepted(request("Accept-Encoding: gzip").fields))
