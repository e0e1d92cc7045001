from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TypeVar

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from ood.net.listen import RawSocket
from ood.proxy import limits
from ood.proxy.tls import handshake, turns
from ood.proxy.tls import socket as socket_module
from ood.testing.certificates import make_certificate
from tests.proxy.support import LOOPBACK, Server
from tests.proxy.tls.support import (
    OTHER,
    SECONDS,
    BioClient,
    HttpsTestCase,
    read_all,
    request,
    trusting,
)

T = TypeVar("T")
OLD = ssl.TLSVersion.TLSv1_2
PATIENCE_SECONDS = 60


class RequestTests(HttpsTestCase):
    async def test_a_request(self) -> None:
        """TLS 1.3 and 1.2 clients get their answer, and TLS's own end after it."""
        for newest in (ssl.TLSVersion.TLSv1_3, OLD):
            answer = await self.ask(request("/a"), trusting(newest=newest))
            self.assertTrue(answer.endswith(b"\r\n\r\n/a "), answer)
        done = self.proxy.tls_counters.handshakes
        self.assertEqual({"TLSv1.3": 1, "TLSv1.2": 1}, dict(done))

    async def test_many_on_one_connection(self) -> None:
        """A connection is kept, and pipelined requests are answered in order."""

        def run() -> bytes:
            with closing(self.connect(trusting())) as sock:
                sock.sendall(b"".join(request(f"/{n}", keep=True) for n in range(5)))
                sock.sendall(request("/last"))
                return read_all(sock)

        answer = await self.blocking(run)
        self.assertEqual(6, answer.count(b"200 OK"))
        self.assertTrue(answer.endswith(b"/last "))

    async def test_bodies_of_a_megabyte(self) -> None:
        """Bodies that are longer than any buffer go through unharmed, both ways."""
        body = bytes(range(256)) * 4096
        answer = await self.ask(request("/b", body))
        self.assertEqual(body, answer.partition(b"\r\n\r\n/b ")[2])

    async def test_a_slow_reader(self) -> None:
        """A client that reads late gets all of 4 MB and the end, though the kernel was full."""

        full = threading.Event()

        def run() -> int:
            with closing(self.connect(trusting())) as sock:
                sock.sendall(request("/big/9000000"))
                full.wait(SECONDS)
                return len(read_all(sock).partition(b"\r\n\r\n")[2])

        reading = Deferred.fromCoroutine(self.blocking(run))
        live = self.proxy._context.live
        await self.eventually(lambda: any(getattr(one, "backlog", 0) for one in live._members))
        await self.settle()
        full.set()
        self.assertEqual(9_000_000 + len("/big/9000000 "), await reading)

    async def test_half_closed(self) -> None:
        """A client that says TLS's end after its request, or just TCP's, still gets its answer."""

        def run(*, orderly: bool) -> bytes:
            with BioClient(self.tls_port) as client:
                client.tls.write(request("/half", keep=True))
                client.flush()
                if orderly:
                    client.end()
                client.raw.shutdown(socket.SHUT_WR)
                return client.read_all()

        self.assertIn(b"/half ", await self.blocking(lambda: run(orderly=True)))
        self.assertIn(b"/half ", await self.blocking(lambda: run(orderly=False)))

    async def test_no_host_is_told_what_a_client_claims(self) -> None:
        """The app learns the client's address and that it came by HTTPS."""
        await self.ask(request("/x", fields="X-Forwarded-Proto: http\r\n"))
        (head,) = self.backend.heads
        self.assertRegex(head, rb"X-Ood-Peer: 127\.0\.0\.1 \d+ https\r?\n?")
        self.assertNotIn(b"X-Forwarded-Proto: http\r\n", head)


