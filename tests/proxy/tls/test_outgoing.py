from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.model.upstreamtls import Tls
from ood.proxy.core import trust
from ood.proxy.tls.outgoing import SESSION_SECONDS, Outgoing
from tests.certs.pki import Authority
from tests.proxy.remotes import GET, POST
from tests.proxy.support import LOOPBACK
from tests.proxy.tls.outgoing import CA, CLIENT, GOOD, OTHER_CA, OutgoingTestCase, Settings


def _set(name: str, value: str | None) -> None:
    if value is None:
        del os.environ[name]
    else:
        os.environ[name] = value


class TrustTests(OutgoingTestCase):
    async def test_a_request(self) -> None:
        """Both versions of TLS work; the connection is kept for the next request."""
        for newest in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            settings = Settings(GOOD, newest=newest)
            server, address = self.secure(settings)
            self.upstreams(f"{address} caFile={self.ca}")
            client = await self.client()
            for _ in range(3):
                client.send(GET)
                head = await self.answered(server, client)
                self.assertIn(b"X-Forwarded-For: 127.0.0.1\r\n", head)
                self.assertIn(b"X-Forwarded-Proto: http\r\n", head)
                self.assertIn(b"Host: site.localhost\r\n", head)
            self.assertEqual(1, server.count)
            self.assertEqual([[b"http/1.1"]], settings.protocols)
            self.assertEqual([None], settings.names, "an address is no name")

    async def test_names(self) -> None:
        """serverName is who is asked for, and who the certificate has to be for."""
        for name in ("api.example", "a.wild.example"):
            settings = Settings(GOOD)
            server, address = self.secure(settings)
            self.upstreams(f"{address} caFile={self.ca} serverName={name}")
            client = await self.client()
            client.send(GET)
            await self.answered(server, client)
            self.assertEqual([name.encode()], settings.names)

    async def test_a_name_to_look_up(self) -> None:
        """The host of the address is who is asked for, if nothing else is said."""
        settings = Settings(CA.pair("localhost"))
        server, address = self.secure(settings)
        address = address.replace(LOOPBACK, "localhost")
        self.upstreams(f"{address} caFile={self.ca}")
        client = await self.client()
        client.send(GET)
        await self.answered(server, client)
        self.assertEqual([b"localhost"], settings.names)

    async def test_for_others(self) -> None:
        """A certificate for others is refused, and both names are told."""
        why = await self.refusal(CA.pair("other.example", "10.0.0.5"))
        self.assertEqual(f"its certificate is for other.example, 10.0.0.5, not for {LOOPBACK}", why)
        why = await self.refusal(GOOD, f"caFile={self.ca} serverName=b.a.wild.example")
        self.assertIn("*.wild.example", why)
        self.assertIn("not for b.a.wild.example", why)
        why = await self.refusal(CA.pair(), newest=SSL.TLS1_2_VERSION)
        self.assertIn("for no host at all", why)

    async def test_expired(self) -> None:
        why = await self.refusal(CA.pair(LOOPBACK, ends=-timedelta(days=3)))
        self.assertRegex(why, r"^its certificate expired on \d{4}-\d\d-\d\d$")

    async def test_unknown_authority(self) -> None:
        """Only the system's CAs are trusted, or those of caFile instead of them."""
        why = await self.refusal(OTHER_CA.pair(LOOPBACK))
        self.assertEqual(f"its certificate is not signed by a CA in {self.ca}", why)
        why = await self.refusal(GOOD, "serverName=api.example")
        self.assertIn("not signed by a CA that this machine knows (caFile)", why)

    async def test_the_systems_authorities(self) -> None:
        """Without caFile the system's CAs are trusted, wherever it says that they are."""
        before = os.environ.get("SSL_CERT_FILE")
        self.addCleanup(_set, "SSL_CERT_FILE", before)
        _set("SSL_CERT_FILE", self.ca)
        server, address = self.secure(Settings(GOOD))
        self.upstreams(address)
        client = await self.client()
        client.send(GET)
        await self.answered(server, client)

    async def test_not_for_servers(self) -> None:
        why = await self.refusal(CA.pair(LOOPBACK, client=True))
        self.assertEqual("its certificate is not meant for servers", why)

    async def test_an_intermediate(self) -> None:
        """A chain is followed; a CA below the highest one can be trusted, too."""
        below = Authority("below", CA)
        chain, key = below.pair(LOOPBACK)
        server, address = self.secure(Settings((chain + below.pem, key)))
        client = await self.client()
        for ca in (self.ca, self.file("below.pem", below.pem)):
            self.upstreams(f"{address} caFile={ca}")
            client.send(GET)
            await self.answered(server, client)
        self.assertIn("not signed", await self.refusal((chain, key)))

    async def test_unverified(self) -> None:
        """With verify=false anybody's certificate will do."""
        server, address = self.secure(Settings(OTHER_CA.pair("x", ends=-timedelta(days=3))))
        self.upstreams(f"{address} verify=false")
        client = await self.client()
        client.send(GET)
        await self.answered(server, client)
        self.upstreams(f"{address} caFile={self.ca}")
        client.send(GET)
        self.assertIn(b"502", await client.until(b"ood log site\n"))

    async def test_old(self) -> None:
        """TLS older than 1.2 is not spoken."""
        old = {"newest": SSL.TLS1_1_VERSION, "oldest": SSL.TLS1_VERSION}
        why = await self.refusal(GOOD, **old)
        self.assertRegex(why, "TLS")

    async def test_no_tls(self) -> None:
        """A server that speaks plain HTTP there is named as such."""
        server, address = self.server()
        self.upstreams(f"https://{address} verify=false", max_fails=1)
        client = await self.client()
        client.send(GET)
        wire = await server.next()
        await wire.take(5)
        wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertIn(b"502 Bad Gateway", await client.until(b"ood log site\n"))
        (status,) = self.remotes.status("site").upstreams
        self.assertEqual("it speaks no TLS there", status.reason)

    async def test_files_that_are_not_there(self) -> None:
        """The reason names the file, and heals by itself."""
        server, address = self.secure(Settings(GOOD))
        path = Path(tempfile.mkdtemp()) / "ca.pem"
        self.upstreams(f"{address} caFile={path}", max_fails=100)

        async def reason() -> str:
            client.send(GET)
            await client.until(b"ood log site\n")
            return self.remotes.status("site").upstreams[0].reason

        client = await self.client()
        self.assertEqual(f"caFile {path}: No such file or directory", await reason())
        path.write_bytes(b"nonsense")
        self.assertEqual(f"caFile {path}: it holds no certificates in PEM", await reason())
        path.write_bytes(CA.pem)
        client.send(GET)
        await self.answered(server, client)

    async def test_a_client_certificate(self) -> None:
        """It is shown where it is asked for; without it the reason says what is missing."""
        cert, key = self.file("cert.pem", CLIENT[0]), self.file("key.pem", CLIENT[1])
        for newest in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            settings = Settings(GOOD, newest=newest, ask=CA.pem)
            server, address = self.secure(settings)
            words = f"{address} caFile={self.ca}"
            self.upstreams(f"{words} certFile={cert} keyFile={key}")
            client = await self.client()
            client.send(GET)
            await self.answered(server, client)
            self.upstreams(words, max_fails=1)
            why = await self.loses()
            if newest == SSL.TLS1_3_VERSION:  # older TLS has no word for it
                self.assertEqual("it asks for a certificate (certFile and keyFile)", why)
            self.upstreams(f"{words} certFile={cert} keyFile={cert}", max_fails=1)
            why = await self.loses()
            self.assertIn(f"certFile {cert}, keyFile {cert}: they hold no certificate", why)

    async def loses(self) -> str:
        """Send a request that gets lost; return why, as the status tells it."""
        client = await self.client()
        client.send(POST)
        self.assertIn(b"502 Bad Gateway", await client.until(b"ood log site\n"))
        return self.remotes.status("site").upstreams[0].reason


