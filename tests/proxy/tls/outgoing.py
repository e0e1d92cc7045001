"""A proxy before servers that speak TLS."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from ood.proxy.tls.contexts import show
from tests.certs.pki import Authority
from tests.proxy.remotes import POST, Backend, RemoteTestCase
from tests.proxy.support import LOOPBACK, Wire

CA, OTHER_CA = Authority("test CA"), Authority("other CA")
GOOD = CA.pair("api.example", "*.wild.example", LOOPBACK)
CLIENT = CA.pair(client=True)


@implementer(IOpenSSLContextFactory)
class Settings:
    """A TLS server's settings.

    :param newest: the newest TLS that it speaks.
    :param ask: the CA of the certificates that clients have to show.
    :ivar resumed: for each connection, whether it resumed a session.
    """

    def __init__(
        self,
        pair: tuple[bytes, bytes],
        *,
        newest: int = SSL.TLS1_3_VERSION,
        oldest: int = SSL.TLS1_2_VERSION,
        ask: bytes = b"",
    ) -> None:
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.set_min_proto_version(oldest)
        self.context.set_max_proto_version(newest)
        self.context.set_session_id(b"test")
        self.names: list[bytes | None] = []
        self.protocols: list[list[bytes]] = []
        self.context.set_tlsext_servername_callback(self._named)
        self.context.set_alpn_select_callback(self._choose)
        show(self.context, *pair)
        if ask:
            path = Path(tempfile.mkdtemp()) / "ca.pem"
            path.write_bytes(ask)
            self.context.load_verify_locations(str(path))
            needed = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
            self.context.set_verify(needed, lambda *found: bool(found[-1]))

    def _named(self, connection: SSL.Connection) -> None:
        self.names.append(connection.get_servername())

    def _choose(self, _connection: SSL.Connection, offered: list[bytes]) -> bytes:
        self.protocols.append(offered)
        return offered[0]

    def getContext(self) -> SSL.Context:
        return self.context


def raw(wire: Wire) -> Any:
    """Return the TCP connection below a TLS one."""
    return wire.transport.transport  # type: ignore[union-attr]


class OutgoingTestCase(RemoteTestCase):
    """A proxy before servers that speak TLS."""

    timeout = 60

    def setUp(self) -> None:
        super().setUp()
        # Handshakes wait for the clock's next turn, which here comes with the reactor's.
        turns = LoopingCall(self.clock.advance, 0)
        self.addCleanup(turns.stop)
        _ = turns.start(0.001)
        self.ca = self.file("ca.pem", CA.pem)

    def file(self, name: str, content: bytes) -> str:
        path = Path(tempfile.mkdtemp()) / name
        path.write_bytes(content)
        return str(path)

    def secure(self, settings: Settings) -> tuple[Backend, str]:
        """Return a new server and its address."""
        server = Backend()
        port = reactor.listenSSL(0, server, settings, interface=LOOPBACK)
        self.addCleanup(port.stopListening)
        return server, f"https://{LOOPBACK}:{port.getHost().port}"

    async def refusal(self, pair: tuple[bytes, bytes], words: str = "", **keys: Any) -> str:
        """Return what is said of a server that is not trusted; nothing may have reached it."""
        server, address = self.secure(Settings(pair, **keys))
        self.upstreams(f"{address} {words or f'caFile={self.ca}'}", max_fails=1)
        client = await self.client()
        client.send(POST)
        answer = await client.until(b"ood log site\n")
        self.assertIn(b"502 Bad Gateway", answer)
        self.assertEqual([b""], [bytes(one.data) for one in server.every])
        (status,) = self.remotes.status("site").upstreams
        self.assertEqual((1, "errored"), (status.failures, status.state))
        self.assertEqual(f"upstream {address} gets no requests: {status.reason}", self.remarks[-1])
        self.assertNotIn(status.reason.encode(), answer, "clients need not know")
        return status.reason