class LastMessagesTests(HttpsTestCase):
    """What ends a handshake may come with the first answer, if the client waits for none of it."""

    def setUp(self) -> None:
        super().setUp()
        self.held: list[bool] = []

        def hold(sock: RawSocket, *, back: bool) -> None:
            self.held.append(back)
            socket_module.hold(sock, back=back)

        self.patch(handshake, "hold", hold)

    async def answered(self, settings: SSL.Context) -> bytes:
        """Ask; return the answer.

        The client runs in the server's own thread: so it never answers in the middle of one of
        the server's steps.
        """
        with closing(socket.create_connection((LOOPBACK, self.tls_port))) as raw:
            raw.setblocking(False)
            client = SSL.Connection(settings, raw)
            client.set_tlsext_host_name(b"site.localhost")
            client.set_connect_state()
            await self.sooner_or_later(client.do_handshake)
            client.send(request("/a"))
            return await self.sooner_or_later(lambda: client.recv(65536))

    async def sooner_or_later(self, function: Callable[[], T]) -> T:
        """Call until nothing is to be waited for any more."""
        while True:
            try:
                return function()
            except SSL.WantReadError:
                await deferLater(reactor, 0.001)

    async def test_tickets_come_with_the_answer(self) -> None:
        answer = await self.answered(SSL.Context(SSL.TLS_CLIENT_METHOD))
        self.assertIn(b"/a ", answer)
        self.assertEqual([True], self.held)

    async def test_tickets_come_without_an_answer(self) -> None:
        """A client that asks nothing gets them, too."""

        def run() -> bytes:
            with BioClient(self.tls_port) as client:
                client.raw.settimeout(PATIENCE_SECONDS)
                return client.raw.recv(65536)

        self.assertEqual(b"\x17\x03\x03", (await self.blocking(run))[:3])

    async def test_an_older_client_waits(self) -> None:
        """In TLS 1.2 the last message is one that the client needs."""
        settings = SSL.Context(SSL.TLS_CLIENT_METHOD)
        settings.set_max_proto_version(SSL.TLS1_2_VERSION)
        self.assertIn(b"/a ", await self.answered(settings))
        self.assertEqual([True, False], self.held)

    async def test_a_second_hello(self) -> None:
        """A client that has to choose another group waits in the middle of the handshake."""
        settings = SSL.Context(SSL.TLS_CLIENT_METHOD)
        choose = SSL._lib.SSL_CTX_set1_curves_list  # type: ignore[attr-defined]
        choose(settings._context, b"P-521:P-384")
        self.assertIn(b"/a ", await self.answered(settings))
        self.assertEqual([True, False, True], self.held)


