"""Requests as far apart as Node keeps an idle connection: none of them may fail."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

from twisted.trial.unittest import SynchronousTestCase

from tests.support.http import Client
from tests.support.ood import RunningOod
from tests.support.ports import free_ports
from tests.support.servers import NodeServer, say

LOCAL = """
require('http').createServer((request, response) => {
  request.resume().on('end', () => response.end('ok'));
}).listen(process.env.PORT);
"""
PAUSES = [4.90 + 0.02 * number for number in range(12)]
"""Around the 5 s after which Node ends an idle connection."""


class SpacedRequestsTests(SynchronousTestCase):
    """The service before a Node with its own defaults, which it keeps in no way but by HTTP."""

    if shutil.which("node") is None:
        skip = "there is no node"

    def setUp(self) -> None:
        self.service = RunningOod()
        self.service.start()
        self.addCleanup(self.service.close)

    def asked(self, host: str, pause: float) -> list[int]:
        """Ask three times with pauses, by a method that must not be repeated."""
        statuses = []
        with Client(self.service.http_port, host) as client:
            for number in range(3):
                if number:
                    threading.Event().wait(pause)
                statuses.append(client.ask(method="POST", body=b"body").status)
        return statuses

    def test_around_five_seconds(self) -> None:
        """An upstream of type proxy, and a worker that only gets requests: not one 502."""
        directory = self.service.directory / "local"
        directory.mkdir()
        (directory / "server.js").write_text(LOCAL)
        self.service.add("local", directory)
        self.service.ood("config", "-a", "local", "-s", "handoff", "never")
        self.service.ood("restart", "local")
        remote = NodeServer(say("remote"), free_ports(1)[0])
        self.addCleanup(remote.stop)
        where, (port,) = f"http://127.0.0.1:{remote.where}", free_ports(1)
        self.service.ood("init", "remote", "--upstream", where, "--port", str(port))
        self.service.ood("start", "remote")
        asked = [(name, pause) for pause in PAUSES for name in ("local", "remote")]
        with ThreadPoolExecutor(len(asked)) as threads:
            found = threads.map(lambda one: self.asked(f"{one[0]}.localhost", one[1]), asked)
            self.assertEqual([[200] * 3] * len(asked), list(found))
