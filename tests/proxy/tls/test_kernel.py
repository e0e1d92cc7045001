"""TLS in the kernel, where it can: elsewhere these tests run in user-mode Linux."""

from __future__ import annotations

import errno
import socket

from OpenSSL import SSL

from ood.proxy.tls import kernel
from tests.proxy.support import LOOPBACK
from tests.proxy.test_dispatch import Workers
from tests.proxy.tls.support import SECONDS, BioClient, HttpsTestCase, request

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SUITES = (
    ("TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"),
    ("TLSv1.2", "AES128-GCM-SHA256"),
    ("TLSv1.2", "AES256-GCM-SHA384"),
    ("TLSv1.2", "CHACHA20-POLY1305"),
)


def settings(version: str, suite: str, *alpn: bytes) -> SSL.Context:
    """Return a client's settings that allow just one cipher."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if version == "TLSv1.2":
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(f"ECDHE-ECDSA-{suite}:ECDHE-RSA-{suite}".encode())
    else:
        context.set_tls13_ciphersuites(suite.encode())
    if alpn:
        context.set_alpn_protos(list(alpn))
    return context


class Client:
    """A TLS client of OpenSSL's, which blocks."""

    def __init__(
        self, port: int, context: SSL.Context, host: str, session: SSL.Session | None = None
    ) -> None:
        self.raw = socket.create_connection((LOOPBACK, port), SECONDS)
        self.raw.settimeout(None)
        self.tls = SSL.Connection(context, self.raw)
        if session is not None:
            self.tls.set_session(session)
        self.tls.set_tlsext_host_name(host.encode())
        self.tls.set_connect_state()
        self.tls.do_handshake()

    def take(self, size: int) -> bytes:
        """Read so many bytes."""
        data = b""
        while len(data) < size:
            data += self.tls.recv(size - len(data))
        return data

    def ended(self) -> str:
        """Read to the end; return how it came."""
        try:
            while True:
                self.tls.recv(1000)
        except SSL.ZeroReturnError:
            return "close_notify"
        except SSL.SysCallError as error:
            return str(error)

    def close(self) -> None:
        self.raw.close()


class Holding(BioClient):
    """Keeps what follows its first message."""

    held: bytes | None = b""
    begun = False

    def flush(self) -> None:
        data = self._outgoing.read()
        if self.begun and self.held is not None:
            self.held += data
        elif data:
            self.begun = True
            self.raw.sendall(data)


