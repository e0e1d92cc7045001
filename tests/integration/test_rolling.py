"""Restarts under load, through the whole service: no request fails, no connection closes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.apps import nodes
from tests.support.http import Client
from tests.support.load import SERVER, Load
from tests.support.ood import RunningOod, wait_until

FULL = bool(os.environ.get("OOD_TEST_ROLL_FULL"))
"""All that issue 3 asks for: every Node with and without npm, some minutes."""
KEEP_ALIVE, SHORT, RESTARTS = (200, 16, 3) if FULL else (48, 4, 1)
RELEASES = (20, 22, 24)
"""Nodes to roll on, as far as they are there."""


def site(service: RunningOod, text: str = SERVER) -> Path:
    """Make the app's directory."""
    directory = service.directory / "site"
    directory.mkdir(exist_ok=True)
    (directory / "server.js").write_text(text)
    scripts = {"start": "node server.js"}
    (directory / "package.json").write_text(json.dumps({"scripts": scripts}))
    return directory


class LoadTests(SynchronousTestCase):
    """Two workers are replaced under clients of every style."""

    def roll(self, node: str, *options: str) -> None:
        """Restart under load; look that new processes serve, and that nobody noticed."""
        with RunningOod(node=node) as service:
            service.add("site", site(service), "--instances", "2", *options)
            load = Load(service.http_port, KEEP_ALIVE, SHORT)
            load.start()
            try:
                before = self.pids(service)
                wait_until(lambda: load.requests > KEEP_ALIVE, "the load runs")
                for _ in range(RESTARTS):
                    service.ood("restart", "site")
                after = self.pids(service)
                enough = load.requests + KEEP_ALIVE
                wait_until(lambda: load.requests > enough, "the load goes on")
            finally:
                load.stop()
        self.assertEqual((len(before), len(after), before & after), (2, 2, set()))
        self.assertEqual((load.failures[:5], load.closes), ([], 0), load.requests)
        self.assertGreater(load.requests, KEEP_ALIVE * 2)
        if FULL:
            print(f"{node} {options}: {load.requests} requests, 0 failures, 0 closes")

    @staticmethod
    def pids(service: RunningOod) -> set[int]:
        workers = service.json("status", "site")["workers"]
        return {one["pid"] for one in workers if one["state"] == "online"}

    def chosen(self) -> list[str]:
        """Return the Nodes that are here, at least one."""
        found = nodes()
        if not found:
            self.skipTest("there is no node")
        return [found[one] for one in RELEASES if one in found] or list(found.values())[-1:]

    def test_node(self) -> None:
        """Run by node itself."""
        for node in self.chosen():
            self.roll(node)

    def test_npm(self) -> None:
        """Run by npm start."""
        every = self.chosen()
        for node in every if FULL else every[-1:]:
            self.roll(node, "--interpreter", "npm", "--script", "start")


BAD_RELEASES = {
    "throws at boot": ("throw new Error('no such luck')", "no such luck"),
    "never listens": ("setInterval(() => {}, 1000); console.log('idle')", "did not listen"),
    "exits after 2 s": (
        SERVER + "setTimeout(() => { console.log('giving up'); process.exit(3) }, 2000)",
        "exited with status 3",
    ),
    "fails its health check": (
        SERVER.replace("let bytes", "response.statusCode = 500; let bytes"),
        "GET /up answered 500",
    ),
}
"""Text of the script, and what the command's error has to say."""
SHORT_LIMITS = {
    "never listens": "listenTimeout 3s",
    "fails its health check": "listenTimeout 60s healthTimeout 3s",
}
"""Where a limit has to run out. Elsewhere it must not, however slow the machine is."""


class BadReleaseTests(SynchronousTestCase):
    """A release that does not work changes nothing."""

    def test_bad_releases(self) -> None:
        """The command fails with the reason; the old workers serve on one connection throughout."""
        if not nodes():
            self.skipTest("there is no node")
        with RunningOod() as service:
            good = SERVER.replace("response.end(answer)", "response.end(String(process.pid))")
            directory = site(service, good)
            service.add("site", directory, "--instances", "2")
            service.ood("config", "-a", "site", "-s", "healthPath", "/up")
            with Client(service.http_port, "site.localhost") as client:
                before = client.ask().body
                for what, (text, reason) in BAD_RELEASES.items():
                    (directory / "server.js").write_text(text)
                    limits = SHORT_LIMITS.get(what, "listenTimeout 60s healthTimeout 60s").split()
                    pairs = zip(limits[::2], limits[1::2], strict=True)
                    words = [word for pair in pairs for word in ("-s", *pair)]
                    service.ood("config", "-a", "site", *words)
                    self.refused(service, what, reason)
                    self.assertEqual(client.ask().body, before, what)
                self.unreadable(service, directory)
                self.assertEqual(client.ask().body, before)
            self.assertEqual(service.json("status", "site")["state"], "online")

    def refused(self, service: RunningOod, what: str, reason: str) -> None:
        done = service.run("restart", "site")
        self.assertEqual(done.returncode, 1, what)
        self.assertIn(reason, done.stderr, what)
        if what in ("throws at boot", "exits after 2 s"):
            self.assertIn("no such luck" if "throws" in what else "giving up", done.stderr)

    def unreadable(self, service: RunningOod, directory: Path) -> None:
        (directory / "server.js").unlink()
        self.refused(service, "its files can't be read", "server.js")
