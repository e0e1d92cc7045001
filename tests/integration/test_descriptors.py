"""Workers that have no file descriptor left for a connection, on real Nodes."""

from __future__ import annotations

import resource
import socket
from pathlib import Path
from typing import Any

import psutil
from twisted.trial.unittest import SynchronousTestCase

from tests.support.apps import nodes
from tests.support.http import Answer, Client, get
from tests.support.ood import RunningOod, wait_until

APP = """
const http = require('http');
http.createServer((request, response) => {
  let size = 0;
  request.on('data', (data) => { size += data.length; });
  request.on('end', () => response.end(`${process.pid} ${size}`));
}).listen(process.env.PORT);
"""
NONE_LEFT = 3
"""A limit below what any process has open: descriptors that exist stay, and none is added."""
REQUESTS = 40
LONG_SECONDS = 60


class DescriptorsTestCase(SynchronousTestCase):
    """One app with two workers, of which the first one can be left without descriptors."""

    handoff = "auto"
    instances = 2

    def setUp(self) -> None:
        if not nodes():
            self.skipTest("there is no node")

    def begin(self, node: str | None = None) -> None:
        """Start the service with the app, on ``node``."""
        self.service = RunningOod(node)
        self.service.start()
        self.addCleanup(self.service.close)
        directory = Path(self.service.directory / "app")
        directory.mkdir()
        (directory / "server.js").write_text(APP)
        self.service.ood("init", "app", "--cwd", str(directory))
        for key, value in (("instances", str(self.instances)), ("handoff", self.handoff)):
            self.service.ood("config", "-a", "app", "-s", key, value)
        self.service.ood("start", "app")

    def end(self) -> None:
        """End the service."""
        self.assertNotIn("Traceback", self.service.log())
        self.service.close()

    def workers(self) -> list[Any]:
        """Return the workers as ``ood status`` shows them."""
        found: list[Any] = self.service.json("status", "app")["workers"]
        return found

    def limit(self, pid: int, files: int | None) -> None:
        """Let a process open so many files; None is as many as before."""
        if files is None:
            files = self.before
        else:
            self.before = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
        hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, hard))

    def ask(self, **options: Any) -> Answer:
        """Ask on a new connection; ``Connection: close`` has the request proxied."""
        with Client(self.service.http_port, "app.localhost") as client:
            return client.ask(**options)


class WorkerTests(DescriptorsTestCase):
    def test_others_serve(self) -> None:
        """What one worker can't receive another one answers; it is told; then it goes on."""
        for major, node in nodes().items():
            self.begin(node)
            short, other = (worker["pid"] for worker in self.workers())
            self.limit(short, NONE_LEFT)
            for number in range(REQUESTS):
                headers = {"Connection": "close"} if number % 2 else {}
                answer = self.ask(method="POST", body=b"x" * 1000, headers=headers)
                self.assertEqual(
                    (200, f"{other} 1000"), (answer.status, answer.body.decode()), major
                )
            one = self.workers()[0]
            self.assertGreater(one["dropped"], 0)
            self.assertEqual(one["unacknowledged"], 0)
            self.assertIn("no file descriptor left", self.service.ood("log", "app"))
            self.limit(short, None)
            wait_until(lambda: int(self.ask().body.split()[0]) == short, "it serves again", 60)  # noqa: B023
            self.assertEqual({short, other}, {worker["pid"] for worker in self.workers()})
            self.end()

    def test_nothing_leaks(self) -> None:
        """Neither the service nor a worker keeps anything of connections that were dropped."""
        self.begin()
        short = self.workers()[0]["pid"]
        processes = [psutil.Process(pid) for pid in (self.service.pid, short)]
        counts = []
        for _ in range(3):
            self.limit(short, NONE_LEFT)
            for _ in range(REQUESTS):
                self.assertEqual(200, self.ask().status)
            self.limit(short, None)
            wait_until(lambda: int(self.ask().body.split()[0]) == short, "it serves again", 60)
            counts.append([one.num_fds() for one in processes])
        for before, after in zip(counts[0], counts[-1], strict=True):
            self.assertLess(after - before, REQUESTS // 2, counts)


class ClusterChannelTests(WorkerTests):
    """The same where Node's own channel brings the connections."""

    handoff = "cluster"


class AloneTests(DescriptorsTestCase):
    instances = 1

    def test_alone(self) -> None:
        """Clients of the only worker get an answer that says so, and wait no longer than that."""
        self.begin()
        (worker,) = self.workers()
        self.limit(worker["pid"], NONE_LEFT)
        where = ("127.0.0.1", self.service.http_port)
        for fields in (b"", b"Connection: close\r\n"):
            with socket.create_connection(where, timeout=LONG_SECONDS) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: app.localhost\r\n%b\r\n" % fields)
                self.assertIn(sock.recv(4096)[:13], {b"HTTP/1.1 503 ", b"HTTP/1.1 502 "})
        reason = self.workers()[0]["reason"]
        self.assertIn(reason, {"", "has no file descriptor left: gets no connections"})
        self.limit(worker["pid"], None)
        wait_until(lambda: self.ask().status == 200, "it serves again", LONG_SECONDS)
        self.assertEqual(worker["pid"], self.workers()[0]["pid"])
        self.assertEqual(200, get(self.service.http_port, "app.localhost").status)

    def test_comes_back(self) -> None:
        """A connection that comes while there is no descriptor is answered when there is one."""
        self.begin()
        (worker,) = self.workers()
        self.limit(worker["pid"], NONE_LEFT)
        where = ("127.0.0.1", self.service.http_port)
        with socket.create_connection(where, timeout=LONG_SECONDS) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n")
            wait_until(lambda: "no file descriptor" in self.service.ood("log", "app"), "told", 60)
            self.limit(worker["pid"], None)
            self.assertIn(sock.recv(4096)[:13], {b"HTTP/1.1 200 ", b"HTTP/1.1 503 "})
