"""Clients that mean harm, against the whole service: it goes on serving everybody else."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
from twisted.trial.unittest import SynchronousTestCase

from tests.support.apps import nodes
from tests.support.http import get
from tests.support.ood import RunningOod, wait_until

APP = """
const http = require('http');
let open = 0;
const block = Buffer.alloc(65536, 'x');
http.createServer((request, response) => {
  if (request.url === '/open') return response.end(JSON.stringify(open));
  if (request.url === '/hang') {
    open++;
    response.on('close', () => open--);
    return;
  }
  if (request.url === '/big') {
    const more = () => { while (response.write(block)); };
    response.on('drain', more);
    return more();
  }
  request.resume().on("end", () => response.end("ok"));
}).listen(process.env.PORT);
"""
GET = b"GET /%b HTTP/1.1\r\nHost: %b.localhost\r\n%b\r\n"
HALF_OPEN_PER_CLIENT = 256
IDLE = 10_000
SLOW_READERS = 40
GROWTH_BYTES_MAX = 64 << 20
"""What slow readers may cost: a quarter of a megabyte each, and what Python keeps beside."""
FEW_FILES = 260


class AttacksTestCase(SynchronousTestCase):
    """A service with one app on each way: ``handed`` and ``proxied``."""

    def setUp(self) -> None:
        if not nodes():
            self.skipTest("there is no node")
        self.service = self.make_service()
        self.service.start()
        self.addCleanup(self.service.close)
        self.addCleanup(self.check_log)
        for name in ("handed", "proxied"):
            directory = Path(self.service.directory / name)
            directory.mkdir()
            (directory / "server.js").write_text(APP)
            self.service.add(name, directory)
        self.service.ood("config", "-a", "proxied", "-s", "handoff", "never")
        self.service.ood("restart", "proxied")

    def make_service(self) -> RunningOod:
        return RunningOod()

    def check_log(self) -> None:
        """Whatever a client does is no unexpected error of the service."""
        self.assertNotIn("Traceback", self.service.log())

    def connect(self, data: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        """Return a connection on which ``data`` was sent."""
        where = ("127.0.0.1", self.service.http_port)
        sock = socket.create_connection(where, timeout=60, source_address=(source, 0))
        self.addCleanup(sock.close)
        sock.sendall(data)
        return sock

    def served(self) -> None:
        """See that both apps answer everybody else."""
        for name in ("handed", "proxied"):
            self.assertEqual(200, get(self.service.http_port, f"{name}.localhost").status)

    def answers(self, request: bytes) -> bytes:
        """Return all that comes for a request until the connection's end."""
        sock = self.connect(request)
        return b"".join(iter(lambda: sock.recv(65536), b""))


class SlowTests(AttacksTestCase):
    def test_heads(self) -> None:
        """Heads that drip in get 408 when their time is over, however busily they come."""
        socks = {
            self.connect(GET[:4] + b"/ HTTP/1.1\r\nHost: %b.localhost\r\nX: " % name)
            for name in (b"handed", b"proxied")
            for _ in range(50)
        }
        got: list[bytes] = []
        pause = threading.Event()
        while socks:
            for sock in select.select(socks, [], [], 0)[0]:
                got.append(sock.recv(65536))
                socks.discard(sock)
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.send(b"x")
            self.served()
            pause.wait(0.5)
        self.assertEqual({b"HTTP/1.1 408"}, {one[:12] for one in got})

    def test_readers(self) -> None:
        """Clients that ask for much and read a byte now and then cost little memory.

        And no app stands still because it writes to one of them.
        """
        process = psutil.Process(self.service.pid)
        before = process.memory_info().rss
        socks = []
        for number in range(SLOW_READERS):
            sock = socket.socket()
            sock.settimeout(60)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.addCleanup(sock.close)
            sock.connect(("127.0.0.1", self.service.http_port))
            sock.sendall(GET % (b"big", (b"proxied", b"handed")[number % 2], b""))
            socks.append(sock)
        pause = threading.Event()
        for _ in range(6):
            for sock in socks:
                self.assertEqual(1, len(sock.recv(1)))
            self.served()
            pause.wait(0.5)
        self.assertLess(process.memory_info().rss - before, GROWTH_BYTES_MAX)


