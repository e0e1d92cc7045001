from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.apps import installed
from tests.support.ood import RunningOod
from tests.support.servers import say

HOST = "chat.example"
CLIENTS = 6
LAST_SECONDS = 120
ANSWERS = 20
"""What each client has to get before it ends."""


class Polling:
    """Real clients of socket.io that poll, in a process of their own.

    They go on until somebody asks what they saw.

    :param options: ``trouble`` ends them by the first trouble that one of them is in.
    """

    def __init__(self, directory: Path, port: int, *options: str) -> None:
        node = shutil.which("node")
        assert node is not None
        url = f"http://127.0.0.1:{port}"
        command = [node, str(directory / "poll.js"), url, HOST, str(CLIENTS), str(ANSWERS)]
        self._process = subprocess.Popen(
            [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._said = self._process.stdout.readline()

    def seen(self) -> list[dict[str, Any]]:
        """Let them come to their end; return what each client saw."""
        out, _ = self._process.communicate(timeout=LAST_SECONDS)
        *connected, last = (self._said + out).splitlines()
        assert connected in (["connected"], []), connected
        seen: list[dict[str, Any]] = json.loads(last)
        return seen

    def stop(self) -> None:
        """End it if it still runs."""
        self._process.kill()
        self._process.communicate()


class StickyTests(SynchronousTestCase):
    """An app with two workers, each of which knows only its own clients."""

    def setUp(self) -> None:
        if shutil.which("node") is None:
            raise SkipTest("there is no node")
        self.service = RunningOod()
        self.addCleanup(self.service.close)
        self.service.start()

    def chat(self, sticky: str) -> Path:
        directory = installed("socket.io")
        self.service.add(HOST, directory, "--instances", "2")
        self.service.ood("config", "-a", HOST, "-s", "sticky", sticky)
        return directory

    def polling(self, directory: Path, *options: str) -> Polling:
        clients = Polling(directory, self.service.http_port, *options)
        self.addCleanup(clients.stop)
        return clients

    def assert_undisturbed(self, seen: list[dict[str, Any]]) -> None:
        for one in seen:
            self.assertEqual(([], []), (one["disconnects"], one["errors"]), seen)
            self.assertEqual(1, len(one["pids"]), seen)

    def test_off(self) -> None:
        """What this is for: without it clients that poll do not get far."""
        seen = self.polling(self.chat("off"), "trouble").seen()
        self.assertTrue(any(one["errors"] or one["disconnects"] for one in seen), seen)

    def test_cookie(self) -> None:
        """Each client stays with one worker, and both workers have clients."""
        seen = self.polling(self.chat("cookie")).seen()
        self.assert_undisturbed(seen)
        self.assertEqual(2, len({one["pids"][0] for one in seen}))

    def test_cookie_across_a_restart(self) -> None:
        """During a rolling restart the old workers finish their sessions; new clients don't
        come to them.
        """
        directory = self.chat("cookie")
        clients = self.polling(directory)
        self.service.ood("restart", HOST)
        new = self.polling(directory).seen()
        old = clients.seen()
        self.assert_undisturbed(old)
        self.assert_undisturbed(new)
        pids = {one["pids"][0] for one in old}
        self.assertFalse(pids & {one["pids"][0] for one in new})

    def test_ip(self) -> None:
        """All clients of one address are with one worker; after a restart they come back."""
        directory = self.chat("ip")
        seen = self.polling(directory).seen()
        self.assert_undisturbed(seen)
        self.assertEqual(1, len({one["pids"][0] for one in seen}))
        clients = self.polling(directory)
        self.service.ood("restart", HOST)
        for one in clients.seen():
            self.assertLessEqual(len(one["pids"]), 2)
            self.assertGreaterEqual(one["answers"], ANSWERS)

    def test_addresses(self) -> None:
        """Handed off or proxied, an address has one worker; several addresses have both."""
        directory = self.service.directory / "site"
        directory.mkdir()
        script = say("x").replace("text,", "text: process.pid,", 1)
        script = script.replace("text, url", "text: process.pid, url")
        (directory / "server.js").write_text(script.replace("process.argv[1]", "process.env.PORT"))
        self.service.add(HOST, directory, "--instances", "2", "--script", "server.js")
        self.service.ood("config", "-a", HOST, "-s", "sticky", "ip")
        pids: dict[str, set[str]] = defaultdict(set)
        for number in range(2, 18):
            for connection in ("keep-alive", "close"):
                for _ in range(3):
                    address = f"127.0.0.{number}"
                    pids[address].add(self.ask(address, connection))
        self.assertEqual({1}, {len(found) for found in pids.values()}, pids)
        self.assertEqual(2, len(set.union(*pids.values())), pids)

    def ask(self, address: str, connection: str) -> str:
        client = http.client.HTTPConnection(
            "127.0.0.1", self.service.http_port, timeout=60, source_address=(address, 0)
        )
        client.request("GET", "/", headers={"Host": HOST, "Connection": connection})
        answer = json.loads(client.getresponse().read())
        client.close()
        return str(answer["text"])
