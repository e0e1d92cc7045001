"""A proxy with an HTTPS port, and blocking TLS clients in threads."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import TypeVar

from twisted.internet import reactor
from twisted.internet.interfaces import IAddress
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread

from ood.interfaces import Certificate
from ood.net.listen import bind
from ood.proxy.edge import ReverseProxy
from ood.testing.certificates import FakeCertificates, make_certificate
from tests.proxy.support import LOOPBACK, ProxyTestCase, Server, Wire

T = TypeVar("T")
SECONDS = 60
SITE = make_certificate("site.localhost", "*.wild.org")
OTHER = make_certificate("other.org", rsa_key=True)


def trusting(
    *alpn: str,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    trusted: Sequence[Certificate] = (SITE, OTHER),
) -> ssl.SSLContext:
    """Return a client's settings that trust the tests' certificates."""
    context = ssl.create_default_context()
    for one in trusted:
        context.load_verify_locations(cadata=one.chain_pem.decode())
    context.maximum_version = newest
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class EchoWire(Wire):
    """Answers each request with its path and its body, whose length it must tell."""

    heads: list[bytes]

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        while b"\r\n\r\n" in self.data:
            head, _, body = bytes(self.data).partition(b"\r\n\r\n")
            found = re.search(rb"(?i)content-length: (\d+)", head)
            length = int(found[1]) if found else 0
            if len(body) < length:
                return
            self._cut(len(head) + 4 + length)
            self.heads.append(head)
            self._answer(head.split(b" ")[1], body[:length])
            if b"Connection: close" in head:
                self.close()

    def _answer(self, path: bytes, body: bytes) -> None:
        big = re.match(rb"/big/(\d+)", path)
        answer = path + b" " + body + b"x" * (int(big[1]) if big else 0)
        self.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)


class Echo(Server):
    """Keeps the heads of all requests."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[bytes] = []

    def buildProtocol(self, addr: IAddress | None) -> Wire:
        wire = EchoWire()
        wire.heads = self.heads
        return wire


class HttpsTestCase(ProxyTestCase):
    """The proxy of the base class with an HTTPS port more."""

    def make_backend(self) -> Server:
        return Echo()

    def make_proxy(self) -> ReverseProxy:
        self.certificates = FakeCertificates(SITE, OTHER)
        plain, secure = bind(LOOPBACK, 0, what="test"), bind(LOOPBACK, 0, what="test")
        self.port, self.tls_port = plain.getsockname()[1], secure.getsockname()[1]
        return ReverseProxy(
            reactor,
            self.clock,
            self.pool,
            [plain],
            https=[secure],
            certificates=self.certificates,
        )

    def setUp(self) -> None:
        super().setUp()
        # Handshakes wait for the clock's next turn, which here comes with the reactor's.
        turns = LoopingCall(self.clock.advance, 0)
        self.addCleanup(turns.stop)
        _ = turns.start(0.001)

    def connect(
        self, settings: ssl.SSLContext, host: str | None = "site.localhost"
    ) -> ssl.SSLSocket:
        """Return a connection; blocks, so it is for a thread."""
        raw = socket.create_connection((LOOPBACK, self.tls_port), SECONDS)
        try:
            return settings.wrap_socket(raw, server_hostname=host)
        except BaseException:
            raw.close()
            raise

    async def blocking(self, function: Callable[[], T]) -> T:
        """Run ``function`` in a thread."""
        return await deferToThread(function)

    async def ask(
        self, request: bytes, settings: ssl.SSLContext | None = None, host: str = "site.localhost"
    ) -> bytes:
        """Send a request that closes; return everything that comes until the orderly end."""

        def run() -> bytes:
            with closing(self.connect(settings or trusting(), host)) as sock:
                sock.sendall(request)
                return read_all(sock)

        return await self.blocking(run)


def request(
    path: str,
    body: bytes = b"",
    *,
    host: str = "site.localhost",
    keep: bool = False,
    fields: str = "",
) -> bytes:
    """Return a request; without ``keep`` it closes the connection."""
    method = "POST" if body else "GET"
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    close = "" if keep else "Connection: close\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}{length}{close}\r\n"
    return head.encode() + body


class BioClient:
    """A TLS client that shows its records, for what ``ssl.SSLSocket`` can't do."""

    def __init__(self, port: int, *, single_bytes: bool = False) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = trusting().wrap_bio(
            self._incoming, self._outgoing, server_hostname="site.localhost"
        )
        self._single = single_bytes
        self.raw = socket.create_connection((LOOPBACK, port), SECONDS)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.do(self.tls.do_handshake)

    def __enter__(self) -> BioClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()

    def do(self, function: Callable[[], T]) -> T:
        """Do what may need records from the server."""
        while True:
            try:
                result = function()
            except ssl.SSLWantReadError:
                self.flush()
                data = self.raw.recv(65536)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                self.flush()
                return result

    def flush(self) -> None:
        """Send what is to be sent."""
        data = self._outgoing.read()
        size = 1 if self._single else max(len(data), 1)
        for at in range(0, len(data), size):
            self.raw.sendall(data[at : at + size])

    def end(self) -> None:
        """Say TLS's end, and read on."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.flush()

    def read_all(self) -> bytes:
        """Read until the server says TLS's end."""
        data = b""
        with suppress(ssl.SSLZeroReturnError):
            while piece := self.do(lambda: self.tls.read(65536)):
                data += piece
        return data


def read_all(sock: ssl.SSLSocket) -> bytes:
    """Read until the peer's close_notify; a cut connection is an error."""
    sock.suppress_ragged_eofs = False
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data
