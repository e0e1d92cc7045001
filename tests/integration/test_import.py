"""What PM2 7 wrote by itself (``pm2 start FILE && pm2 save``) is imported by the real service."""

from __future__ import annotations

import json
import pwd
from os import getuid
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.apps import nodes
from tests.support.http import get
from tests.support.ood import RunningOod

RECORDED = Path(__file__).parents[1] / "cli" / "pm2"
WHERE = "/srv/apps"
"""Where the recorded apps were."""
SERVER = """
const { NODE_ENV, GREETING } = process.env;
require('http').createServer((q, r) => r.end(`${NODE_ENV} ${GREETING}`)).listen(process.env.PORT);
"""
WEB = {
    "script": "server.js",
    "instances": 2,
    "nodeArgs": ["--max-old-space-size=256"],
    "maxMemoryRestart": 300 << 20,
    "killTimeout": 3000,
    "listenTimeout": 8000,
    "watch": ["server.js", "lib"],
    "ignoreWatch": ["node_modules", "public/uploads"],
    "env": {"GREETING": "hello", "NODE_ENV": "production"},
}
WORKER = {
    "script": "worker/job.js",
    "args": ["--queue", "mail", "two words"],
    "instances": 1,
    "cronRestart": "0 4 * * *",
    "maxRestarts": 10,
    "minUptime": 5000,
    "restartDelay": 500,
    "expBackoffRestartDelay": 100,
    "env": {"QUEUE": "mail", "LIMIT": "5", "DEBUG": "true"},
}
PYTHON = {"script": "worker/job.py", "interpreter": "python3", "nodeArgs": [], "watch": True}
NPM = {"script": "start", "interpreter": "npm", "args": []}


class ImportTests(SynchronousTestCase):
    """One service, and the apps that the files name."""

    if not nodes():
        skip = "there is no node"

    def setUp(self) -> None:
        self.service = RunningOod()
        self.addCleanup(self.service.close)
        self.apps = self.service.directory / "apps"
        for name, text in (
            ("web/server.js", SERVER),
            ("web/package.json", '{"scripts": {"start": "node server.js"}}'),
            ("worker/job.js", ""),
            ("worker/job.py", ""),
        ):
            path = self.apps / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.service.start()

    def file(self, name: str) -> str:
        """Return a recorded file, as if it had been recorded here."""
        text = (RECORDED / name).read_text().replace(WHERE, str(self.apps))
        path = self.apps / name
        path.write_text(text.replace('"username": "dev"', f'"username": "{self.user()}"'))
        return str(path)

    @staticmethod
    def user() -> str:
        return pwd.getpwuid(getuid()).pw_name

    def imported(self, *arguments: str) -> dict[str, list[str]]:
        """Import; return what is said of each app."""
        results = self.service.json("import", *arguments)
        self.assertEqual([one["error"] for one in results], [None] * len(results))
        return {one["name"]: one["notes"] for one in results}

    def check(self, name: str, expected: dict[str, Any], cwd: str) -> None:
        """Compare an app's configuration."""
        found = self.service.json("config", "-a", name, "--get")
        self.assertEqual({key: found[key] for key in expected}, expected, name)
        self.assertEqual(found["cwd"], str(self.apps / cwd))

    def check_all(self) -> None:
        self.check("web", WEB, "web")
        self.check("worker", WORKER, "")
        self.check("python-job", PYTHON, "")
        self.check("site-npm", NPM, "web")
        self.service.ood("start", "web")
        self.assertEqual(get(self.service.http_port, "web.localhost").body, b"production hello")

    def test_ecosystem(self) -> None:
        """Cluster, fork, another interpreter, npm; with --env production."""
        notes = self.imported(self.file("ecosystem.config.js"), "--env", "production")
        self.check_all()
        web = {note.partition(":")[0] for note in notes["web"]}
        self.assertLessEqual({"env.PORT", "error_file", "ignore_watch", "watch_delay"}, web)
        self.assertEqual(len(notes["worker"]), 1, notes["worker"])

    def test_dump(self) -> None:
        """What ``pm2 save`` wrote has an entry for each process, and the shell's variables."""
        notes = self.imported(self.file("ecosystem.dump.pm2"))
        self.check_all()
        self.assertEqual(self.service.json("config", "-a", "web", "-g", "user"), self.user())
        for name, texts in notes.items():
            unknown = [text for text in texts if "no such setting" in text]
            self.assertEqual(unknown, [], name)
        self.assertIn("taken as the app's: NODE_ENV, GREETING", " ".join(notes["web"]))

    def test_single(self) -> None:
        """One app on every processor of that machine, by its ecosystem file and by its dump."""
        expected = {
            "script": "web/server.js",
            "cronRestart": "15 3 * * 0",
            "watch": ["web"],
            "ignoreWatch": ["web/tmp"],
            "env": {"NODE_ENV": "production", "TOKEN": "x y"},
        }
        self.imported(self.file("single.config.js"))
        self.check("api", {**expected, "instances": "max"}, "")
        self.service.ood("delete", "api")
        count = len(json.loads((RECORDED / "single.dump.pm2").read_text()))
        self.imported(self.file("single.dump.pm2"))
        self.check("api", {**expected, "instances": count}, "")