class ManyTests(AttacksTestCase):
    def test_one_client(self) -> None:
        """One address may have so many connections without a request; others still come in."""
        socks = [self.connect(b"G", "127.0.0.2") for _ in range(HALF_OPEN_PER_CLIENT + 40)]
        over: set[socket.socket] = set()

        def refused() -> bool:
            over.update(select.select(set(socks) - over, [], [], 0)[0])
            return len(over) >= 40

        wait_until(refused, "those beyond the limit are closed")
        self.assertEqual(40, len(over))
        self.served()

    def test_idle_ones(self) -> None:
        """Ten thousand clients that keep their connections keep nobody else out."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < IDLE + 2000:
            self.skipTest(f"this user may open only {hard} files (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        socks = []
        for number in range(IDLE):
            source = f"127.0.1.{1 + number % 250}"
            socks.append(self.connect(GET % (b"", b"proxied", b""), source))
            if number % 100 == 99:
                for sock in socks[-100:]:
                    self.assertTrue(sock.recv(4096).startswith(b"HTTP/1.1 200 "))
        for _ in range(20):
            self.served()
        self.assertEqual("online", self.service.json("status")["apps"][0]["state"])
        for sock in socks[:: IDLE // 100]:
            sock.sendall(GET % (b"", b"proxied", b""))
            self.assertTrue(sock.recv(4096).startswith(b"HTTP/1.1 200 "))

    def test_large_heads(self) -> None:
        """A head beyond the limits is 431, whatever is large about it."""
        for bomb in (
            b"X: " + b"a" * 17_000,
            b"X" * 17_000 + b": a",
            b"\r\n".join(b"X-%d: a" % number for number in range(101)),
            b"\r\n".join([b"a: "] * 4000),
            b"Cookie: " + b"a=b; " * 4000,
        ):
            for name in (b"handed", b"proxied"):
                answer = self.answers(GET % (b"", name, bomb + b"\r\n"))
                self.assertEqual(b"HTTP/1.1 431 ", answer[:13], bomb[:20])
        target = b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: handed.localhost\r\n\r\n"
        self.assertEqual(b"HTTP/1.1 431 ", self.answers(target)[:13])
        self.served()


class FewFiles(RunningOod):
    """A service that may open few files."""

    def command(self) -> list[str]:
        """Return the command line of the service."""
        limited = f'ulimit -n {FEW_FILES} && exec "$@"'
        return ["sh", "-c", limited, "sh", *super().command()]


class ExhaustionTests(AttacksTestCase):
    def make_service(self) -> RunningOod:
        return FewFiles()

    @contextlib.contextmanager
    def exhausted(self) -> Iterator[list[socket.socket]]:
        """Open more connections than there are descriptors; those that are not served wait."""
        socks = [self.connect(GET % (b"hang", b"proxied", b"")) for _ in range(FEW_FILES)]
        wait_until(lambda: "can't accept" in self.service.log(), "it is told")
        yield socks
        for sock in socks:
            sock.close()

    def test_too_many(self) -> None:
        """Accepting pauses, commands still work, and it goes on when there is room again."""
        with self.exhausted():
            late = self.connect(GET % (b"", b"proxied", b""))
            late.settimeout(2)
            with self.assertRaises(TimeoutError):
                late.recv(1)
            self.assertEqual(2, len(self.service.json("status")["apps"]))
            self.service.ood("restart", "handed")
            late.settimeout(60)
        self.assertTrue(late.recv(4096).startswith(b"HTTP/1.1 200 "))
        self.served()
        wait_until(lambda: self.open_requests() == 0, "the app is told of all that went away")

    def open_requests(self) -> int:
        answer = get(self.service.http_port, "proxied.localhost", "/open")
        return int(json.loads(answer.body))

    def test_again_and_again(self) -> None:
        """It recovers every time, and loses no descriptor."""
        counts = []
        for _ in range(3):
            with self.exhausted():
                pass
            wait_until(lambda: self.open_requests() == 0, "all are gone")
            counts.append(psutil.Process(self.service.pid).num_fds())
        self.assertLess(max(counts), FEW_FILES // 2)
        self.assertLessEqual(len(re.findall("can't accept", self.service.log())), 6)
