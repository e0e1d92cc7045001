"""ood itself is started anew, as by an update: who comes meanwhile waits, and is served."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.apps import nodes
from tests.support.systemd import SupervisedOod, Systemd

SERVER = "require('http').createServer((q, s) => s.end('hello')).listen(process.env.PORT)"
REQUEST = b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n"
PATIENCE_SECONDS = 60


class ServiceRestartTests(SynchronousTestCase):
    """The service below a systemd of the test's."""

    def setUp(self) -> None:
        if not nodes():
            self.skipTest("there is no node")
        self.systemd = Systemd()
        self.addCleanup(self.systemd.close)
        self.service = SupervisedOod(self.systemd, list(nodes().values())[-1])
        self.addCleanup(self.service.close)
        self.service.start()

    def add(self) -> None:
        site: Path = self.service.directory / "site"
        site.mkdir()
        (site / "server.js").write_text(SERVER)
        self.service.add("shop", site)

    def client(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.service.http_port), PATIENCE_SECONDS)
        self.addCleanup(sock.close)
        sock.sendall(REQUEST)
        return sock

    def answer(self, sock: socket.socket) -> bytes:
        answer = b""
        while part := sock.recv(65536):
            answer += part
        return answer

    def visited_between(self) -> None:
        early = [self.client() for _ in range(20)]
        (self.service.home / "run" / "api.json").unlink(missing_ok=True)
        self.service.start()
        self.assertIn("READY=1", self.systemd.hear_until("READY=1"))
        for sock in early:
            self.assertTrue(self.answer(sock).endswith(b"hello"))

    def test_stopped_and_started(self) -> None:
        """Between the end and the next start nobody is refused."""
        lines = self.systemd.hear_until("READY=1")
        self.assertIn(f"FDNAME=ood-ipv4-{self.service.http_port}", lines)
        self.assertIn(f"FDNAME=ood-ipv4-{self.service.https_port}", lines)
        self.add()
        self.assertTrue(self.answer(self.client()).endswith(b"hello"))
        self.service.stop()
        self.assertEqual(self.systemd.hear_until("STOPPING=1"), ["STOPPING=1"])
        self.visited_between()

    def test_killed_and_started(self) -> None:
        """Nor if it was killed."""
        self.systemd.hear_until("READY=1")
        self.add()
        self.service.kill()
        self.visited_between()
