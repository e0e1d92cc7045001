from __future__ import annotations

import contextlib
import ssl
import tempfile
from contextlib import closing
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.internet.ssl import DefaultOpenSSLContextFactory

from ood.interfaces import Certificate
from ood.model.document import App, Document
from ood.testing.certificates import make_certificate
from tests.proxy.support import LOOPBACK
from tests.proxy.test_dispatch import Workers
from tests.proxy.tls.support import HttpsTestCase, read_all, request, trusting

OWN = make_certificate("own.org")


def tls_server(test: HttpsTestCase, certificate: Certificate, factory: Factory) -> tuple[str, int]:
    """Return where a server with its own TLS listens."""
    directory = Path(tempfile.mkdtemp())
    key, chain = directory / "key", directory / "chain"
    key.write_bytes(certificate.key_pem)
    chain.write_bytes(certificate.chain_pem)
    settings = DefaultOpenSSLContextFactory(str(key), str(chain))
    port = reactor.listenSSL(0, factory, settings, interface=LOOPBACK)  # type: ignore[attr-defined]
    test.addCleanup(port.stopListening)
    return LOOPBACK, port.getHost().port


class PassageTests(HttpsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.own = self.pool.add("own.org", tls_server(self, OWN, self.make_backend()))
        app = App(cwd="/", port=self.ports["site"], default=True)
        passing = App(cwd="/", port=self.ports["site"] + 1, tls="passthrough")
        self.document = Document(apps={"site": app, "own.org": passing})
        self.proxy.converge(self.document)

    async def own_answer(self, path: str = "/own", body: bytes = b"") -> bytes:
        return await self.ask(
            request(path, body, host="own.org"), trusting(trusted=[OWN]), "own.org"
        )

    async def test_relayed(self) -> None:
        """The app's own certificate is shown, and bodies go through whole both ways."""
        body = bytes(range(256)) * 4096
        answer = await self.own_answer("/own", body)
        self.assertEqual(body, answer.partition(b"\r\n\r\n/own ")[2])
        answer = await self.own_answer("/big/3000000")
        self.assertEqual(3_000_000, answer.count(b"x"))
        self.assertEqual(2, self.proxy.tls_counters.passed_through)
        self.assertEqual({}, dict(self.proxy.tls_counters.handshakes))

    async def test_handed_off(self) -> None:
        """A worker that takes sockets gets the connection whole, from its first byte on."""
        workers = Workers()
        self.own.sockets = workers
        client = await self.client(self.tls_port)
        hello = client_hello("own.org")
        client.send(hello)
        await self.eventually(lambda: bool(workers.taken))
        sock, _ = workers.taken[0]
        self.assertEqual(hello, sock.recv(65536))
        sock.close()

    async def test_no_worker(self) -> None:
        """Without a worker the connection waits, and is closed when there will be none."""
        self.own.backends[0].worker.accepting = False
        with self.assertRaises((ssl.SSLError, OSError)):
            await self.own_answer()

    async def test_not_on_anothers_connection(self) -> None:
        """A request for it on a connection that ood decrypted is refused."""
        answer = await self.ask(request("/", host="own.org"))
        self.assertIn(b"421 Misdirected Request", answer)

    async def test_plain_http_is_sent_there(self) -> None:
        client = await self.client()
        client.send(request("/x", host="own.org"))
        self.assertIn(b"308 Permanent", await client.end())

    async def test_others_are_not_touched(self) -> None:
        self.assertIn(b"/a ", await self.ask(request("/a")))

    async def test_drain(self) -> None:
        """A stop ends what nobody here can look into."""

        def open_one() -> ssl.SSLSocket:
            return self.connect(trusting(trusted=[OWN]), "own.org")

        stood = await self.blocking(open_one)
        await self.stop()
        # whether a TLS library calls it an error is its own affair: it is over
        with closing(stood), contextlib.suppress(ssl.SSLError, OSError):
            self.assertEqual(b"", await self.blocking(lambda: read_all(stood)))


def client_hello(host: str) -> bytes:
    """Return a client's first message."""
    outgoing = ssl.MemoryBIO()
    tls = trusting().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=host)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()