class NameTests(HttpsTestCase):
    async def test_each_name_its_certificate(self) -> None:
        """The name decides, then a wildcard; the client checks that it is the right one."""
        for host in ("site.localhost", "other.org", "SITE.localhost", "a.wild.org"):
            settings = trusting()
            await self.ask(request("/"), settings, host)

    async def refused(self, host: str | None, *alpn: str, newest: ssl.TLSVersion = OLD) -> str:
        """Return why a client says that it was refused."""
        try:
            await self.blocking(lambda: self.connect(trusting(*alpn, newest=newest), host).close())
        except ssl.SSLError as error:
            return str(error)
        raise AssertionError("not refused")

    async def test_an_unknown_name(self) -> None:
        """There is an alert for it, and nothing but the alert is sent."""
        for newest in (OLD, ssl.TLSVersion.TLSv1_3):
            why = await self.refused("unknown.org", newest=newest)
            self.assertIn("unrecognized name", why.lower().replace("_", " "))
        self.assertEqual(2, self.proxy.tls_counters.refused["unknown_name"])

    async def test_no_name(self) -> None:
        """Who names no host gets the default app's certificate."""
        settings = trusting()
        settings.check_hostname = False
        await self.blocking(lambda: self.connect(settings, None).close())
        self.converge("site", "other")
        settings = trusting()
        settings.check_hostname = False
        with self.assertRaises(ssl.SSLError):
            await self.blocking(lambda: self.connect(settings, None).close())

    async def test_a_swap_under_open_connections(self) -> None:
        """A new certificate is shown at once; connections that stand are not touched."""
        fresh = make_certificate("site.localhost")
        stood = await self.blocking(lambda: self.connect(trusting()))
        self.certificates.put(fresh)
        settings = trusting(trusted=[fresh])

        def shown() -> bytes:
            with closing(self.connect(settings)) as sock:
                return sock.getpeercert(True) or b""

        self.assertEqual(
            ssl.PEM_cert_to_DER_cert(fresh.chain_pem.decode()), await self.blocking(shown)
        )

        def go_on() -> bytes:
            with closing(stood):
                stood.sendall(request("/old"))
                return read_all(stood)

        self.assertIn(b"/old ", await self.blocking(go_on))
        self.certificates.remove("site.localhost")
        self.assertIn("name", (await self.refused("site.localhost")).lower())

    async def test_an_unusable_certificate(self) -> None:
        """A key that does not belong to it makes one name fail, and nothing else."""
        broken = make_certificate("broken.org")
        object.__setattr__(broken, "key_pem", OTHER.key_pem)
        self.certificates.put(broken)
        await self.refused("broken.org")
        await self.ask(request("/"))
        self.assertEqual(1, self.proxy.tls_counters.refused["unusable_certificate"])

    async def test_protocols(self) -> None:
        """HTTP/1.1 is agreed on where it is offered; where nothing fits there is an alert."""

        def agreed() -> str | None:
            with closing(self.connect(trusting("spdy/3", "http/1.1"))) as sock:
                return sock.selected_alpn_protocol()

        self.assertEqual("http/1.1", await self.blocking(agreed))
        why = await self.refused("site.localhost", "spdy/3", newest=ssl.TLSVersion.TLSv1_3)
        self.assertIn("no application protocol", why.lower().replace("_", " "))

    async def test_a_validation(self) -> None:
        """acme-tls/1 shows the certificate of the validation, and else is refused."""
        why = await self.refused("site.localhost", "acme-tls/1")
        self.assertIn("no application protocol", why.lower().replace("_", " "))
        special = make_certificate("new.org", acme=b"d" * 32)
        self.certificates.challenges["new.org"] = special

        def shown(newest: ssl.TLSVersion) -> tuple[str | None, bytes]:
            settings = trusting("acme-tls/1", newest=newest)
            settings.check_hostname, settings.verify_mode = False, ssl.CERT_NONE
            with closing(self.connect(settings, "new.org")) as sock:
                return sock.selected_alpn_protocol(), sock.getpeercert(True) or b""

        der = ssl.PEM_cert_to_DER_cert(special.chain_pem.decode())
        for newest in (OLD, ssl.TLSVersion.TLSv1_3):
            found = await self.blocking(partial(shown, newest))
            self.assertEqual(("acme-tls/1", der), found)

    async def test_sessions(self) -> None:
        """A session is resumed for its own host, and not for another one."""

        def again(first: str, second: str, newest: ssl.TLSVersion) -> bool | None:
            settings = trusting(newest=newest)
            settings.check_hostname = False
            with closing(self.connect(settings, first)) as sock:
                sock.sendall(request("/", host=first))
                read_all(sock)
                session = sock.session
            raw = socket.create_connection((LOOPBACK, self.tls_port), SECONDS)
            with closing(
                settings.wrap_socket(raw, server_hostname=second, session=session)
            ) as sock:
                return sock.session_reused

        for newest in (OLD, ssl.TLSVersion.TLSv1_3):
            same = await self.blocking(partial(again, "site.localhost", "site.localhost", newest))
            self.assertTrue(same, newest)
            strange = await self.blocking(partial(again, "site.localhost", "other.org", newest))
            self.assertFalse(strange, newest)


