"""HTTP/2 in front of HTTP/1.1: no stream becomes more than its one request."""

from __future__ import annotations

import os
from collections.abc import Sequence

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from ood.proxy.http2.hyper import HyperSession
from ood.proxy.http2.session import Field, Session
from tests.proxy.attacks.oracle import OracleTestCase, Told
from tests.proxy.attacks.test_smuggling import RULES
from tests.proxy.h2client import Answer, Client, Http2TestCase

EXAMPLES = int(os.environ.get("OOD_FUZZ_EXAMPLES", "150"))
INNER = b"GET /inner HTTP/1.1\r\nHost: site.localhost\r\n\r\n"
GET = [(b":method", b"GET"), (b":path", b"/")]
POST = [(b":method", b"POST"), (b":path", b"/")]
SITE = [(b":scheme", b"https"), (b":authority", b"site.localhost")]


class LaxClient(Client):
    """A client that sends whatever it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )

    def ask(
        self, fields: list[Field], body: Sequence[bytes], trailers: Sequence[Field], end: bool
    ) -> int:
        """Send a request as it is given; return its stream."""
        number = int(self.h2.get_next_available_stream_id())
        self.answers[number] = Answer()
        last = not body and not trailers and end
        self.h2.send_headers(number, fields, end_stream=last)
        for at, piece in enumerate(body):
            last = at == len(body) - 1 and not trailers and end
            self.h2.send_data(number, piece, end_stream=last)
        if trailers:
            self.h2.send_headers(number, trailers, end_stream=True)
        self.flush()
        return number


class Http2OracleTestCase(OracleTestCase, Http2TestCase):
    """A judged proxy whose clients speak HTTP/2."""

    async def reached(
        self,
        fields: list[Field],
        body: Sequence[bytes] = (),
        trailers: Sequence[Field] = (),
        *,
        end: bool = True,
        early: bool = False,
    ) -> tuple[list[Told], int | None]:
        """Send a request; return what reached the app, and the answer's status, None if reset."""
        self.begin(early=early)
        client = await self.h2(LaxClient())
        try:
            number = client.ask(fields, body, trailers, end)
        except ProtocolError:  # beyond what even this client can send
            client.abort()
            return [], None
        await self.at_rest(client)
        self.assertTrue((await self.bystander()).endswith(b"\r\n\r\nok"))
        await self.finish(client)
        return self.judged(), client.answers[number].status or None


class TableTests(Http2OracleTestCase):
    """Each way to smuggle one request in another's fields, body or trailers."""

    async def refused(
        self, fields: list[Field], body: Sequence[bytes] = (), trailers: Sequence[Field] = ()
    ) -> None:
        """See that nothing whole reaches the app."""
        told, _ = await self.reached(fields, body, trailers)
        self.assertEqual([], told)

    async def test_a_length_that_is_too_short(self) -> None:
        """The rest of the body would be the next request (H2.CL)."""
        told, _ = await self.reached([*POST, *SITE, (b"content-length", b"0")], [INNER])
        self.assertIn([one.url for one in told], ([], ["/"]))
        await self.refused([*POST, *SITE, (b"content-length", b"3")], [b"abc" + INNER])

    async def test_a_length_that_is_too_long(self) -> None:
        """The next request would be the rest of the body."""
        await self.refused([*POST, *SITE, (b"content-length", b"50")], [b"abc"])

    async def test_a_length_that_is_too_long_and_trailers(self) -> None:
        """The same where trailers end the body."""
        fields = [*POST, *SITE, (b"content-length", b"50")]
        await self.refused(fields, [b"abc"], [(b"x-sum", b"1")])

    async def test_transfer_encoding(self) -> None:
        """HTTP/2 has its own framing (H2.TE)."""
        for name in (b"transfer-encoding", b"Transfer-Encoding", b"connection", b"keep-alive"):
            await self.refused([*POST, *SITE, (name, b"chunked")], [b"0\r\n\r\n" + INNER])

    async def test_line_ends(self) -> None:
        """A field that would be two, or a request, in HTTP/1.1."""
        for bad in (b"a\r\ntransfer-encoding: chunked", b"a\r\n\r\n" + INNER, b"a\nx: b", b"a\x00"):
            await self.refused([*GET, *SITE, (b"x", bad)])
            await self.refused([*GET, *SITE, (b"x" + bad, b"1")])
            await self.refused([GET[0], (b":path", b"/" + bad), *SITE])
            await self.refused([(b":method", b"GET" + bad), GET[1], *SITE])
            await self.refused([*GET, SITE[0], (b":authority", b"site.localhost" + bad)])
            await self.refused([*GET, (b":scheme", b"https" + bad), SITE[1]])
            await self.refused([*POST, *SITE], [b"abc"], [(b"x", bad)])

    async def test_names_with_a_colon(self) -> None:
        """``:x`` and ``x: y`` are no names."""
        for name in (b"transfer-encoding: chunked\r\nx", b"x:y", b":x", b"", b" x", b"x "):
            await self.refused([*GET, *SITE, (name, b"1")])

    async def test_another_host(self) -> None:
        """Host may not contradict the authority."""
        await self.refused([*GET, *SITE, (b"host", b"other")])
        told, status = await self.reached([*GET, *SITE, (b"host", b"site.localhost")])
        self.assertEqual((1, 200), (len(told), status))
        self.assertEqual(1, sum(name == "host" for name, _ in told[0].headers))

    async def test_a_path_that_is_none(self) -> None:
        for path in (b"", b"x", b"http://site.localhost/", b"/ HTTP/1.1", b"/\t", b"/\xff"):
            await self.refused([GET[0], (b":path", path), *SITE])

    async def test_trailers_that_frame(self) -> None:
        """Trailers pass, but none that would be a field of the head."""
        trailers = [(b"x-ood-peer", b"6.6.6.6 1"), (b"cookie", b"a"), (b"x-sum", b"1")]
        told, status = await self.reached([*POST, *SITE], [b"abc"], trailers)
        self.assertEqual(200, status)
        self.assertEqual((("x-sum", "1"),), told[0].trailers)
        told, _ = await self.reached([*POST, *SITE], [b"abc"], [(b"content-length", b"5")])
        self.assertIn([one.trailers for one in told], ([], [()]))

    async def test_a_body_of_unknown_length(self) -> None:
        """It becomes chunks, whatever is in it."""
        told, status = await self.reached([*POST, *SITE], [b"0\r\n\r\n" + INNER, b"", INNER])
        self.assertEqual((1, 200), (len(told), status))
        self.assertIn(("transfer-encoding", "chunked"), told[0].headers)

    async def test_a_refused_head(self) -> None:
        """An answer to HEAD has no body, even where the request is refused."""
        for bad in (
            [(b":path", b"*")],
            [GET[1], *((b"x%d" % number, b"") for number in range(120))],
        ):
            fields = [(b":method", b"HEAD"), *bad[:1], *SITE, *bad[1:]]
            told, status = await self.reached(fields)
            self.assertEqual([], told)
            self.assertIn(status, (400, 431, None))  # None: some the library resets

    async def test_marks_of_our_own(self) -> None:
        """Nobody but ood says who the client is."""
        marks = [(b"x-ood-peer", b"6.6.6.6 1"), (b"x_forwarded_for", b"6.6.6.6")]
        told, _ = await self.reached([*GET, *SITE, *marks])
        self.assertNotIn("6.6.6.6", str(told))


