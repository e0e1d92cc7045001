"""Notifications through the whole service: real programs, a real web server, a real crash."""

from __future__ import annotations

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.apps import nodes
from tests.support.load import SERVER
from tests.support.ood import RunningOod, wait_until

SECRET = "T0/B0/verysecret"


class Chat:
    """A web server that takes messages.

    :ivar statuses: what the next answers are; 200 after that.
    """

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.paths: list[str] = []
        self.statuses: list[int] = []
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                chat.bodies.append(json.loads(self.rfile.read(length)))
                chat.paths.append(self.path)
                self.send_response(chat.statuses.pop(0) if chat.statuses else 200)
                self.send_header("Content-Length", "1000000")  # that never come
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/{SECRET}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class NotifyTests(SynchronousTestCase):
    """One service, one chat, one program."""

    def setUp(self) -> None:
        self.chat = Chat()
        self.addCleanup(self.chat.close)
        self.service = RunningOod()
        self.addCleanup(self.service.close)
        self.service.start()
        self.told = self.service.directory / "told"
        self.told.mkdir()

    def program(self, text: str) -> str:
        path = self.service.directory / "page"
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return str(path)

    def set_targets(self, *targets: dict[str, Any]) -> str:
        return self.service.ood("config", "--set", "notify", json.dumps(targets))

    def files(self) -> list[Path]:
        return sorted(path for path in self.told.iterdir() if path.suffix != ".part")

    def test_crash(self) -> None:
        """A worker's death reaches both; the secret is shown nowhere; the last one at the end."""
        if not nodes():
            self.skipTest("there is no node")
        page = self.program(
            f'f={self.told}/$OOD_EVENT_ID; {{ cat; echo; echo "$1 $OOD_EVENT_KIND'
            f' $OOD_EVENT_APP $OOD_EVENT_COUNT"; id -u; }} > $f.part; mv $f.part $f\n'
        )
        shown = self.set_targets(
            {"webhook": self.chat.url}, {"command": [page, "$HOME"], "events": ["death"]}
        )
        shown += self.service.ood("config", "--get") + self.service.ood("config", "-g", "notify")
        shown += self.service.ood("notify", "--json")
        site = self.service.directory / "site"
        site.mkdir()
        (site / "server.js").write_text(SERVER)
        self.service.add("site", site)
        os.kill(self.service.json("status", "site")["workers"][0]["pid"], signal.SIGKILL)
        wait_until(lambda: self.chat.bodies and self.files(), "both are told")
        body = self.chat.bodies[0]
        self.assertIn("was killed by SIGKILL", body["text"])
        self.assertEqual((body["event"]["kind"], body["event"]["app"]), ("death", "site"))
        self.assertEqual(self.chat.paths, ["/" + SECRET])
        plain, line, user = self.files()[0].read_text().splitlines()
        self.assertEqual(json.loads(plain)["text"], body["event"]["text"])
        self.assertEqual((line, int(user)), ("$HOME death site 1", os.getuid()))

        wait_until(lambda: self.service.json("status", "site")["state"] == "online", "it is back")
        os.kill(self.service.json("status", "site")["workers"][0]["pid"], signal.SIGKILL)
        wait_until(lambda: self.service.ood("log", "site").count("SIGKILL") == 2, "it died again")
        self.assertEqual((len(self.chat.bodies), len(self.files())), (1, 1))
        self.service.stop()
        self.assertEqual((len(self.chat.bodies), len(self.files())), (2, 2))
        self.assertNotIn("verysecret", shown + self.service.log())

    def test_tested(self) -> None:
        """``ood notify --test`` says what came of each target; one that hangs is ended."""
        stuck = self.program("sleep 600 & sleep 600\n")
        other = {"webhook": self.chat.url.replace("http://127.0.0.1", "http://127.0.0.2")}
        self.set_targets({"webhook": self.chat.url}, {"command": [stuck]}, other)
        self.chat.statuses = [404]
        done = self.service.run("notify", "--test", "--json")
        self.assertEqual(done.returncode, 1)
        errors = [one["error"] for one in json.loads(done.stdout)["results"]]
        self.assertEqual(errors[0], "it answered with status 404")
        self.assertIn("took longer than 10 seconds", errors[1])
        self.assertEqual(errors[2], "connection refused")
        self.assertEqual(self.service.processes(), set())
        self.set_targets({"webhook": self.chat.url})
        self.assertIn(": told", self.service.ood("notify", "--test"))
        self.assertIn("This is a test", self.chat.bodies[-1]["text"])
        self.set_targets()
        done = self.service.run("notify", "--test")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no target", done.stderr)
        self.assertNotIn("verysecret", self.service.log() + done.stderr)

    def test_missing_program(self) -> None:
        """A program that is not there is said, by its name."""
        self.set_targets({"command": ["/no/such/program"]})
        done = self.service.run("notify", "--test")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/no/such/program", done.stdout)
