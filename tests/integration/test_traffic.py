"""Access logs and measures of requests, on both ways, through the real service."""

from __future__ import annotations

import json
import shutil
import socket
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.http import Client, get
from tests.support.ood import RunningOod, wait_until

APP = """
require('http').createServer((q, r) => {
  if (q.url === '/boom') r.statusCode = 500;
  if (q.url === '/hang') return;
  setTimeout(() => r.end('hello'), q.url === '/slow' ? 1200 : 0);
}).listen(process.env.PORT);
"""
HOST = "shop.example"


class TrafficTests(SynchronousTestCase):
    """One app that workers answer for themselves, or that is only proxied."""

    def setUp(self) -> None:
        if shutil.which("node") is None:
            raise SkipTest("no node on the PATH")
        self.service = RunningOod()
        self.addCleanup(self.service.close)
        self.service.start()
        self.directory = self.service.directory / "app"
        self.directory.mkdir()
        (self.directory / "server.js").write_text(APP)

    def started(self, *options: str) -> int:
        return self.service.add(HOST, self.directory, "--script", "server.js", *options)

    def log(self) -> list[dict[str, Any]]:
        lines = self.service.ood("log", HOST, "--access").splitlines()
        return [json.loads(line) for line in lines]

    def logged(self, count: int) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.log()) >= count, f"{count} lines in the access log")
        return self.log()

    def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        token = (self.service.home / "api-token").read_text().strip()
        url = f"http://127.0.0.1:{self.service.api_port}/metrics"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def count(self, name: str, **labels: str) -> float:
        return self.metrics().get((name, tuple(sorted({"app": HOST, **labels}.items()))), 0.0)

    def test_both_ways(self) -> None:
        """Each request is one line, whoever answered it; strange targets stay on theirs."""
        self.service.ood("config", "-s", "accessLog", "json")
        self.started()
        with Client(self.service.http_port, HOST) as client:
            headers = {"User-Agent": 'a"b', "Referer": "http://r/\t", "X-Request-Id": "r1"}
            client.ask("/x?a=%0a", headers=headers)
            client.ask("/boom")
        get(self.service.http_port, HOST, "/close", Connection="close")
        handed, failed, piped = self.logged(3)
        told = {key: handed[key] for key in ("method", "target", "protocol", "status", "bytes")}
        self.assertEqual(
            told,
            {"method": "GET", "target": "/x?a=%0a", "protocol": "HTTP/1.1", "status": 200}
            | {"bytes": handed["bytes"]},
        )
        self.assertIn(handed["bytes"], range(5, 30))  # chunks have frames
        names = ("via", "worker", "host", "app", "client", "userAgent", "referer", "requestId")
        self.assertEqual(
            [handed[name] for name in names],
            ["handoff", 0, HOST, HOST, "127.0.0.1", 'a"b', "http://r/", "r1"],
        )
        self.assertEqual((failed["target"], failed["status"]), ("/boom", 500))
        self.assertEqual(
            [piped[name] for name in ("target", "status", "bytes", "via", "worker")],
            ["/close", 200, 5, "pipe", 0],
        )
        mode = (self.service.home / "logs" / HOST / "access" / "current.log").stat().st_mode
        self.assertEqual(mode & 0o027, 0)

    def test_off_and_on(self) -> None:
        """It can be switched while workers run; without it nothing is written."""
        self.started()
        directory = self.service.home / "logs" / HOST / "access"
        with Client(self.service.http_port, HOST) as client:
            client.ask("/before")
            self.service.ood("config", "-a", HOST, "-s", "accessLog", "combined")
            client.ask("/during", headers={"User-Agent": "u"})
            wait_until((directory / "current.log").exists, "an access log")
            self.service.ood("config", "-a", HOST, "-s", "accessLog", "off")
            client.ask("/after")
            get(self.service.http_port, HOST, "/after", Connection="close")
        self.service.stop()
        text = (directory / "current.log").read_text()
        self.assertRegex(
            text, r'\A127\.0\.0\.1 - - \[[^\]]+\] "GET /during HTTP/1\.1" 200 \d+ "-" "u"\n\Z'
        )

    def test_a_client_that_leaves(self) -> None:
        """Who went without an answer is in the log with 499, on both ways."""
        self.service.ood("config", "-s", "accessLog", "json")
        self.started()
        for connection in ("keep-alive", "close"):
            with socket.create_connection(("127.0.0.1", self.service.http_port)) as sock:
                head = f"GET /hang HTTP/1.1\r\nHost: {HOST}\r\nConnection: {connection}\r\n\r\n"
                sock.sendall(head.encode())
                wait_until(self._in_flight, "the request is under way")
        lines = self.logged(2)
        self.assertEqual(
            {(line["status"], line["via"]) for line in lines}, {(499, "handoff"), (499, "pipe")}
        )

    def _in_flight(self) -> bool:
        return any(
            self.count("ood_http_requests_in_flight", via=via) for via in ("handoff", "proxied")
        )

    def test_measures(self) -> None:
        """Counts, durations and percentiles of both ways, also after the worker has gone."""
        self.started()
        with Client(self.service.http_port, HOST) as client:
            for path in ("/", "/slow", "/slow", "/boom"):
                client.ask(path)
        for _ in range(3):
            get(self.service.http_port, HOST, "/", Connection="close")
        ok = lambda: self.count("ood_http_requests_total", via="handoff", code="2xx")  # noqa: E731
        wait_until(lambda: ok() == 3, "three were counted")
        self.assertEqual(self.count("ood_http_requests_total", via="handoff", code="5xx"), 1)
        self.assertEqual(self.count("ood_http_requests_total", via="pipe", code="2xx"), 3)
        name = "ood_http_request_duration_seconds_bucket"
        self.assertLessEqual(self.count(name, via="handoff", le="1"), 2)
        self.assertEqual(self.count(name, via="handoff", le="+Inf"), 4)
        self.assertEqual(self.count(name, via="pipe", le="+Inf"), 3)
        self.assertGreater(self.count("ood_http_response_bytes_total", via="handoff"), 20)
        before = ok()
        self.answers = 0
        wait_until(self.told, "the status tells of the last seconds")
        self.service.ood("restart", HOST)
        self.assertEqual(ok(), before + self.answers)

    def told(self) -> bool:
        """Ask; tell whether the status knows of it: it forgets all after ten seconds."""
        with Client(self.service.http_port, HOST) as client:
            for path in ("/slow", "/", "/", "/", "/boom"):
                self.answers += client.ask(path).status == 200
        status = self.service.json("status", HOST)
        [worker] = status["workers"]
        return all(
            (entry["latencyP99Ms"] or 0) > 1000
            and 0 < (entry["latencyP50Ms"] or 0) < 500
            and entry["errorsPerSecond"] > 0
            and entry["loopLagMs"] is not None
            for entry in (status, worker)
        )

    def test_over_tcp(self) -> None:
        """Where no guard counts, the proxy does so for each worker."""
        self.service.ood("config", "-s", "accessLog", "json")
        port = self.started()
        self.service.ood("config", "-a", HOST, "-s", "handoff", "never")
        self.service.ood("restart", HOST)
        get(port, HOST, "/slow")
        [line] = self.logged(1)
        self.assertEqual((line["via"], line["worker"], line["bytes"]), ("tcp", 0, 5))

        def told() -> bool:
            get(port, HOST, "/slow")
            status = self.service.json("status", HOST)
            return (status["workers"][0]["latencyP50Ms"] or 0) > 1000

        wait_until(told, "the status tells of the last seconds")

    def test_followed(self) -> None:
        """Lines of the access log come as they are written, and only those."""
        self.service.ood("config", "-s", "accessLog", "common")
        self.started()
        get(self.service.http_port, HOST, "/one")
        path = Path(self.service.home / "logs" / HOST / "access" / "current.log")
        wait_until(path.exists, "an access log")
        self.assertIn("/one", self.service.ood("log", HOST, "--access", "-n", "5"))
        self.assertNotIn("/one", self.service.ood("log", HOST))
