"""``watch`` through the whole service: files change, and what runs follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.apps import nodes
from tests.support.http import get
from tests.support.ood import RunningOod, wait_until

SERVER = """
const http = require('http');
http.createServer((q, r) => r.end('TEXT')).listen(process.env.PORT);
"""
ROLL_SECONDS = 120
"""A roll watches its first new worker for some seconds; and the machine may be busy."""


def put(path: Path, text: str) -> Path:
    """Write a file at once, as an editor does: nobody ever sees a half of it."""
    new = path.with_suffix(".tmp")
    new.write_text(text)
    return new.replace(path)


class WatchTests(SynchronousTestCase):
    """One service and one app with two workers."""

    if not nodes():
        skip = "there is no node"

    def setUp(self) -> None:
        self.service = RunningOod(next(iter(nodes().values())))
        self.addCleanup(self.service.close)
        self.site = self.service.directory / "site"
        self.site.mkdir()
        self.write("server.js", "first")
        self.service.start()

    def write(self, name: str, text: str) -> Path:
        path = self.site / name
        path.parent.mkdir(exist_ok=True)
        return put(path, SERVER.replace("TEXT", text))

    def said(self) -> str:
        return get(self.service.http_port, "site.localhost").body.decode()

    def says(self, text: str) -> None:
        """Wait until every worker says ``text``."""
        wait_until(lambda: {self.said() for _ in range(6)} == {text}, text, ROLL_SECONDS)

    def logged(self, text: str) -> bool:
        return text in self.service.ood("log", "site", "-n", "200")

    def status(self) -> dict[str, Any]:
        done = self.service.run("--json", "status", "site")  # 3: there is something to know
        value: dict[str, Any] = json.loads(done.stdout)
        return value

    def test_watch(self) -> None:
        """On and off while it runs; bad files change nothing and the log tells why."""
        self.service.add("site", self.site, "--instances", "2")
        self.service.ood("config", "-a", "site", "-s", "watch", "true", "-s", "ignoreWatch", "tmp2")
        before = {worker["pid"] for worker in self.status()["workers"]}
        self.write("tmp2/x.js", "ignored")
        self.write("server.js", "second")
        self.says("second")
        wait_until(
            lambda: len(self.status()["workers"]) == 2, "the old ones are gone", ROLL_SECONDS
        )
        self.assertFalse(before & {worker["pid"] for worker in self.status()["workers"]})
        self.assertTrue(self.logged("watch: server.js changed: the workers are replaced"))
        self.assertFalse(self.logged("tmp2"))
        self.service.ood("config", "-a", "site", "-s", "minUptime", "0")

        put(self.site / "server.js", "throw new Error('no such luck')")
        wait_until(lambda: self.logged("the old workers serve on"), "refused", ROLL_SECONDS)
        self.assertTrue(self.logged("Error: no such luck"))
        self.says("second")
        self.write("server.js", "third")
        self.says("third")

        self.service.ood("config", "-a", "site", "-s", "watch", "false")
        self.write("server.js", "fourth")
        self.service.ood("restart", "site")  # takes longer than a watch would
        self.write("server.js", "fifth")
        self.service.ood("config", "-a", "site", "-s", "watch", "nothere")
        self.assertIn("there is no", " ".join(self.status()["trouble"]))
        self.service.ood("config", "-a", "site", "-s", "watch", "server.js")
        self.assertEqual(self.said(), "fourth")
        self.assertEqual(self.status()["trouble"], [])

    def test_release(self) -> None:
        """With a release, the release's own directory is what is watched."""
        (self.site / "package.json").write_text('{"name": "site", "version": "1.0.0"}')
        self.service.add("site", self.site)
        self.service.ood("config", "-a", "site", "-s", "watch", "true")
        self.service.ood("deploy", "site")
        release = Path(self.status()["cwd"])
        self.assertIn("releases", release.parts)
        self.write("server.js", "not this one")
        put(release / "server.js", SERVER.replace("TEXT", "patched"))
        self.says("patched")
        text = self.service.ood("log", "site", "-n", "200")
        self.assertEqual(text.count("changed: the workers are replaced"), 1, text)
