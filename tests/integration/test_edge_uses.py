"""Things that users of an edge take for granted, by real clients on real apps."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import zlib
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.test_caps import LimitedOod
from tests.support.http import Client, get
from tests.support.ood import RunningOod, wait_until
from tests.support.ports import free_ports

HOST = "site.example"
APP = """
const http = require('http');
let stream = null;
http.createServer((request, response) => {
  if (request.url === '/events') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('data: 0\\n\\n');
    stream = response;
  } else if (request.url === '/next') {
    stream.write('data: 1\\n\\n');
    response.end('ok');
  } else {
    let size = 0;
    request.on('data', (data) => { size += data.length; });
    request.on('end', () => response.end(String(size)));
  }
}).listen(process.env.PORT);
"""
LONG_SECONDS = 60


class UsesTestCase(SynchronousTestCase):
    """A service with one app."""

    def setUp(self) -> None:
        if shutil.which("node") is None:
            raise SkipTest("there is no node")
        self.service = self.make_service()
        self.addCleanup(self.service.close)
        self.service.start()
        directory = Path(self.service.directory / "app")
        directory.mkdir()
        (directory / "server.js").write_text(APP)
        self.service.add(HOST, directory)

    def make_service(self) -> RunningOod:
        return RunningOod()

    def set(self, *words: str) -> None:
        """Set keys of the app."""
        pairs = zip(words[::2], words[1::2], strict=True)
        self.service.ood("config", "-a", HOST, *(one for pair in pairs for one in ("-s", *pair)))

    def log(self) -> list[dict[str, Any]]:
        """Return the access log's lines."""
        lines = self.service.ood("log", HOST, "--access", "-n", "10000").splitlines()
        return [json.loads(line) for line in lines]


class WaysTests(UsesTestCase):
    def test_ways(self) -> None:
        """Status and access log say which way requests take; handoff chooses."""
        self.set("accessLog", "json")
        wait_until(lambda: get(self.service.http_port, HOST).status == 200, "it answers")
        wait_until(lambda: bool(self.log()), "a line", LONG_SECONDS)
        worker = self.service.json("status", HOST)["workers"][0]
        self.assertEqual(("guard", "handoff"), (worker["via"], self.log()[-1]["via"]))
        self.set("handoff", "never")
        self.service.ood("restart", HOST)
        before = len(self.log())
        get(self.service.http_port, HOST)
        wait_until(lambda: len(self.log()) > before, "another line", LONG_SECONDS)
        worker = self.service.json("status", HOST)["workers"][0]
        self.assertEqual(("port", "tcp"), (worker["via"], self.log()[-1]["via"]))

    def test_a_limit_for_a_worker(self) -> None:
        """413 reaches a client whose connection a worker has had since before the limit."""
        with Client(self.service.http_port, HOST) as client:
            self.assertEqual(b"9", client.ask(method="POST", body=bytes(9)).body)
            self.set("bodyLimit", "1000")
            large = bytes(2000)
            wait_until(lambda: client.ask(method="POST", body=large).status == 413, "it is told")

    def test_events(self) -> None:
        """Each event of a compressed stream can be read when it comes."""
        self.set("compress", "true")
        where = ("127.0.0.1", self.service.http_port)
        fields = f"Host: {HOST}\r\nAccept-Encoding: gzip\r\n\r\n".encode()
        with socket.create_connection(where, timeout=LONG_SECONDS) as sock:
            sock.sendall(b"GET /events HTTP/1.0\r\n" + fields)
            got = b""
            while b"\r\n\r\n" not in got:
                got += sock.recv(4096)
            head, _, data = got.partition(b"\r\n\r\n")
            self.assertIn(b"content-encoding: gzip", head.lower())
            reader = zlib.decompressobj(31)
            text = reader.decompress(data)
            for event in (b"data: 0\n\n", b"data: 1\n\n"):
                while event not in text:
                    text += reader.decompress(sock.recv(4096))
                if event == b"data: 0\n\n":
                    self.assertEqual(200, get(self.service.http_port, HOST, "/next").status)


class RotationTests(UsesTestCase):
    def make_service(self) -> RunningOod:
        return LimitedOod({"ood.logfile.ROTATE_BYTES": 20_000})

    def test_rotated(self) -> None:
        """An access log that has grown is put aside and compressed; no line is lost."""
        self.set("accessLog", "common")
        requests = 0
        directory = self.service.home / "logs" / HOST

        def aside() -> list[Path]:
            nonlocal requests
            with Client(self.service.http_port, HOST) as client:
                for _ in range(50):
                    requests += 1
                    client.ask(f"/{requests}")
            return sorted(directory.rglob("*.gz"))

        wait_until(lambda: len(aside()) >= 2, "two are compressed", LONG_SECONDS)

        def lines() -> list[str]:
            parts = [path.read_text() for path in directory.rglob("*.log") if "access" in str(path)]
            parts += [gzip.decompress(path.read_bytes()).decode() for path in aside_now()]
            return [line for part in parts for line in part.splitlines()]

        def aside_now() -> list[Path]:
            return [path for path in directory.rglob("*.gz") if "access" in str(path)]

        wait_until(lambda: len(lines()) >= requests, "all are written", LONG_SECONDS)
        self.assertEqual(requests, len({line.split('"')[1] for line in lines()}))


class FilesTests(SynchronousTestCase):
    def test_files(self) -> None:
        """Parts, what a browser has, what is there compressed, and an app's one page."""
        with RunningOod() as service:
            site = service.directory / "site"
            site.mkdir(mode=0o755)
            for name, text in {"index.html": "<p>app", "page.js": "x" * 5000}.items():
                (site / name).write_text(text)
            (site / "page.js.gz").write_bytes(gzip.compress(b"x" * 5000))
            service.ood("init", HOST, "--static", str(site), "--port", str(free_ports(1)[0]))
            service.ood("config", "-a", HOST, "-s", "fallback", "index.html")
            service.ood("start", HOST)
            port = service.http_port
            whole = get(port, HOST, "/page.js")
            self.assertEqual((200, 5000), (whole.status, len(whole.body)))
            part = get(port, HOST, "/page.js", Range="bytes=4990-")
            self.assertEqual(
                (206, "bytes 4990-4999/5000"), (part.status, part.headers["Content-Range"])
            )
            self.assertEqual(416, get(port, HOST, "/page.js", Range="bytes=9000-").status)
            tag = whole.headers["ETag"]
            self.assertEqual(304, get(port, HOST, "/page.js", If_None_Match=tag).status)
            packed = get(port, HOST, "/page.js", Accept_Encoding="gzip")
            self.assertEqual("gzip", packed.headers["Content-Encoding"])
            self.assertEqual(b"x" * 5000, gzip.decompress(packed.body))
            self.assertEqual(b"<p>app", get(port, HOST, "/some/view").body)
            self.assertEqual(404, get(port, HOST, "/none.js").status)
