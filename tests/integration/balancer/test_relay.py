"""The relay's own duties over real sockets: bulk, half-closing, resets, leaving nothing behind."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import resource
import socket
import struct

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from ood.balancer import direction
from ood.balancer.core.plan import RemoveServer, RemoveService, make_plan
from ood.balancer.core.state import desired_state, server_key, virtual_key
from ood.balancer.direction import BUFFER_BYTES
from ood.balancer.relay import Timeouts
from ood.balancer.userspace import UserspaceEngine
from ood.clock import MonotonicClock
from ood.model.servicecheck import read_services
from tests.integration.balancer.bench import Bench

BULK_BYTES = 30_000_000
SECONDS = 60
RESET = struct.pack("ii", 1, 0)


def pattern(size):
    """Return bytes whose loss, doubling or mixing shows in their digest."""
    return hashlib.shake_128(b"pattern").digest(size)


class RelayCase(TestCase):
    async def setUp(self):
        self.timeouts = Timeouts()
        self.engine = UserspaceEngine(reactor, MonotonicClock(reactor), self.timeouts)
        self.addCleanup(self.engine.close)
        self.listener = socket.create_server(("127.0.0.1", self.port()))
        self.listener.settimeout(SECONDS)
        self.addCleanup(self.listener.close)
        self.front = self.port()
        await self.run_service()

    def port(self):
        return Bench.free_port(self, ["127.0.0.1"])

    @property
    def random(self):
        import random

        return random.Random(os.urandom(8))

    async def run_service(self, **fields):
        back = self.listener.getsockname()[1]
        server = {"host": "127.0.0.1", "port": back, "forwarder": "m"}
        document = {"host": "127.0.0.1", "port": self.front, "scheduler": "rr"}
        self.services = read_services([{**document, "servers": [server], **fields}])
        desired = desired_state(self.services)
        actual = await self.engine.read()
        plan = make_plan(desired, actual, dict.fromkeys(actual, 0), {}, 0.0)
        self.assertEqual(await self.engine.execute(plan.steps), ())

    async def pair(self):
        """Return a client and the server's end of its connection."""

        def meet():
            client = socket.create_connection(("127.0.0.1", self.front), SECONDS)
            server, _ = self.listener.accept()
            server.settimeout(SECONDS)
            return client, server

        client, server = await deferToThread(meet)
        self.addCleanup(client.close)
        self.addCleanup(server.close)
        return client, server

    async def carried(self):
        (actual,) = (await self.engine.read()).values()
        return actual

    async def until(self, question):
        end = reactor.seconds() + SECONDS
        while reactor.seconds() < end:
            if await question():
                return
            waiting: Deferred[None] = Deferred()
            reactor.callLater(0.02, waiting.callback, None)
            await waiting
        self.fail("it did not come about")

    async def idle(self):
        (server,) = (await self.carried()).servers.values()
        return server.counts.active == 0


