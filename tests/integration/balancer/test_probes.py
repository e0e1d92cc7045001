"""Probes against real servers and real commands."""

from __future__ import annotations

import socket
import sys
import threading

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from ood.balancer.probes import probe
from ood.clock import MonotonicClock
from ood.model.servicecheck import read_service
from tests.support.ipv6 import has_ipv6
from tests.support.ports import free_port

PATIENCE_SECONDS = 60


class ProbeCase(TestCase):
    def serve(self, answer, host="127.0.0.1"):
        """Start a server that answers each client once; return its port."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, 0), family=family)
        self.requests = []

        def run():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    if answer is not None:
                        self.requests.append(client.recv(4096))
                        client.sendall(answer)

        threading.Thread(target=run, daemon=True).start()
        # shutdown wakes the thread that accepts; close alone would not
        self.addCleanup(listener.close)
        self.addCleanup(listener.shutdown, socket.SHUT_RDWR)
        return listener.getsockname()[1]

    async def probe(self, at, address="127.0.0.1", **check):
        server = {"host": address, "port": at, "forwarder": "m"}
        check = {"timeout": PATIENCE_SECONDS, **check}
        document = {"host": address, "port": 80, "servers": [server], "check": check}
        service = read_service(document)
        return await probe(reactor, MonotonicClock(reactor), service, service.servers[0])

    def closed_port(self):
        return free_port()  # one of the kernel's own may become the probe's


class TcpProbeTests(ProbeCase):
    async def test_listening(self):
        """Whoever accepts is alive, over IPv4 and IPv6."""
        self.assertIsNone(await self.probe(self.serve(None), type="tcp"))
        if has_ipv6():
            self.assertIsNone(await self.probe(self.serve(None, "::1"), "::1", type="tcp"))

    async def test_refusing(self):
        """Whoever refuses is dead, and it is said why."""
        self.assertIn("refused", await self.probe(self.closed_port(), type="tcp"))

    async def test_another_port(self):
        """A check can ask elsewhere than where the connections go."""
        port = self.serve(None)
        self.assertIsNone(await self.probe(self.closed_port(), type="tcp", port=port))


class HttpProbeTests(ProbeCase):
    async def test_good_status(self):
        """The request is one that any server understands."""
        port = self.serve(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.assertIsNone(await self.probe(port, type="http", path="/up", host="example.com"))
        (request,) = self.requests
        self.assertTrue(request.startswith(b"GET /up HTTP/1.0\r\nHost: example.com\r\n"))

    async def test_bad_status(self):
        port = self.serve(b"HTTP/1.0 503 Busy\r\n\r\n")
        found = await self.probe(port, type="http")
        self.assertEqual(found, "status 503, expected 200 to 399")
        self.assertIsNone(await self.probe(port, type="http", status=[503, 503]))

    async def test_not_http(self):
        for answer in (b"", b"SSH-2.0\r\n", b"x" * 9999):
            found = await self.probe(self.serve(answer), type="http")
            self.assertEqual(found, "the answer is not HTTP")

    async def test_silence(self):
        """A server that accepts and says nothing is dead when the time is up."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        found = await self.probe(listener.getsockname()[1], type="http", timeout=0.2)
        self.assertEqual(found, "no answer within 0.2 s")


class ScriptProbeTests(ProbeCase):
    async def run_script(self, code, **check):
        script = [sys.executable, "-c", code]
        return await self.probe(8080, type="script", script=script, **check)

    async def test_exit_status(self):
        self.assertIsNone(await self.run_script("raise SystemExit(0)"))
        self.assertIn("exit code 3", await self.run_script("raise SystemExit(3)"))

    async def test_environment(self):
        """The command learns which server it is to look at."""
        code = "import os; raise SystemExit(os.environ['OOD_SERVER_PORT'] != '8080')"
        self.assertIsNone(await self.run_script(code))

    async def test_hanging(self):
        """A command that does not end is killed, and the server is dead."""
        code = "import select; select.select([], [], [], 60)"
        found = await self.run_script(code, timeout=0.5)
        self.assertEqual(found, "no answer within 0.5 s")

    async def test_missing(self):
        found = await self.probe(8080, type="script", script=["/nonexistent/command"])
        self.assertIsNotNone(found)