class BoundTests(HttpsTestCase):
    async def test_plain_http(self) -> None:
        """Who speaks HTTP on this port is told so."""
        client = await self.client(self.tls_port)
        client.send(request("/"))
        answer = await client.end()
        self.assertIn(b"400 Bad Request", answer)
        self.assertIn(b"This port speaks HTTPS", answer)

    async def test_nonsense(self) -> None:
        client = await self.client(self.tls_port)
        client.send(b"\x16\x03\x01\x00\x05hello")
        self.assertEqual(b"\x15\x03\x03\x00\x02\x02\x32", await client.end())

    async def test_too_slow(self) -> None:
        """A first message, a handshake and a first request must come in time."""
        settings = trusting()
        ready = await self.blocking(lambda: self.connect(settings))
        begun = await self.client(self.tls_port)
        begun.send(b"\x16\x03\x01\x01")
        await self.settle()
        self.advance(limits.HANDSHAKE_SECONDS + 1)
        self.assertEqual(b"", await begun.end())
        self.advance(limits.HEAD_DEADLINE_SECONDS + 1)
        with closing(ready):
            self.assertEqual(b"", await self.blocking(lambda: read_all(ready)))
        self.assertEqual(1, self.proxy.tls_counters.refused["late"])

    async def test_when_the_service_ends(self) -> None:
        """Who is connected already gets a handshake and an answer first."""
        raw = socket.create_connection((LOOPBACK, self.tls_port), SECONDS)
        await self.eventually(lambda: self.proxy._awaited() == 1)

        async def end() -> None:
            await self.proxy.settle()
            await self.proxy.stopService()

        ended = Deferred.fromCoroutine(end())

        def run() -> bytes:
            with closing(trusting().wrap_socket(raw, server_hostname="site.localhost")) as sock:
                sock.sendall(request("/late"))
                return read_all(sock)

        self.assertIn(b"/late ", await self.blocking(run))
        self.advance(1)
        await ended

    async def test_in_single_bytes(self) -> None:
        """A first message may come byte by byte, and is then still unread."""

        def run() -> bytes:
            with BioClient(self.tls_port, single_bytes=True) as client:
                client.tls.write(request("/single"))
                client.flush()
                return client.read_all()

        self.assertIn(b"/single ", await self.blocking(run))

    async def test_steps_per_turn(self) -> None:
        """Of many handshakes at once only some are worked on before others get their turn."""

        class Job:
            def step(self) -> None:
                done.append(self)
                if len(done) == 3:
                    raise ValueError("it failed")

            def give_up(self) -> None:
                given_up.append(self)

        class Reactor(Clock):
            def callLater(self, _delay: float, call: Callable[[], None]) -> object:
                due.append(call)
                return call

        done: list[Job] = []
        given_up: list[Job] = []
        due: list[Callable[[], None]] = []
        line = turns.Turns(Reactor())
        for _ in range(2 * turns.STEPS_PER_TURN_MAX + 1):
            line.add(Job())
        counts = []
        while due:
            due.pop()()
            counts.append(len(done))
        most = turns.STEPS_PER_TURN_MAX
        self.assertEqual([most, 2 * most, 2 * most + 1], counts)
        self.assertEqual([done[2]], given_up)
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    async def test_stopping_in_the_middle(self) -> None:
        """A stop ends connections that have no request, and waits for nothing else."""
        ready = await self.blocking(lambda: self.connect(trusting()))
        begun = await self.client(self.tls_port)
        begun.send(b"\x16\x03\x01\x01")
        await self.settle()
        await self.stop()
        with closing(ready):
            self.assertEqual(b"", await self.blocking(lambda: read_all(ready)))
        self.assertEqual(b"", await begun.end())


class WebSocketTests(HttpsTestCase):
    def make_backend(self) -> Server:
        return Server()

    async def test_a_tunnel(self) -> None:
        """Bytes go both ways as they are, also those that came along with the handshake."""
        asked = request("/ws", keep=True, fields="Connection: upgrade\r\nUpgrade: websocket\r\n")
        body = bytes(range(256)) * 1200

        def run() -> bytes:
            with closing(self.connect(trusting())) as sock:
                sock.sendall(asked + b"early" + body)
                return read_all(sock)

        reading = Deferred.fromCoroutine(self.blocking(run))
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        switched = b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        wire.send(switched + b"hello")
        self.assertEqual(b"early" + body, await wire.take(5 + len(body)))
        wire.send(body)
        wire.close()
        head, _, rest = (await reading).partition(b"\r\n\r\n")
        self.assertIn(b"101", head)
        self.assertEqual(b"hello" + body, rest)
