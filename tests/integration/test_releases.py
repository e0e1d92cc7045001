"""Releases under the real service: deployed from everything, bad ones, and back again."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.apps import nodes
from tests.support.http import Client, get
from tests.support.ood import RunningOod, wait_until

HOST = "site.example"
CLIENTS = 6
SERVER = """
const http = require('http');
const dep = require('dep');
http.createServer((q, r) => r.end(JSON.stringify(
  {text: 'TEXT', dep, cwd: process.cwd(), pid: process.pid}))).listen(process.env.PORT);
"""


def write_site(directory: Path, text: str, server: str = SERVER) -> Path:
    """Write an app with a dependency that npm installs without a registry."""
    (directory / "dep").mkdir(parents=True, exist_ok=True)
    dep = {"name": "dep", "version": "1.0.0", "main": "index.js"}
    (directory / "dep/package.json").write_text(json.dumps(dep))
    (directory / "dep/index.js").write_text("module.exports = 'installed';")
    site = {"name": "site", "version": "1.0.0", "dependencies": {"dep": "file:dep"}}
    (directory / "package.json").write_text(json.dumps(site))
    (directory / "server.js").write_text(server.replace("TEXT", text))
    return directory


def git(directory: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    command = ["git", "-C", str(directory), *identity, *arguments]
    subprocess.run(command, check=True, capture_output=True)


class Load:
    """Clients that keep their connections and ask all the time."""

    def __init__(self, port: int) -> None:
        self.failures: list[str] = []
        self.answers = 0
        self.texts: set[str] = set()
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        try:
            with Client(self._port, HOST) as client:
                while not self._stop.wait(0.002):
                    answer = client.ask()
                    self.answers += 1
                    if answer.status != 200:
                        self.failures.append(f"{answer.status} {answer.body!r}")
                        return
                    self.texts.add(answer.json()["text"])
        except Exception as error:
            self.failures.append(repr(error))


class ReleasesTests(SynchronousTestCase):
    """One service and one running app for each test."""

    if not nodes():
        skip = "there is no node"

    def setUp(self) -> None:
        self.service = RunningOod(next(iter(nodes().values())))
        self.addCleanup(self.service.close)
        self.site = write_site(self.service.directory / "site", "first")
        self.service.start()

    def run_app(self, *options: str) -> None:
        """Start the app from its first release."""
        self.service.ood("init", HOST, "--cwd", str(self.site), "--script", "server.js", *options)
        self.service.ood("deploy", HOST)
        self.service.ood("start", HOST)

    def said(self) -> dict[str, Any]:
        value: dict[str, Any] = get(self.service.http_port, HOST).json()
        return value

    def releases(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.service.json("releases", HOST)["releases"]
        return found

    def directories(self) -> set[str]:
        return set(os.listdir(self.service.home / "apps" / HOST / "releases"))

    def test_sources(self) -> None:
        """A directory, a git repository at a ref, an archive: each is installed and runs."""
        self.run_app()
        self.assertEqual(self.said()["dep"], "installed")
        self.assertFalse((self.site / "node_modules").exists())
        git(self.site, "init", "-q")
        git(self.site, "add", ".")
        git(self.site, "commit", "-qm", "one")
        git(self.site, "tag", "v1")
        write_site(self.site, "second")
        git(self.site, "commit", "-qam", "two")
        write_site(self.site, "third")
        for source, text in (
            ([str(self.site), "--ref", "v1"], "first"),
            ([f"file://{self.site}", "--ref", "HEAD"], "second"),
            ([str(self.site)], "third"),
            ([], "third"),
            ([str(self.archive("fourth"))], "fourth"),
        ):
            self.service.ood("deploy", HOST, *source)
            self.assertEqual(self.said()["text"], text)
            self.assertEqual(self.said()["dep"], "installed")
        listed = self.releases()
        self.assertEqual(len(listed), 5)
        self.assertEqual([one["current"] for one in listed], [True, *[False] * 4])
        names = {one["name"] for one in listed}
        self.assertEqual(self.directories(), names | {f"{name}.json" for name in names})
        self.assertIn(listed[0]["name"], self.service.ood("status", HOST))
        config = self.service.json("config", "--app", HOST)
        self.assertEqual(config["release"], listed[0]["name"])
        self.assertEqual(config["cwd"], str(self.site))

    def archive(self, text: str) -> Path:
        """Return an archive with everything in one directory, as npm pack makes it."""
        directory = write_site(self.service.directory / "packed", text)
        path = self.service.directory / "site.tgz"
        with tarfile.open(path, "w:gz") as file:
            file.add(directory, "package")
        return path

    def test_bad_release(self) -> None:
        """What throws, never listens or can't be installed leaves all as it was, under load."""
        self.run_app("--instances", "2")
        self.service.ood("config", "--app", HOST, "--set", "listenTimeout", "3s")
        before, files = self.service.json("config", "--app", HOST), self.directories()
        bad = self.service.directory / "bad"
        with Load(self.service.http_port) as load:
            wait_until(lambda: load.answers > 50, "the load runs")
            for server, reason in (
                ("throw new Error('this release is bad');", "server.js:1"),
                ("setInterval(() => {}, 1000);", "did not listen"),
            ):
                write_site(bad, "bad", server)
                done = self.service.run("deploy", HOST, str(bad))
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(reason, done.stderr)
            package = {"name": "site", "dependencies": {"dep": "file:nowhere/dep.tgz"}}
            (bad / "package.json").write_text(json.dumps(package))
            done = self.service.run("deploy", HOST, str(bad))
            self.assertEqual(done.returncode, 1)
            self.assertIn("installing dependencies", done.stderr)
            self.assertIn("nowhere/dep.tgz", done.stderr)
            done = self.service.run("deploy", HOST, str(self.service.directory / "none"))
            self.assertIn("is not a directory", done.stderr)
        self.assertIn("this release is bad", self.service.ood("log", HOST))
        self.assertEqual((load.failures, load.texts), ([], {"first"}))
        self.assertEqual(self.service.json("config", "--app", HOST), before)
        self.assertEqual(self.directories(), files)

    def test_rollback(self) -> None:
        """Deploy and rollback under load: no failure, no close; back and forth by name."""
        self.run_app("--instances", "2")
        first = self.releases()[0]["name"]
        with Load(self.service.http_port) as load:
            wait_until(lambda: load.answers > 50, "the load runs")
            write_site(self.site, "second")
            self.service.ood("deploy", HOST)
            second = self.releases()[0]["name"]
            self.assertEqual(self.said()["text"], "second")
            self.service.ood("rollback", HOST)
            self.assertEqual(self.said()["text"], "first")
            done = self.service.run("rollback", HOST)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"no release before {first}", done.stderr)
            self.service.ood("rollback", HOST, second)
            self.assertEqual(self.said()["text"], "second")
        self.assertEqual((load.failures, load.texts), ([], {"first", "second"}))
        workers = self.service.json("status", HOST)["workers"]
        self.assertEqual([worker["reason"] for worker in workers], ["", ""])
        self.service.stop()
        self.service.start()
        wait_until(lambda: self.service.json("status", HOST)["state"] == "online", "it runs again")
        self.assertEqual(self.said()["text"], "second")

    def test_own_directory(self) -> None:
        """From the app's own directory to a release and back; not if that can't run."""
        self.run_app()
        done = self.service.run("rollback", HOST, "cwd")
        self.assertEqual(done.returncode, 1)
        self.assertIn("MODULE_NOT_FOUND", done.stderr)  # nothing is installed there
        self.assertIn("/apps/", self.said()["cwd"])
        (self.site / "node_modules").mkdir()
        (self.site / "node_modules/dep").symlink_to("../dep")
        self.service.ood("rollback", HOST, "cwd")
        self.assertEqual(self.said()["cwd"], str(self.site))
        self.service.ood("deploy", HOST)
        self.assertEqual(self.said()["cwd"], self.service.json("status", HOST)["cwd"])
        self.assertIn("/apps/", self.said()["cwd"])

    def test_purge(self) -> None:
        """A deleted app's releases stay, unless they are purged."""
        self.run_app()
        self.service.ood("delete", HOST)
        self.assertEqual(len(self.directories()), 2)
        self.service.ood("init", HOST, "--cwd", str(self.site), "--script", "server.js")
        self.service.ood("delete", HOST, "--purge")
        self.assertFalse((self.service.home / "apps" / HOST).exists())