class TcpTests(Http2OracleTestCase):
    """What comes before the connection to the app is made."""

    pipe = False

    async def test_the_end_before_the_connection(self) -> None:
        """A body's end, with trailers or without, does not overtake the head."""
        for body, trailers in (([b""], []), ([], [(b"x-sum", b"1")]), ([b"a", b""], [])):
            told, status = await self.reached([*POST, *SITE], body, trailers)
            self.assertEqual((1, 200), (len(told), status))


class HyperTableTests(TableTests):
    """The same over the other library."""

    def session(self) -> Session:
        return HyperSession()


NAMES = st.sampled_from(
    [
        b"x", b"host", b"content-length", b"transfer-encoding", b"te", b"connection", b"upgrade",
        b"cookie", b"expect", b"x_y", b"X", b"x:y", b"x y", b"x-ood-peer", b"content_length",
        b"trailer",
    ]
)  # fmt: skip
VALUES = st.sampled_from(
    [
        b"", b"1", b"3", b"5", b"03", b"3,3", b"chunked", b"trailers", b"site.localhost",
        b"a\r\nb: c", b"a\nb", b"a\x00", b" a", b"a\t", b"\xff", b"100-continue",
        b"websocket", b"a=b; c",
    ]
)  # fmt: skip
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=3)
BODIES = st.lists(st.sampled_from([b"", b"abc", b"ab", b"0\r\n\r\n", INNER]), max_size=3)
HEADS = st.tuples(
    st.sampled_from([b"GET", b"POST", b"POST", b"HEAD", b"OPTIONS", b"GET / HTTP/1.1\r\n"]),
    st.sampled_from([b"/", b"/", b"/", b"/api/../old/x?y", b"*", b"/a b", b"/\r\n", b"/#?"]),
    st.sampled_from([b"https", b"https", b"http", b"x"]),
    st.sampled_from([b"site.localhost", b"site.localhost:443", b"site.localhost\r\nx: y", b"a b"]),
)  # fmt: skip


class FuzzTests(Http2OracleTestCase):
    """Whatever a stream brings, h11 and Node agree about what reaches the app."""

    def test_streams(self) -> Deferred[None]:
        """Requests that are mostly right."""

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            report_multiple_bugs=False,
        )
        @given(HEADS, FIELDS, BODIES, FIELDS, st.booleans(), st.booleans())
        def test(
            head: tuple[bytes, ...],
            fields: list[Field],
            body: list[bytes],
            trailers: list[Field],
            end: bool,
            early: bool,
        ) -> None:
            names = (b":method", b":path", b":scheme", b":authority")
            if head[0] == b"HEAD":  # the client's library forgets the method with trailers
                trailers = []
            asked = [*zip(names, head, strict=True), *fields]
            told, _ = blockingCallFromThread(
                reactor,
                lambda: Deferred.fromCoroutine(
                    self.reached(asked, body, trailers, end=end, early=early)
                ),
            )
            assert len(told) <= 1, told

        return deferToThread(test)


class HyperFuzzTests(FuzzTests):
    """The same over the other library, with rules that change each head, and TCP."""

    pipe = False
    keys = RULES

    def session(self) -> Session:
        return HyperSession()
