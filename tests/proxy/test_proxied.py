from __future__ import annotations

from ood.interfaces import Worker
from ood.proxy.limits import REPEAT_PAUSE_SECONDS
from ood.testing.workerpool import Backend
from tests.proxy.support import ProxyTestCase, Server, Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: site.localhost\r\n\r\n"
GET_CLOSE = b"GET / HTTP/1.1\r\nHost: site.localhost\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: site.localhost\r\n"


class ExchangeTests(ProxyTestCase):
    async def test_one_request_per_connection(self) -> None:
        """A request that closes goes over a kept-alive pipe; its client gets its answer."""
        wire: Wire | None = None
        for _ in range(3):
            client = await self.client()
            client.send(GET_CLOSE)
            wire = wire or await self.backend.next()
            head = await wire.until(b"\r\n\r\n")
            self.assertNotIn(b"Connection", head)
            self.assertIn(b"X-Ood-Peer: 127.0.0.1 ", head)
            wire.send(OK)
            answer = await client.end()
            self.assertEqual(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), answer)
            self.assertFalse(client.reset)
        self.assertEqual(1, self.backend.count)

    async def test_pipelining(self) -> None:
        """Requests sent at once are answered in order, over one upstream connection."""
        client = await self.client()
        client.send(b"".join(GET.replace(b"/ ", b"/%d " % n, 1) for n in range(5)))
        wire = await self.backend.next()
        for number in range(5):
            head = await wire.until(b"\r\n\r\n")
            self.assertTrue(head.startswith(b"GET /%d " % number))
            self.assertEqual(b"", wire.data, "the next one waits")
            wire.send(OK)
            self.assertEqual(OK, await client.take(len(OK)))
        self.assertEqual(1, self.backend.count)

    async def test_many_refused_requests_at_once(self) -> None:
        """Requests that are answered here do not pile up on the stack."""
        self.converge("site", "other")
        client = await self.client()
        count = 1500
        client.send(b"GET / HTTP/1.1\r\nHost: x.org\r\n\r\n" * count)
        for _ in range(count):
            answer = await client.until(b"domains NAME\n")
            self.assertRegex(answer, rb"^HTTP/1.1 404 Not Found\r\nDate: [^\r]* GMT\r\n")

    async def test_a_head_in_single_bytes(self) -> None:
        """A request may come byte by byte."""
        client = await self.client()
        for byte in GET_CLOSE:
            client.send(bytes([byte]))
            await self.settle()
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        wire.send(OK)
        self.assertIn(b"200 OK", await client.end())

    async def test_a_body_with_a_length(self) -> None:
        """A body is streamed as it comes, and not a byte of the next request with it."""
        client = await self.client()
        client.send(POST + b"Content-Length: 6\r\n\r\nabc")
        wire = await self.backend.next()
        head = await wire.until(b"\r\n\r\n")
        self.assertIn(b"Content-Length: 6\r\n", head)
        self.assertEqual(b"abc", await wire.take(3))
        client.send(b"def" + GET)
        self.assertEqual(b"def", await wire.take(3))
        wire.send(OK)
        self.assertEqual(OK, await client.take(len(OK)))
        self.assertTrue((await wire.until(b"\r\n\r\n")).startswith(b"GET / "))

    async def test_a_chunked_body(self) -> None:
        """Chunks are checked and written anew, without extensions; trailers pass."""
        client = await self.client()
        client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n")
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        self.assertEqual(b"3\r\nabc\r\n", await wire.take(8))
        client.send(b"0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n")
        self.assertEqual(b"0\r\nX-Sum: 1\r\n\r\n", await wire.until(b"\r\n\r\n"))
        wire.send(OK)
        self.assertEqual(OK, await client.take(len(OK)))

    async def test_a_broken_chunk(self) -> None:
        """Framing that breaks within a body ends both connections, with a 400 for the client."""
        client = await self.client()
        client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        wire = await self.backend.next()
        await wire.until(b"abc\r\n")
        client.send(b"0x3\r\n")
        self.assertIn(b"400 Bad Request", await client.until(b"\n"))
        await wire.end()

    async def test_a_chunked_answer(self) -> None:
        client = await self.client()
        chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n"
        wire, _ = await self.exchange(client, GET, chunks)
        self.assertEqual(chunks.replace(b";x", b""), await client.until(b"abc\r\n"))
        wire.send(b"0\r\nX-Sum: 1\r\n\r\n")
        self.assertEqual(b"0\r\nX-Sum: 1\r\n\r\n", await client.until(b"\r\n\r\n"))

    async def test_an_old_client_gets_no_chunks(self) -> None:
        """HTTP/1.0 knows no chunks: the body ends with the connection."""
        client = await self.client()
        request = b"GET / HTTP/1.0\r\nHost: site.localhost\r\n\r\n"
        chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        await self.exchange(client, request, chunks)
        head, _, body = (await client.end()).partition(b"\r\n\r\n")
        self.assertNotIn(b"Transfer-Encoding", head)
        self.assertEqual(b"abc", body)

    async def test_an_answer_that_ends_with_its_connection(self) -> None:
        """The client's connection stays: it gets chunks, whose end is certain."""
        client = await self.client()
        wire, _ = await self.exchange(client, GET, b"HTTP/1.1 200 OK\r\n\r\nabc")
        self.assertIn(b"Transfer-Encoding: chunked", await client.until(b"3\r\nabc\r\n"))
        wire.close()
        self.assertEqual(b"0\r\n\r\n", await client.until(b"0\r\n\r\n"))
        await self.exchange(client, GET, OK)
        self.assertEqual(OK, await client.take(len(OK)))

    async def test_no_body(self) -> None:
        """HEAD, 204 and 304 have none, whatever their fields say."""
        client = await self.client()
        wire: Wire | None = None
        for method, answer in (
            (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
            (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
            (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
            (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        ):
            client.send(GET.replace(b"GET", method))
            wire = wire or await self.backend.next()
            await wire.until(b"\r\n\r\n")
            wire.send(answer)
            self.assertEqual(answer, await client.until(b"\r\n\r\n"))

    async def test_interim_answers(self) -> None:
        """103 and 100 are relayed as they come, before the body is asked for."""
        client = await self.client()
        client.send(POST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n")
        wire = await self.backend.next()
        self.assertIn(b"Expect: 100-continue\r\n", await wire.until(b"\r\n\r\n"))
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        wire.send(hints + b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual(hints, await client.until(b"\r\n\r\n"))
        self.assertEqual(b"HTTP/1.1 100 Continue\r\n\r\n", await client.until(b"\r\n\r\n"))
        client.send(b"x")
        self.assertEqual(b"x", await wire.take(1))
        wire.send(OK)
        self.assertEqual(OK, await client.take(len(OK)))

    async def test_an_early_answer(self) -> None:
        """An answer before the body's end reaches the client whole, then the connection ends."""
        client = await self.client()
        client.send(POST + b"Content-Length: 1000000\r\n\r\n" + b"a" * 10_000)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        client.send(b"a" * 100_000)
        self.assertIn(b"Connection: close", await client.until(b"\r\n\r\nno"))
        await wire.end()
        self.assertFalse(client.reset)


class UpstreamTests(ProxyTestCase):
    async def answers(self, answer: bytes) -> bytes:
        """Return what a client gets for a backend's ``answer`` and hanging up."""
        client = await self.client()
        wire, _ = await self.exchange(client, GET_CLOSE, answer)
        wire.close()
        return await client.end()

    async def test_malformed_answers(self) -> None:
        """What could be read in two ways becomes 502."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
        ):
            self.assertIn(b" 502 Bad Gateway\r\n", await self.answers(answer), answer)

    async def test_a_truncated_answer(self) -> None:
        """A body that breaks off never looks like a whole one."""
        self.assertNotIn(
            b"502", await self.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
        )
        client = await self.client()
        request = b"GET / HTTP/1.0\r\nHost: site.localhost\r\n\r\n"
        chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"
        wire, _ = await self.exchange(client, request, chunk)
        await client.until(b"abc")
        wire.close()
        await client.end()
        self.assertTrue(client.reset)

    async def test_bytes_after_the_answer(self) -> None:
        """A connection that says more than it was asked is not used again."""
        client = await self.client()
        wire, _ = await self.exchange(client, GET, OK + b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertEqual(OK, await client.take(len(OK)))
        await wire.end()
        await self.exchange(client, GET, OK)
        self.assertEqual(OK, await client.take(len(OK)))

    async def lose(self, wire: Wire) -> None:
        """End an upstream connection, and let pass what the proxy waits then."""
        wire.close()
        due = self.clock.seconds() + REPEAT_PAUSE_SECONDS
        calls = self.clock.getDelayedCalls
        await self.eventually(lambda: any(abs(one.getTime() - due) < 1e-6 for one in calls()))
        self.clock.advance(REPEAT_PAUSE_SECONDS)

    async def test_a_close_at_reuse(self) -> None:
        """A kept-alive connection that closes just then costs a second try, not a 502."""
        client = await self.client()
        wire, _ = await self.exchange(client, GET, OK)
        await client.take(len(OK))
        client.send(GET)
        await wire.until(b"\r\n\r\n")
        await self.lose(wire)
        again = await self.backend.next()
        await again.until(b"\r\n\r\n")
        again.send(OK)
        self.assertEqual(OK, await client.take(len(OK)))

    async def test_a_worker_that_dies(self) -> None:
        """What does no harm the second time is tried once more, on a new connection, too."""
        client = await self.client()
        client.send(GET)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        await self.lose(wire)
        again = await self.backend.next()
        await again.until(b"\r\n\r\n")
        again.send(OK)
        self.assertEqual(OK, await client.take(len(OK)))

    async def test_a_request_that_kills(self) -> None:
        """What no worker survives is not tried a third time."""
        client = await self.client()
        client.send(GET)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        await self.lose(wire)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        wire.close()
        self.assertIn(b"502 Bad Gateway", await client.until(b"\r\n"))
        self.assertEqual(2, self.backend.count)

    async def killed(self, request: bytes, workers: int) -> None:
        """Send a request that so many workers die of in a row."""
        before = self.backend.count
        client = await self.client()
        client.send(request)
        for number in range(workers):
            wire = await self.backend.next()
            await wire.until(b"\r\n\r\n")
            if number < workers - 1:
                await self.lose(wire)
            else:
                wire.close()
        self.assertIn(b"502 Bad Gateway", await client.until(b"\r\n"))
        self.assertEqual(workers, self.backend.count - before)

    async def test_a_request_that_killed_before(self) -> None:
        """What ended two workers ends one the next time, until a worker answers it."""
        other = GET.replace(b"GET / ", b"GET /other ")
        await self.killed(GET, 2)
        await self.killed(GET, 1)
        await self.killed(other, 2)
        await self.killed(GET, 1)
        client = await self.client()
        answer = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        await self.exchange(client, GET, answer)
        await client.until(b"ok")
        await self.killed(GET, 2)

    async def test_no_second_try_once_answered(self) -> None:
        """An answer that began is not begun anew."""
        client = await self.client()
        client.send(GET)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\nConten")
        wire.close()
        self.assertIn(b"502 Bad Gateway", await client.until(b"\r\n"))
        self.assertEqual(1, self.backend.count)

    async def test_no_second_try_for_post(self) -> None:
        """What may have had an effect is not repeated."""
        client = await self.client()
        wire, _ = await self.exchange(client, GET, OK)
        await client.take(len(OK))
        client.send(POST + b"Content-Length: 1\r\n\r\nx")
        await wire.until(b"\r\n\r\nx")
        wire.close()
        self.assertIn(b"502 Bad Gateway", await client.until(b"\r\n"))
        self.assertEqual(1, self.backend.count)

    async def test_a_post_on_a_connection_that_closed_before(self) -> None:
        """A POST is not even sent on a connection whose end is in already."""
        client = await self.client()
        wire, _ = await self.exchange(client, GET, OK)
        await client.take(len(OK))
        assert wire.transport is not None
        wire.transport.loseConnection()
        client.send(POST + b"Content-Length: 1\r\n\r\nx")
        again = await self.backend.next()
        await again.until(b"\r\n\r\nx")
        again.send(OK)
        self.assertEqual(OK, await client.take(len(OK)))

    async def test_idle_connections(self) -> None:
        """An upstream connection is not used 4 s after its last answer, or as it says."""
        client = await self.client()
        for field, seconds in ((b"", 4.0), (b"Keep-Alive: timeout=3\r\n", 2.0)):
            answer = OK.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n")
            wire, _ = await self.exchange(client, GET, answer)
            await client.take(len(OK))
            self.advance(seconds)
            await wire.end()

    async def test_a_draining_worker(self) -> None:
        """Nothing new is sent to a worker that does not accept any more."""
        other = Server()
        client = await self.client()
        wire, _ = await self.exchange(client, GET, OK)
        await client.take(len(OK))
        self.app.backends[0].worker.accepting = False
        self.app.backends.append(Backend(Worker("site", 1), self.listen(other)))
        client.send(GET)
        self.backend = other
        again = await other.next()
        await again.until(b"\r\n\r\n")
        again.send(OK)
        await client.take(len(OK))
        await wire.end()

    async def test_worker_pipes_are_counted(self) -> None:
        client = await self.client()
        wire, _ = await self.exchange(client, GET, OK)
        await client.take(len(OK))
        self.assertEqual(1, self.app.backends[0].worker.pipes)
        wire.close()
        await wire.end()
        await self.settle()
        self.assertEqual(0, self.app.backends[0].worker.pipes)

    async def test_a_client_that_resets(self) -> None:
        """Nobody waits for the answer: the upstream connection is closed."""
        client = await self.client()
        client.send(POST + b"Content-Length: 3\r\n\r\nab")
        wire = await self.backend.next()
        await wire.until(b"ab")
        client.abort()
        await wire.end()

    async def test_a_client_that_goes_away(self) -> None:
        """Also without a body an abandoned request is noticed, after a moment."""
        client = await self.client()
        client.send(GET_CLOSE)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        client.close()
        self.advance(1.5)
        await self.settle()
        self.advance(1.5)
        await wire.end()

    async def test_a_client_that_closes_its_side(self) -> None:
        """A client may close its side after its request and still gets the answer."""
        client = await self.client()
        client.send(GET)
        assert client.transport is not None
        client.transport.loseWriteConnection()  # type: ignore[attr-defined]
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        wire.send(OK)
        self.assertEqual(OK, await client.end())

    async def test_a_long_answer_to_a_client_that_closed_its_side(self) -> None:
        """It gets all of an answer that goes on; one that stands still is cut."""
        client = await self.client()
        client.send(GET)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await client.until(b"\r\n\r\n")
        assert client.transport is not None
        client.transport.loseWriteConnection()  # type: ignore[attr-defined]
        await self.settle()
        for _ in range(5):
            self.advance(0.4)
            wire.send(b"x")
            self.assertEqual(b"x", await client.take(1))
            await self.settle()
        self.advance(2.5)
        self.assertEqual(b"", await client.end())
        self.assertTrue(client.reset)


class PlainUpstreamTests(ProxyTestCase):
    """The same over TCP, where connecting takes time and may fail."""

    pipe = False

    async def test_tcp(self) -> None:
        client = await self.client()
        _, head = await self.exchange(client, POST + b"Content-Length: 3\r\n\r\nabc", OK)
        self.assertNotIn(b"X-Ood", head)
        self.assertEqual(OK, await client.take(len(OK)))

    async def test_nobody_listens(self) -> None:
        """A worker that refuses connections is tried again, then the client learns it."""
        self.app.backends[0].address = ("127.0.0.1", 1)
        client = await self.client()
        client.send(POST + b"Content-Length: 3\r\n\r\nabc")
        self.assertIn(b"502 Bad Gateway", await client.until(b"\r\n"))
        self.assertGreater(self.pool.connects, 1)

    async def test_one_of_two_listens(self) -> None:
        """A connection that is not made has sent nothing: even a POST is tried again."""
        dead = self.pool.add("dead", ("127.0.0.1", 1)).backends[0]
        dead.worker.pipes = -1  # looks least busy, once
        self.app.backends.insert(0, dead)
        client = await self.client()
        client.send(POST + b"Content-Length: 3\r\n\r\nabc")
        dead.worker.pipes = 5
        wire = await self.backend.next()
        await wire.until(b"abc")
        wire.send(OK)
        self.assertEqual(OK, await client.take(len(OK)))
