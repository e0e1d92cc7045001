"""A flood of TLS handshakes against the whole service: connections that stand are served."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.apps import nodes
from tests.support.load import SERVER, Load
from tests.support.ood import RunningOod, wait_until

HOST = "site.localhost"
HALF_DONE, WHOLE = 400, 200
"""More of the first than one address may have."""
ANSWERS = 60
SECONDS = 60


def unverified(protocol: str) -> ssl.SSLContext:
    """Return how a client speaks TLS that does not look at certificates."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


def hello() -> bytes:
    """Return a client's first message."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    wire = unverified("http/1.1").wrap_bio(incoming, outgoing, server_hostname=HOST)
    with contextlib.suppress(ssl.SSLWantReadError):
        wire.do_handshake()
    return outgoing.read()


class HandshakeTests(SynchronousTestCase):
    def setUp(self) -> None:
        if not nodes():
            self.skipTest("there is no node")
        self.service = RunningOod()
        self.service.start()
        self.addCleanup(self.service.close)
        site = Path(self.service.directory / "site")
        site.mkdir()
        (site / "server.js").write_text(SERVER)
        self.service.add("site", site)

    def connect(self, source: str) -> socket.socket:
        where = ("127.0.0.1", self.service.https_port)
        sock = socket.create_connection(where, timeout=SECONDS, source_address=(source, 0))
        self.addCleanup(sock.close)
        return sock

    def test_flood(self) -> None:
        """Neither those who begin and say no more, nor those who ask nothing, are in the way."""
        contexts = unverified("http/1.1"), unverified("h2")
        load = Load(self.service.https_port, 4, 0, contexts[0], HOST, 2, contexts[1])
        load.start()
        try:
            wait_until(lambda: load.failures or load.requests > ANSWERS, "answers", SECONDS)
            answered, first = load.requests, hello()
            for _ in range(HALF_DONE):
                self.connect("127.0.0.2").sendall(first)
            for _ in range(WHOLE):
                with self.connect("127.0.0.3") as sock:
                    contexts[0].wrap_socket(sock, server_hostname=HOST).close()
            with contexts[0].wrap_socket(self.connect("127.0.0.4"), server_hostname=HOST) as wire:
                wire.sendall(b"GET /new HTTP/1.1\r\nHost: site.localhost\r\n\r\n")
                self.assertIn(b" 200 ", wire.recv(4096))
            wait_until(
                lambda: load.failures or load.requests > answered + ANSWERS, "more answers", SECONDS
            )
        finally:
            load.stop()
        self.assertEqual((load.failures[:5], load.closes), ([], 0), load.requests)
        self.assertNotIn("Traceback", self.service.log())
