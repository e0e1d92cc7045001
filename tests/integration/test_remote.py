from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.http import Client, get
from tests.support.ood import RunningOod, wait_until
from tests.support.ports import free_ports
from tests.support.servers import NodeServer, say

HOST = "api.localhost"


class RemoteTests(SynchronousTestCase):
    """The real service before servers that it does not run."""

    def setUp(self) -> None:
        self.service = RunningOod()
        self.addCleanup(self.service.close)
        self.service.start()
        (self.port,) = free_ports(1)

    def serve(self, text: str, where: int | Path | None = None) -> NodeServer:
        server = NodeServer(say(text), free_ports(1)[0] if where is None else where)
        self.addCleanup(server.stop)
        return server

    def status(self) -> dict[str, Any]:
        """Return the app's state; the command itself fails when that is errored."""
        status: dict[str, Any] = json.loads(self.service.run("--json", "status", "api").stdout)
        return status

    def upstreams(self) -> dict[str, Any]:
        return {one["address"]: one for one in self.status()["upstreams"]}

    def test_from_init_to_status(self) -> None:
        """A server and one on a unix socket answer; when one dies nobody sees it but status."""
        path = Path(tempfile.mkdtemp()) / "s"
        one = self.serve("one")
        self.serve("two", path)
        said = self.service.ood(
            "init", "api", "--upstream", f"http://127.0.0.1:{one.where}", "--upstream",
            f"unix:{path}", "--port", str(self.port),
        )  # fmt: skip
        self.assertIn(f"upstreams  127.0.0.1:{one.where}, unix:{path}", said)
        self.assertIn("online, 2 upstreams", self.service.ood("start", "api"))
        with Client(self.service.http_port, HOST) as client:
            texts = Counter(
                client.ask(f"/{number}", method="POST", body=b"x" * number).json()["text"]
                for number in range(20)
            )
            self.assertEqual({"one": 10, "two": 10}, dict(texts))
            self.assertEqual("127.0.0.1", client.ask().json()["client"])
            one.stop()
            for number in range(20):
                answer = client.ask(f"/{number}", method="POST", body=b"x")
                self.assertEqual(("two", "x"), (answer.json()["text"], answer.json()["body"]))
        self.assertEqual("two", get(self.port, f"127.0.0.1:{self.port}").json()["text"])
        address = f"127.0.0.1:{one.where}"
        wait_until(lambda: "refused" in self.upstreams()[address]["reason"], "it is seen")
        self.assertEqual("errored", self.upstreams()[address]["state"])
        report = self.service.run("status", "api").stdout
        self.assertIn("online, 1 of 2 upstreams", report)
        self.assertIn(f"upstream {address} gets no requests", report)
        self.assertIn(address, self.service.run("status").stdout)
        self.assertIn("gets no requests", self.service.ood("log", "api"))
        assert isinstance(one.where, int)
        self.serve("one", one.where)
        wait_until(lambda: self.upstreams()[address]["state"] == "online", "it is back")
        self.assertIn("gets requests again", self.service.ood("log", "api"))

    def test_nobody_there(self) -> None:
        """A start fails with the reason, the app counts as errored and heals by itself."""
        (port,) = free_ports(1)
        upstream = f"127.0.0.1:{port}"
        self.service.ood("init", "api", "--upstream", upstream, "--port", str(self.port))
        failed = self.service.run("start", "api")
        self.assertNotEqual(0, failed.returncode)
        self.assertIn(f"upstream {upstream} gets no requests", failed.stderr)
        self.assertEqual("errored", self.status()["state"])
        self.assertEqual(503, get(self.service.http_port, HOST).status)
        self.serve("late", port)
        wait_until(lambda: self.upstreams()[upstream]["state"] == "online", "it is seen")
        self.assertEqual("late", get(self.service.http_port, HOST).json()["text"])
        self.service.ood("stop", "api")
        self.assertEqual(503, get(self.service.http_port, HOST).status)

    def test_what_makes_no_sense(self) -> None:
        """Verbs for workers are refused; the type can be changed later."""
        server = self.serve("one")
        upstream = f"127.0.0.1:{server.where}"
        self.service.ood("init", "api", "--upstream", upstream, "--port", str(self.port))
        for words in (("scale", "api", "2"), ("deploy", "api", "/tmp")):
            refused = self.service.run(*words)
            self.assertNotEqual(0, refused.returncode)
            self.assertIn("type proxy", refused.stderr)
        self.assertIn("restart", self.service.ood("help"))
        self.service.ood("start", "api")
        self.service.ood("restart", "api")
        directory = Path(tempfile.mkdtemp())
        directory.chmod(0o755)
        (directory / "server.js").write_text(
            say("here").replace("process.argv[1]", "process.env.PORT")
        )
        changes = {"type": "node", "upstreams": "[]", "cwd": str(directory), "script": "server.js"}
        words = [word for key, value in changes.items() for word in ("-s", key, value)]
        self.service.ood("config", "-a", "api", *words)
        self.service.ood("restart", "api")
        self.assertEqual("here", get(self.service.http_port, HOST).json()["text"])
        words = ["config", "-a", "api", "-s", "type", "proxy", "-s", "upstreams", upstream]
        self.assertIn("--unset script", self.service.run(*words).stderr)
        self.service.ood(*words, "--unset", "script")
        wait_until(lambda: self.status()["state"] == "online", "it is")
        self.assertEqual("one", get(self.service.http_port, HOST).json()["text"])
        self.service.ood("delete", "api")
