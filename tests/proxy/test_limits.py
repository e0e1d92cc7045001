from __future__ import annotations

import resource
import socket
import struct

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from ood.proxy import limits
from tests.proxy.support import LOOPBACK, ProxyTestCase, Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: site.localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: site.localhost\r\nContent-Length: 9\r\n\r\n"


class DeadlineTests(ProxyTestCase):
    async def test_a_dripping_head(self) -> None:
        """A head is cut after 10 s however busily it comes."""
        client = await self.client()
        for byte in GET[:20]:
            client.send(bytes([byte]))
            await self.settle()
            self.advance(0.5)
        self.advance(1)
        self.assertIn(b"408 Request Timeout", await client.end())

    async def test_after_a_quiet_time(self) -> None:
        """The first connection after a while has as much time as any other."""
        self.advance(100)
        client = await self.client()
        client.send(GET[:20])
        await self.settle()
        self.advance(8)
        client.send(GET[20:])
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")

    async def test_a_dripping_second_head(self) -> None:
        """The same for a later request of a connection on the proxied path."""
        client = await self.client()
        await self.exchange(client, GET, OK)
        await client.until(b"ok")
        self.advance(60)
        for byte in GET[:20]:
            client.send(bytes([byte]))
            await self.settle()
            self.advance(0.5)
        self.advance(1)
        self.assertIn(b"408 Request Timeout", await client.end())

    async def test_an_idle_connection(self) -> None:
        """Between requests a client has 75 s."""
        client = await self.client()
        await self.exchange(client, GET, OK)
        await client.until(b"ok")
        self.advance(74)
        await self.settle()
        self.assertFalse(client.over)
        self.advance(2)
        self.assertEqual(b"", await client.end())

    async def test_no_answer(self) -> None:
        """An app that does not answer in 60 s costs its client a 504."""
        client = await self.client()
        client.send(GET)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        self.advance(59)
        await self.settle()
        self.assertEqual(b"", client.data)
        self.advance(2)
        self.assertIn(b"504 Gateway Timeout", await client.until(b"\r\n"))
        await wire.end()

    async def test_a_body_that_stops(self) -> None:
        """A body may pause 60 s, then the client gets 408 and the upstream is freed."""
        client = await self.client()
        client.send(POST.replace(b" 9", b" 99999") + b"a")
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\na")
        for _ in range(3):
            self.advance(50)
            client.send(b"b" * 10_000)
            await wire.take(10_000)
        self.advance(61)
        self.assertIn(b"408 Request Timeout", await client.end())
        await wire.end()

    async def test_an_answer_that_stops(self) -> None:
        """A response's body may pause 60 s, then its client sees that it is not whole."""
        client = await self.client()
        wire, _ = await self.exchange(client, GET, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")
        await client.until(b"\r\n\r\na")
        self.advance(50)
        wire.send(b"b")
        await client.until(b"b")
        self.advance(61)
        await client.end()
        self.assertTrue(client.reset)

    async def test_an_event_stream(self) -> None:
        """Server-sent events may be silent for hours."""
        client = await self.client()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        wire, _ = await self.exchange(client, GET, head)
        await client.until(b"\r\n\r\n")
        self.advance(7200)
        wire.send(b"data: x\n\n")
        await client.until(b"data: x\n\n")


class HalfOpenTests(ProxyTestCase):
    async def opened(self, count: int) -> list[Wire]:
        wires = [await self.client() for _ in range(count)]
        for wire in wires:
            wire.send(b"GET")
            await self.seen()
        return wires

    async def seen(self) -> None:
        """Wait until the last connection's first bytes were looked at."""
        members = self.proxy._context.live._members
        await self.eventually(lambda: bool(members) and all(one._peeked == 3 for one in members))

    async def test_too_many_of_one_client(self) -> None:
        """Beyond the cap a client's connections without a request are closed; requests are not."""
        self.patch(limits, "HALF_OPEN_PER_CLIENT_MAX", 3)
        wires = await self.opened(3)
        extra = await self.client()
        extra.send(b"GET")
        await extra.end()
        self.assertFalse(any(wire.over for wire in wires))
        client = await self.client()
        await self.exchange(client, GET, OK)
        await client.until(b"ok")

    async def test_too_many_of_all(self) -> None:
        """Beyond the cap for all the oldest makes room."""
        self.patch(limits, "HALF_OPEN_MAX", 3)
        wires = await self.opened(4)
        await wires[0].end()
        self.assertFalse(any(wire.over for wire in wires[1:]))

    async def test_only_half_open_ones_count(self) -> None:
        """A client may have any number of connections that are in use."""
        self.patch(limits, "HALF_OPEN_PER_CLIENT_MAX", 2)
        for _ in range(6):
            client = await self.client()
            client.send(GET[:9])
            await self.settle()
            client.send(GET[9:])
            wire = await self.backend.next()
            await wire.until(b"\r\n\r\n")

    async def test_a_client_that_leaves(self) -> None:
        """A connection that ends before its request is closed and forgotten."""
        for wire in await self.opened(2):
            wire.close()
            await wire.end()
        await self.eventually(lambda: not len(self.proxy._context.live))
        self.assertEqual(0, len(self.proxy._dispatcher._half_open))


class ExhaustionTests(ProxyTestCase):
    async def test_no_descriptors_left(self) -> None:
        """Without descriptors accepting pauses; it goes on when there are some again."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        client = await self.client()
        await self.settle()
        with socket.socket() as late:
            late.setblocking(False)
            with socket.socket() as probe:
                lowest = probe.fileno()
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            late.connect_ex((LOOPBACK, self.port))
            late.send(GET)
            await self.settle()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            self.assertEqual(0, self.backend.count)
            self.advance(1)
            wire = await self.backend.next()
            await wire.until(b"\r\n\r\n")
        client.close()

    async def test_some_descriptors_are_kept_back(self) -> None:
        """Clients stop short of the limit of open files, and go on when there is room again."""
        first = await self.client()
        await self.exchange(first, GET, OK)
        with socket.socket() as probe:
            [listener] = self.proxy._listeners
            listener._ceiling = probe.fileno()
        late = [await self.client(), await self.client()]
        accepted = self.proxy.counters.connections
        for client in late:
            client.send(GET)
        await self.settle()
        self.advance(2)
        await self.settle()
        self.assertLessEqual(self.proxy.counters.connections, accepted + 1)
        listener._ceiling = 1 << 20
        self.advance(1)
        await self.eventually(lambda: self.proxy.counters.connections == 3)

    async def test_a_long_shortage_is_told_now_and_then(self) -> None:
        """A listener that pauses again and again warns once a minute."""
        [listener] = self.proxy._listeners
        with capturedLogs() as events:
            for number, seconds in enumerate((1, 1, limits.ACCEPT_WARNING_SECONDS, 1), 1):
                listener._ceiling = 0
                client = await self.client()
                await self.exchange(client, GET, OK)
                self.assertEqual(number, self.proxy.counters.connections)
                listener._ceiling = 1 << 20
                self.advance(seconds)
        warnings = [one for one in events if "can't accept" in (one["log_format"] or "")]
        self.assertEqual(2, len(warnings))


class FlowTests(ProxyTestCase):
    def backlog(self) -> int:
        return max(member.backlog for member in self.proxy._context.live._members)

    async def test_a_slow_reader(self) -> None:
        """A client that does not read stops the upstream; nothing piles up here."""
        client = await self.client()
        client.transport.pauseProducing()  # type: ignore[union-attr]
        client.send(GET)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        size = 40_000_000
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        await self.eventually(lambda: self.backlog() > 0)
        for _ in range(50):
            await self.settle()
            self.assertLess(self.backlog(), 1_000_000)
        client.transport.resumeProducing()  # type: ignore[union-attr]
        await client.until(b"\r\n\r\n")
        self.assertEqual(size, len(await client.take(size)))

    async def test_a_slow_app(self) -> None:
        """An app that does not read stops its client; nothing piles up here."""
        client = await self.client()
        size = 40_000_000
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        wire.transport.pauseProducing()  # type: ignore[union-attr]
        client.send(bytes(size))
        await self.eventually(lambda: self.backlog() > 0)
        for _ in range(50):
            await self.settle()
            self.assertLess(self.backlog(), 1_000_000)
        wire.transport.resumeProducing()  # type: ignore[union-attr]
        self.assertEqual(size, len(await wire.take(size)))
        wire.send(OK)
        await client.until(b"ok")


UPGRADE = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class TunnelTests(ProxyTestCase):
    async def tunnel(self, early: bytes = b"") -> tuple[Wire, Wire]:
        client = await self.client()
        client.send(UPGRADE + early)
        wire = await self.backend.next()
        head = await wire.until(b"\r\n\r\n")
        self.assertIn(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", head)
        self.assertEqual(b"", wire.data, "nothing passes before the 101")
        wire.send(SWITCH + b"first")
        self.assertEqual(SWITCH, await client.until(b"\r\n\r\n"))
        self.assertEqual(b"first", await client.take(5))
        return client, wire

    async def test_both_ways(self) -> None:
        """Bytes pass both ways, also those that came with the handshake."""
        client, wire = await self.tunnel(b"early")
        self.assertEqual(b"early", await wire.take(5))
        client.send(b"ping")
        self.assertEqual(b"ping", await wire.take(4))
        wire.send(b"pong")
        self.assertEqual(b"pong", await client.take(4))

    async def test_idle(self) -> None:
        """An idle WebSocket stays."""
        client, wire = await self.tunnel()
        self.advance(7200)
        client.send(b"ping")
        self.assertEqual(b"ping", await wire.take(4))

    async def test_half_close(self) -> None:
        """One side may end first; the other way still works, then all is closed."""
        client, wire = await self.tunnel()
        assert wire.transport is not None
        wire.send(b"last")
        wire.transport.loseWriteConnection()  # type: ignore[attr-defined]
        self.assertEqual(b"last", await client.take(4))
        await client.end()
        await wire.end()

    async def test_the_client_ends_first(self) -> None:
        """The app learns of its client's end, also when the client waits for the app's."""
        client, wire = await self.tunnel()
        assert client.transport is not None
        client.transport.loseWriteConnection()  # type: ignore[attr-defined]
        await wire.end()
        await client.end()

    async def test_a_reset(self) -> None:
        client, wire = await self.tunnel()
        client.abort()
        await wire.end()

    async def test_refused(self) -> None:
        """An app that does not want to switch answers as to any request."""
        client = await self.client()
        await self.exchange(client, UPGRADE, OK)
        self.assertEqual(OK, await client.take(len(OK)))

    async def test_never_h2c(self) -> None:
        client = await self.client()
        request = UPGRADE.replace(b"websocket", b"h2c")
        _, head = await self.exchange(client, request, OK)
        self.assertNotIn(b"h2c", head)
        self.assertNotIn(b"Upgrade", head)


class DrainTests(ProxyTestCase):
    async def test_exchanges_end_in_peace(self) -> None:
        """What is under way is finished; idle connections and new ones are not served."""
        idle = await self.client()
        first, _ = await self.exchange(idle, GET, OK)
        await idle.until(b"ok")
        client = await self.client()
        client.send(GET)
        wire = first
        await wire.until(b"\r\n\r\n")
        stopped = self.proxy.stopService()
        await idle.end()
        with socket.socket() as sock:
            self.assertNotEqual(0, sock.connect_ex((LOOPBACK, self.port)))
        self.assertNoResult(stopped)
        wire.send(OK)
        self.assertIn(b"Connection: close", await client.end())
        await stopped
        self.assertEqual([], self.clock.getDelayedCalls())

    async def test_who_has_just_come(self) -> None:
        """Before all that, whoever connected already gets to send a request; nobody else does."""
        client = await self.client()
        client.send(GET[:-4])
        await self.eventually(lambda: self.proxy._awaited() == 1)
        settled = Deferred.fromCoroutine(self.proxy.settle())
        with socket.socket() as sock:
            self.assertNotEqual(0, sock.connect_ex((LOOPBACK, self.port)))
        self.converge("site", "other")
        with socket.socket() as sock:
            self.assertNotEqual(0, sock.connect_ex((LOOPBACK, self.ports["other"])))
        self.advance(1)
        self.assertNoResult(settled)
        client.send(GET[-4:])
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        self.advance(1)
        await settled
        stopped = self.proxy.stopService()
        wire.send(OK)
        self.assertIn(b"200 OK", await client.end())
        await stopped

    async def test_who_says_nothing(self) -> None:
        """Connections on which nothing comes are waited for no longer than 2 s."""
        client = await self.client()
        await self.eventually(lambda: self.proxy._awaited() == 1)
        settled = Deferred.fromCoroutine(self.proxy.settle())
        self.advance(1.75)
        self.assertNoResult(settled)
        self.advance(0.5)
        self.successResultOf(settled)
        await self.proxy.stopService()
        self.assertEqual(b"", await client.end())

    async def test_the_limit(self) -> None:
        """After 30 s what is left is ended."""
        client = await self.client()
        client.send(GET)
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        stopped = self.proxy.stopService()
        self.advance(29)
        await self.settle()
        self.assertFalse(client.over)
        self.advance(2)
        await stopped
        await client.end()
        await wire.end()

    async def test_tunnels_end_at_once(self) -> None:
        client = await self.client()
        await self.exchange(client, UPGRADE, SWITCH)
        await client.until(b"\r\n\r\n")
        await self.proxy.stopService()
        await client.end()


class ResetTests(ProxyTestCase):
    async def test_resets_leave_nothing(self) -> None:
        """Clients that reset at any point leave no socket behind."""
        for cut in range(0, len(POST) + 5, 7):
            with socket.create_connection((LOOPBACK, self.port)) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.send((POST + b"abcde")[:cut])
                await self.settle()
        await self.eventually(lambda: self.backend.count > 0)
        self.advance(5)
        await self.eventually(lambda: not len(self.proxy._context.live))
        self.assertEqual(0, self.proxy.counters.in_flight)
