"""Events, the state and a log-in, as a page sees them, of the real service with a real app."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.http import get
from tests.support.ood import RunningOod, wait_until
from tests.test_metrics_examples import EXAMPLES, used

SERVER = """
require("http").createServer((_, response) => response.end("ok")).listen(process.env.PORT);
"""


class LiveTests(SynchronousTestCase):
    """One service, one app, one browser."""

    def setUp(self) -> None:
        if shutil.which("node") is None:
            raise SkipTest("node is not installed")
        self.service = RunningOod()
        self.addCleanup(self.service.close)
        self.service.start()
        directory = self.service.directory / "shop"
        directory.mkdir()
        (directory / "server.js").write_text(SERVER)
        self.service.add("shop", directory)

    def ask(self, method: str, path: str, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.service.api_port, timeout=30)
        self.addCleanup(connection.close)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=fields)
        return connection.getresponse()

    def log_in(self) -> tuple[str, str]:
        """Follow the link that ``ood web`` prints; return the cookie and the key."""
        link = urlsplit(self.service.ood("web", "--no-open").strip())
        answer = self.ask("GET", f"{link.path}?{link.query}")
        cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        return cookie, (answer.getheader("Location") or "").partition("#key=")[2]

    def events(self, answer: http.client.HTTPResponse) -> Iterator[tuple[str, Any, str]]:
        fields: dict[str, str] = {}
        for line in iter(answer.readline, b""):
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                yield fields["event"], json.loads(fields["data"]), fields.get("id", "")
                fields.clear()

    def test_a_death_is_seen(self) -> None:
        """A page that is logged in sees a worker die and its successor answer; so does status."""
        cookie, key = self.log_in()
        answer = self.ask("GET", f"/api/v1/events?key={key}", Cookie=cookie)
        self.assertEqual(answer.status, 200)
        events = self.events(answer)
        kind, whole, _ = next(events)
        [worker] = whole["apps"]["shop"]["workers"]
        self.assertEqual((kind, whole["full"], worker["state"]), ("status", True, "online"))
        os.kill(worker["pid"], signal.SIGKILL)
        death: dict[str, Any] = {}
        states: list[str] = []
        fresh: list[int] = []
        while not (fresh and states[-1:] == ["online"]):
            kind, data, _ = next(events)
            if kind == "death":
                death = data
            elif kind == "worker" and data["data"]["pid"] != worker["pid"]:
                states.append(data["data"]["state"])
            elif kind == "status" and isinstance(data["apps"]["shop"].get("workers"), list):
                fresh = [one["pid"] for one in data["apps"]["shop"]["workers"]]
        told = {key: death["data"][key] for key in ("pid", "signal", "code")}
        self.assertEqual(told, {"pid": worker["pid"], "signal": "SIGKILL", "code": None})
        self.assertEqual(states[-2:], ["launching", "online"])  # it may have died young
        self.assertNotIn(worker["pid"], fresh[:1])

    def test_sessions_end_with_the_service(self) -> None:
        """After a restart of ood a session is worth nothing, and the refusal says what to do."""
        cookie, key = self.log_in()
        page = {"Cookie": cookie, "X_Ood_Key": key, "X_Requested_With": "ood"}
        self.assertEqual(self.ask("GET", "/api/v1/apps", **page).status, 200)
        self.service.stop()
        self.service.start()
        answer = self.ask("GET", "/api/v1/apps", **page)
        self.assertEqual(answer.status, 401)
        self.assertIn("ood web", json.loads(answer.read())["error"]["hint"])

    def test_metrics(self) -> None:
        """A scrape without the token, if that is wanted, has what the examples ask for."""
        self.assertEqual(self.ask("GET", "/metrics").status, 401)
        self.service.ood("config", "--set", "metricsAccess", "loopback")
        for connection in ("keep-alive", "close"):
            get(self.service.http_port, "shop.localhost", Connection=connection)
        rules = (EXAMPLES / "alerts.yml").read_text()
        wanted = used(rules + (EXAMPLES / "grafana-dashboard.json").read_text())
        absent = (
            "ood_l4_",
            "ood_certificate_",
            "ood_tls_",
            "ood_access_log_",
            "ood_upstream_",
        )  # nothing uses these
        wanted = {name for name in wanted if not name.startswith(absent)}

        def missing() -> set[str]:
            scraped = self.ask("GET", "/metrics").read().decode()
            return {name for name in wanted if name not in scraped}

        wait_until(lambda: not missing(), "everything is measured")

    def test_a_restart_goes_on(self) -> None:
        """A restart is told while it goes on, and resumed from where a reader was."""
        token = (self.service.home / "api-token").read_text().strip()
        shown = {"Authorization": f"Bearer {token}"}
        events = self.events(self.ask("GET", "/api/v1/events?kinds=restart,status", **shown))
        next(events)
        self.service.ood("restart", "shop")
        seen = [(data["data"]["phase"], number) for kind, data, number in self._until(events)]
        self.assertEqual([phase for phase, _ in seen], ["begun", "progress", "ended"])
        again = self.ask("GET", "/api/v1/events?kinds=restart", **shown, Last_Event_ID=seen[0][1])
        missed = self.events(again)
        self.assertEqual(
            [next(missed)[1]["data"]["phase"] for _ in range(2)], ["progress", "ended"]
        )

    def _until(self, events: Iterator[tuple[str, Any, str]]) -> Iterator[tuple[str, Any, str]]:
        for event in events:
            if event[0] == "restart":
                yield event
                if event[1]["data"]["phase"] == "ended":
                    return