def descriptors():
    """Return what this process has open."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the directory's own
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return found


def send_all(sock, data):
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def receive(sock, size):
    got = b""
    while len(got) < size:
        got += sock.recv(size - len(got))
    return got


def receive_all(sock):
    parts = []
    while part := sock.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


class TcpTests(RelayCase):
    async def test_bulk_both_ways(self):
        """Tens of megabytes in both directions at once arrive whole, by splice or not."""
        client, server = await self.pair()
        sent = pattern(BULK_BYTES)
        work = [
            deferToThread(send_all, client, sent),
            deferToThread(send_all, server, sent[::-1]),
            deferToThread(receive_all, client),
            deferToThread(receive_all, server),
        ]
        _, _, back, forth = [await part for part in work]
        self.assertTrue(forth == sent, "client to server")
        self.assertTrue(back == sent[::-1], "server to client")
        await self.until(self.idle)
        traffic = (await self.carried()).traffic
        self.assertEqual((traffic.connections, traffic.bytes_in), (1, BULK_BYTES))

    async def test_a_slow_reader(self):
        """A reader that stops holds the writer back, and nothing is lost."""
        client, server = await self.pair()
        sent = pattern(BULK_BYTES)
        sending = deferToThread(send_all, server, sent)
        first = await deferToThread(client.recv, 1000)
        self.assertFalse(sending.called)
        rest = await deferToThread(receive_all, client)
        await sending
        self.assertTrue(first + rest == sent)

    async def test_a_slow_reader_without_splice(self):
        """The same for a direction that is copied: what the sink did not take is kept."""
        self.patch(direction, "BULK_READS", 10**9)
        await self.test_a_slow_reader()

    async def test_a_client_that_speaks_first(self):
        """Data that came before the server was reached is passed on."""
        # in the reactor's thread, so that nothing is accepted before it was sent
        client = socket.create_connection(("127.0.0.1", self.front), SECONDS)
        self.addCleanup(client.close)
        client.sendall(b"early")
        server, _ = await deferToThread(self.listener.accept)
        self.addCleanup(server.close)
        server.settimeout(SECONDS)
        self.assertEqual(await deferToThread(receive, server, 5), b"early")

    async def test_sizes_around_the_buffer(self):
        """Pieces that just fill the buffer, or just do not, are passed on at once."""
        client, server = await self.pair()
        for size in (1, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 3 * BUFFER_BYTES):
            data = pattern(size)
            await deferToThread(client.sendall, data)
            got = await deferToThread(receive, server, size)
            self.assertTrue(got == data, size)

    async def test_half_closing(self):
        """A client that has said everything still gets its answer."""
        client, server = await self.pair()
        await deferToThread(send_all, client, b"question")
        self.assertEqual(await deferToThread(receive_all, server), b"question")
        await deferToThread(send_all, server, b"answer")
        self.assertEqual(await deferToThread(receive_all, client), b"answer")
        await self.until(self.idle)

    async def test_resets(self):
        """A reset of one side is a reset for the other one, even after it had ended."""
        for half in (False, True):
            client, server = await self.pair()
            if half:
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(await deferToThread(server.recv, 1), b"")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            await self.until(self.idle)
            error = server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.assertEqual(error, errno.EPIPE if half else errno.ECONNRESET)

    def ask(self):
        with socket.create_connection(("127.0.0.1", self.front), SECONDS) as client:
            return client.recv(1)

    async def test_a_server_that_refuses(self):
        """The client's connection is reset, not left waiting."""
        self.listener.close()
        with self.assertRaises(ConnectionResetError):
            await deferToThread(self.ask)
        await self.until(self.idle)

    async def test_idle_connections_end(self):
        """Nothing either way for the time-out, and the connection is over."""
        self.timeouts.tcp_seconds = 0.1
        client, _ = await self.pair()
        with self.assertRaises(ConnectionResetError):
            await deferToThread(client.recv, 1)

    async def test_a_removed_server(self):
        """Whose time is up is cut off; the service goes on listening."""
        client, _ = await self.pair()
        key = virtual_key(self.services[0])
        await self.engine.execute([RemoveServer(key, server_key(self.services[0].servers[0]))])
        with self.assertRaises(ConnectionResetError):
            await deferToThread(client.recv, 1)
        await self.run_service()
        await self.pair()

    async def test_out_of_descriptors(self):
        """Clients wait while there are none, are served when there are, and nobody spins."""
        (relay,) = self.engine._relays.values()
        await self.pair()  # from here on the reactor has all of its own
        _, most = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        client = socket.create_connection(("127.0.0.1", self.front), SECONDS)
        self.addCleanup(client.close)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, most))

        async def paused():
            return relay._paused is not None

        await self.until(paused)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        server, _ = await deferToThread(self.listener.accept)
        server.close()

    async def test_no_server(self):
        """A client whom nobody can take is reset."""
        await self.run_service(servers=[])
        with self.assertRaises(ConnectionResetError):
            await deferToThread(self.ask)

    async def test_nothing_is_left(self):
        """Closed engines and removed services hold no descriptor."""
        await self.pair()  # from here on the reactor has all of its own
        with_it = descriptors()
        self.assertEqual(len(self.engine._context.poller), 3)
        await self.engine.execute([RemoveService(virtual_key(self.services[0]))])
        self.assertEqual(len(self.engine._context.poller), 0)
        without = descriptors()
        self.assertEqual((len(with_it - without), without - with_it), (3, set()))

    async def test_an_address_that_is_taken(self):
        """The step fails with what to do about it; the others are done."""
        taken = self.listener.getsockname()[1]
        foreign = read_services([{"host": "127.0.0.1", "port": taken}])
        away = read_services([{"host": "192.0.2.1", "port": self.port()}])
        for services, hint in ((foreign, "another program listens"), (away, "add the address")):
            plan = make_plan(desired_state(services), {}, {}, {}, 0.0)
            (failure,) = await self.engine.execute(plan.steps)
            self.assertIn(hint, failure.reason)


class UdpTests(RelayCase):
    async def setUp(self):
        await super().setUp()
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(self.listener.getsockname())
        self.server.settimeout(SECONDS)
        self.addCleanup(self.server.close)

    def client(self):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect(("127.0.0.1", self.front))
        client.settimeout(SECONDS)
        self.addCleanup(client.close)
        return client

    async def exchange(self, client, data):
        client.send(data)
        got, address = await deferToThread(self.server.recvfrom, 65536)
        self.assertEqual(got, data)
        self.server.sendto(got[::-1], address)
        self.assertEqual(await deferToThread(client.recv, 65536), data[::-1])
        return address

    async def test_datagrams(self):
        """Of any size, each as a whole, and a flow keeps its way."""
        await self.run_service(type="udp")
        client = self.client()
        ways = {await self.exchange(client, pattern(size)) for size in (0, 1, 1400, 60000)}
        self.assertEqual(len(ways), 1)
        self.assertNotIn(await self.exchange(self.client(), b"other"), ways)

    async def test_flows_expire(self):
        """A flow without datagrams is over and no longer counted."""
        await self.run_service(type="udp")
        await self.exchange(self.client(), b"x")
        self.timeouts.udp_seconds = 0.1

        async def over():
            (server,) = (await self.carried()).servers.values()
            return server.counts == (0, 0, 0)

        await self.until(over)

    async def test_one_packet(self):
        """Every datagram is scheduled by itself and leaves no connection behind."""
        await self.run_service(type="udp", flags=["one-packet"])
        client = self.client()
        for data in (b"one", b"two"):
            await self.exchange(client, data)
        actual = await self.carried()
        (server,) = actual.servers.values()
        self.assertEqual((server.counts.inactive, actual.traffic.connections), (0, 2))

    async def test_a_server_that_refuses(self):
        """Its ICMP errors do not disturb the relay."""
        await self.run_service(type="udp")
        client = self.client()
        address = self.server.getsockname()
        self.server.close()
        for _ in range(3):
            client.send(b"lost")
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(address)
        self.server.settimeout(SECONDS)
        self.addCleanup(self.server.close)

        def ask():
            client.send(b"found")
            return self.server.recv(100)

        self.assertIn(await deferToThread(ask), {b"found", b"lost"})