class SessionTests(SynchronousTestCase):
    """Handshakes in memory, one thread, both ends non-blocking."""

    def setUp(self) -> None:
        self.clock = Clock()
        path = Path(tempfile.mkdtemp()) / "ca.pem"
        path.write_bytes(CA.pem)
        self.tls = Tls("api.example", ca_file=str(path))
        self.outgoing = Outgoing(self.clock)
        self.towards = self.outgoing.towards(self.tls)

    def connect(self, settings: Settings) -> bool:
        """Connect, exchange a word, keep the session; return whether one was resumed."""
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setblocking(False)
            self.addCleanup(sock.close)
        server = SSL.Connection(settings.context, theirs)
        server.set_accept_state()
        handshake = self.towards.handshake()
        sock: Any = ours
        for _ in range(4):
            if sock is ours:
                sock = self.attempt(lambda: handshake.step(ours)) or ours
            self.attempt(server.do_handshake)
        self.assertIsNot(ours, sock)
        server.send(b"word")
        self.assertEqual(b"word", sock.recv(100))
        handshake.keep()
        sock.close()  # with TLS's end: a session whose connection broke is not resumed
        return bool(SSL._lib.SSL_session_reused(server._ssl))  # type: ignore[attr-defined]

    def attempt(self, function: Callable[[], Any]) -> Any:
        try:
            return function()
        except (SSL.WantReadError, SSL.WantWriteError, BlockingIOError):
            return None

    def test_resumption(self) -> None:
        """The next connection resumes the session, in both versions, but not for ever."""
        for newest in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            settings = Settings(GOOD, newest=newest)
            self.towards = self.outgoing.towards(self.tls)
            self.assertFalse(self.connect(settings))
            self.assertTrue(self.connect(settings))
            self.clock.advance(SESSION_SECONDS - 1)
            self.assertTrue(self.connect(settings))
            self.clock.advance(1)
            self.assertFalse(self.connect(settings), "what resumed does not begin anew")
            self.assertTrue(self.connect(settings))

    def test_not_for_others(self) -> None:
        """Another server's session, or one from before its CA was exchanged, is not used."""
        settings = Settings(GOOD)
        self.connect(settings)
        self.assertTrue(self.connect(settings))
        self.towards = self.outgoing.towards(Tls("b.wild.example", ca_file=self.tls.ca_file))
        self.assertFalse(self.connect(settings))
        Path(self.tls.ca_file).write_bytes(CA.pem + OTHER_CA.pem)
        self.assertFalse(self.connect(settings))

    def test_one_context(self) -> None:
        """Servers with the same settings share OpenSSL's, which take the most memory."""
        other = Tls("b.example", ca_file=self.tls.ca_file)
        context = self.outgoing.context(self.tls)
        self.assertIs(context, self.outgoing.context(other))
        self.assertIsNot(context, self.outgoing.context(Tls("b.example")))


class WordTests(SynchronousTestCase):
    def test_many_names(self) -> None:
        """Of many names some are told."""
        text = trust.mismatch([f"{number}.example" for number in range(9)], "b")
        self.assertIn("0.example, 1.example, 2.example, 3.example and 5 more, not for b", text)

    def test_openssl_words(self) -> None:
        """What OpenSSL says is translated, and told as it is where there are no words for it."""
        text = f"{trust.OPENSSL}tlsv13 alert certificate required"
        self.assertIn("certFile", trust.told(text))
        self.assertIn("odd thing", trust.told(f"{trust.OPENSSL}odd thing"))
        self.assertEqual("its certificate is odd", trust.told("its certificate is odd"))