class KernelTests(HttpsTestCase):
    timeout = 120  # user-mode Linux is slow

    def setUp(self) -> None:
        super().setUp()
        support = kernel.probe()
        if not support:
            self.skipTest(kernel.describe(support))
        self.workers = Workers()
        self.app.sockets = self.workers
        self.addCleanup(lambda: [sock.close() for sock, _ in self.workers.taken])

    async def opened(
        self,
        context: SSL.Context,
        host: str = "site.localhost",
        session: SSL.Session | None = None,
    ) -> Client:
        made = await self.blocking(lambda: Client(self.tls_port, context, host, session))
        self.addCleanup(made.close)
        return made

    async def handed(self) -> socket.socket:
        """Return the socket that a worker got."""
        await self.eventually(lambda: bool(self.workers.taken))
        return self.workers.taken.pop()[0]

    async def test_every_cipher(self) -> None:
        """A worker reads and writes plain text, several records of it, whatever was agreed on."""
        body = bytes(range(256)) * 200
        asked = request("/k", keep=True)  # both hosts are served by the one app
        for version, suite in SUITES:
            for host in ("site.localhost", "other.org"):
                client = await self.opened(settings(version, suite, b"http/1.1"), host)
                await self.blocking(lambda c=client: c.tls.sendall(asked + body))
                sock = await self.handed()
                self.assertEqual(asked, await self.blocking(lambda s=sock: read(s, len(asked))))
                self.assertEqual(body, await self.blocking(lambda s=sock: read(s, len(body))))
                await self.blocking(lambda s=sock: s.sendall(ANSWER + body))
                got = await self.blocking(lambda c=client: c.take(len(ANSWER + body)))
                self.assertEqual(ANSWER + body, got, (version, suite, host))
                sock.close()
                client.close()
        self.assertEqual(12, self.proxy.tls_counters.sealed)

    async def test_resumed(self) -> None:
        """A resumed session sends other tickets, which are counted, too."""
        for suite in (SUITES[0], SUITES[3]):
            context = settings(*suite)
            first = await self.opened(context)
            await self.answer_one(first)
            session = first.tls.get_session()
            self.assertIsNotNone(session)
            await self.answer_one(await self.opened(context, session=session))
        self.assertEqual(4, self.proxy.tls_counters.sealed)

    async def answer_one(self, client: Client) -> None:
        await self.blocking(lambda: client.tls.sendall(request("/", keep=True)))
        sock = await self.handed()
        await self.blocking(lambda: sock.sendall(ANSWER))
        self.assertEqual(ANSWER, await self.blocking(lambda: client.take(len(ANSWER))))
        sock.close()

    async def test_the_end_reads_as_an_error(self) -> None:
        """What the guard hides from an app: TLS's end reads as an input/output error."""
        client = await self.opened(settings(*SUITES[0]))
        await self.blocking(lambda: client.tls.sendall(request("/", keep=True)))
        sock = await self.handed()
        await self.blocking(lambda: read(sock, 10))
        await self.blocking(client.tls.shutdown)

        def read_on() -> int:
            try:
                while sock.recv(1000):
                    pass
            except OSError as error:
                return error.errno
            return 0

        self.assertEqual(errno.EIO, await self.blocking(read_on))
        sock.close()

    async def test_what_closes_is_proxied(self) -> None:
        """Such a connection may still be answered here, and then ends as TLS ends."""
        client = await self.opened(settings(*SUITES[0], b"http/1.1"))
        await self.blocking(lambda: client.tls.sendall(request("/p")))
        self.assertEqual("close_notify", await self.blocking(client.ended))
        self.assertRegex(self.backend.heads[0], rb"X-Ood-Peer: 127\.0\.0\.1 \d+ https")

    async def test_a_head_in_pieces(self) -> None:
        """An incomplete head is not waited for in the kernel, where it would be seen for ever."""
        client = await self.opened(settings(*SUITES[0], b"http/1.1"))
        data = request("/pieces", keep=True)
        await self.blocking(lambda: client.tls.sendall(data[:20]))
        await self.settle()
        await self.blocking(lambda: client.tls.sendall(data[20:]))
        self.assertIn(b"200 OK", await self.blocking(lambda: client.take(20)))

    async def test_other_protocols_stay(self) -> None:
        """What only ood can speak is not given to the kernel."""
        client = await self.opened(settings(*SUITES[0], b"h2", b"http/1.1"))
        self.assertEqual(b"h2", client.tls.get_alpn_proto_negotiated())
        self.assertEqual(0, self.proxy.tls_counters.sealed)
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0" + bytes(4)
        await self.blocking(lambda: client.tls.sendall(preface))
        self.assertEqual(b"\4", (await self.blocking(lambda: client.take(9)))[3:4])

    async def test_unknown_ciphers_stay(self) -> None:
        """What the kernel does not know OpenSSL does, on the same connection."""
        client = await self.opened(settings(*SUITES[0], b"http/1.1"))
        reception = self.proxy._https._reception
        reception._kernel = kernel.Support(frozenset({52}))
        for version, suite in SUITES[:2]:
            client = await self.opened(settings(version, suite))
            await self.blocking(lambda c=client: c.tls.sendall(request("/c")))
            self.assertEqual("close_notify", await self.blocking(client.ended))
        self.assertEqual(2, self.proxy.tls_counters.sealed)

    async def test_ended_too_early(self) -> None:
        """The kernel takes no connection whose client has closed its side: OpenSSL goes on."""

        def run() -> bytes:
            with Holding(self.tls_port) as client:
                client.tls.write(request("/early", keep=True))
                client.flush()
                client.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                client.raw.sendall(client.held)
                client.raw.shutdown(socket.SHUT_WR)  # goes in the same packet
                client.held = None
                return client.read_all()

        self.assertIn(b"/early ", await self.blocking(run))
        self.assertEqual(0, self.proxy.tls_counters.sealed)

    async def test_adopted(self) -> None:
        """A connection that comes back from a worker is handed to the next one."""
        client = await self.opened(settings(*SUITES[0], b"http/1.1"))
        await self.blocking(lambda: client.tls.sendall(request("/", keep=True)))
        sock = await self.handed()
        await self.blocking(lambda: read(sock, len(request("/", keep=True))))
        self.proxy.adopt("site", socket.socket(fileno=sock.detach()))
        await self.answer_one(client)


def read(sock: socket.socket, size: int) -> bytes:
    """Read so many bytes of a socket that may be in any mode."""
    sock.setblocking(True)
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise AssertionError(f"ended after {len(data)} bytes")
        data += piece
    return data
