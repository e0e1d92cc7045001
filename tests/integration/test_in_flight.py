"""SIGKILL of one of two workers while requests are in flight, through the whole service."""

from __future__ import annotations

import concurrent.futures
import os
import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.apps import nodes
from tests.support.http import Client
from tests.support.ood import RunningOod, wait_until

CLIENTS = 24
SERVER = """
const fs = require('fs');
const http = require('http');
http.createServer((request, response) => {
  const answer = () => response.end(`from ${process.pid}`);
  if (request.url !== '/held') return answer();
  fs.appendFileSync('begun', '.');
  const timer = setInterval(() => {
    if (!fs.existsSync('go')) return;
    clearInterval(timer);
    answer();
  }, 20);
}).listen(process.env.PORT);
"""
"""Requests for /held are counted in a file, and answered once there is another one."""


class InFlightTests(SynchronousTestCase):
    """One app; each client waits for an answer when a worker is killed."""

    if not nodes():
        skip = "there is no node"

    def setUp(self) -> None:
        self.service = RunningOod()
        self.addCleanup(self.service.close)
        self.service.start()
        self.site = Path(self.service.directory / "site")
        self.site.mkdir()
        (self.site / "server.js").write_text(SERVER)
        self.port = self.service.add("site", self.site, "--instances", "2")

    def workers(self) -> list[int]:
        return [one["pid"] for one in self.service.json("status", "site")["workers"]]

    def kill_meanwhile(self, method: str, **headers: str) -> tuple[int, list[str]]:
        """Ask by every client, kill a worker; return its process id and what they got."""
        begun = self.site / "begun"
        (victim, *_) = self.workers()

        def ask(client: Client) -> str:
            with client:
                try:
                    answer = client.ask("/held", method=method, headers=headers)
                except OSError as error:
                    return type(error).__name__
                return answer.body.decode() if answer.status == 200 else str(answer.status)

        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            clients = [Client(self.port, "site") for _ in range(CLIENTS)]
            results = [pool.submit(ask, client) for client in clients]
            try:
                wait_until(lambda: begun.exists() and begun.stat().st_size == CLIENTS, "all wait")
                os.kill(victim, signal.SIGKILL)
                wait_until(lambda: victim not in self.workers(), "it is known to be gone")
            finally:
                (self.site / "go").touch()
            return victim, [result.result() for result in results]

    def all_are_answered(self, **headers: str) -> None:
        victim, answers = self.kill_meanwhile("GET", **headers)
        self.assertNotIn(f"from {victim}", answers)
        self.assertEqual({one.split()[0] for one in answers}, {"from"}, answers)

    def test_one_request_per_connection(self) -> None:
        """With ``Connection: close`` the edge proxies: no GET fails."""
        self.all_are_answered(Connection="close")

    def test_never_handed_off(self) -> None:
        """With ``handoff: never`` the edge proxies kept connections, too: no GET fails."""
        self.service.ood("config", "-a", "site", "-s", "handoff", "never")
        self.service.ood("restart", "site")
        self.all_are_answered()

    def test_post(self) -> None:
        """A POST may have had an effect: it fails if it was in flight in the one that died."""
        other = f"from {self.workers()[1]}"
        _, answers = self.kill_meanwhile("POST", Connection="close")
        lost = [one for one in answers if one == "502"]
        self.assertTrue(lost)
        self.assertEqual(answers.count(other) + len(lost), CLIENTS, answers)

    def test_handed_off(self) -> None:
        """A connection that a worker holds ends with it; the other worker's do not."""
        victim, answers = self.kill_meanwhile("GET")
        (other,) = {one for one in answers if one.startswith("from ")}
        self.assertNotEqual(other, f"from {victim}")
        lost = [one for one in answers if one != other]
        self.assertTrue(set(lost) <= {"ConnectionResetError", "RemoteDisconnected"}, answers)
        self.assertLess(len(lost), CLIENTS)
        wait_until(lambda: len(self.workers()) == 2, "the worker was replaced")
