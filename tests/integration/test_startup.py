"""Starts that can't be: one clear line, exit status 1, nothing changed."""

import os
import resource
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.ood import RunningOod, wait_until

END_SECONDS = 90


class Refused(SynchronousTestCase):
    """Each case starts a real ``twistd ood`` that must end by itself."""

    def setUp(self) -> None:
        self.service = RunningOod()
        self.addCleanup(self.service.close)
        self.home = self.service.home

    def refused(self, *, daemon: bool = False) -> str:
        """Start the service; return the one line it leaves on stderr."""
        command = [one for one in self.service.command() if not daemon or one != "-n"]
        done = subprocess.run(
            command,
            check=False,
            cwd=self.service.directory,
            env=self.service.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=END_SECONDS,
        )
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertTrue(lines[0].startswith("ood: "), lines)
        return lines[0]

    def write_document(self, text: str) -> Path:
        self.home.mkdir(mode=0o700)
        path = self.home / "config.json"
        path.write_text(text)
        return path

    def test_second_service(self) -> None:
        """The second service on a home names the first one; the first goes on."""
        self.service.start()
        line = self.refused()
        self.assertIn(f"process {self.service.pid}", line)
        self.assertEqual(self.service.json("status")["apps"], [])

    def test_occupied_port(self) -> None:
        """Each port is named with what to do, and the others are not kept."""
        for port in (self.service.http_port, self.service.api_port):
            with socket.create_server(("127.0.0.1", port)):
                line = self.refused()
            self.assertIn(str(port), line)
        self.service.start()

    def test_occupied_port_as_daemon(self) -> None:
        """The same before the service goes into the background."""
        with socket.create_server(("127.0.0.1", self.service.http_port)):
            self.assertIn(str(self.service.http_port), self.refused(daemon=True))

    def test_unwritable_home(self) -> None:
        """A home that can't be made: named, with what to do."""
        (self.service.directory / "file").write_text("")
        self.service.home = self.service.directory / "file" / "home"
        line = self.refused()
        self.assertIn(str(self.service.home), line)
        self.assertIn("--home", line)

    def test_damaged_document(self) -> None:
        """A damaged document is named and left as it is."""
        for text in ("{", '{"schema": 99}', '{"apps": {"x": {"cwd": 1}}, "settings": {"z": 1}}'):
            path = self.write_document(text)
            before = os.stat(path)
            line = self.refused()
            self.assertIn(str(path), line)
            after = os.stat(path)
            self.assertEqual((path.read_text(), after.st_ino), (text, before.st_ino))
            self.assertEqual(after.st_mtime_ns, before.st_mtime_ns)
            path.unlink()
            for directory in ("logs", "run"):
                for file in (self.home / directory).glob("*"):
                    file.unlink()
                (self.home / directory).rmdir()
            self.home.rmdir()
        # every fault at once
        self.write_document('{"apps": {"x": {"cwd": 1}}, "settings": {"z": 1}}')
        line = self.refused()
        for word in ("apps.x.cwd", "apps.x.port", "settings.z"):
            self.assertIn(word, line)


class Ending(SynchronousTestCase):
    """SIGTERM, and what is left afterwards."""

    if shutil.which("node") is None:
        skip = "there is no node"

    def test_apps_run_again(self) -> None:
        """What ran when the service ended runs again when it starts; what was stopped does not."""
        with RunningOod() as service:
            site = service.directory / "site"
            site.mkdir()
            (site / "server.js").write_text(
                "require('http').createServer((q, a) => a.end('here')).listen(3000)\n"
            )
            service.add("one", site)
            service.ood("init", "two", "--cwd", str(site))
            service.stop()
            service.start()
            service.ood("start", "one")
            states = {app["name"]: app["state"] for app in service.json("status")["apps"]}
            self.assertEqual(states, {"one": "online", "two": "stopped"})


class Started(SynchronousTestCase):
    """What a start and an end do beside the obvious."""

    def setUp(self) -> None:
        self.service = RunningOod()
        self.addCleanup(self.service.close)

    def test_open_files(self) -> None:
        """A low limit of open files is raised as far as it may be: each visitor needs one."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
        self.service.start()
        found, _ = resource.prlimit(self.service.pid, resource.RLIMIT_NOFILE)
        self.assertEqual(found, min(65_536, hard))

    def test_told_to_stop_twice(self) -> None:
        """A second SIGTERM or Ctrl-C changes nothing, and is no fault in the log."""
        if shutil.which("node") is None:
            self.skipTest("there is no node")
        self.service.start()
        directory = self.service.directory / "site"
        directory.mkdir()
        slow = "http.createServer((q, s) => setTimeout(() => s.end('whole'), 1000)).listen(3000)"
        (directory / "server.js").write_text(f"const http = require('http'); {slow}")
        port = self.service.add("site", directory)
        with socket.create_connection(("127.0.0.1", port), timeout=END_SECONDS) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n")
            wait_until(
                lambda: self.service.json("status", "site")["workers"][0]["unacknowledged"] == 0,
                "the worker has the connection",
            )
            for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
                os.kill(self.service.pid, number)
                wait_until(lambda: "shutting down" in self.service.log(), "it was heard")
            answer = b"".join(iter(lambda: client.recv(1000), b""))
        self.service.stop()
        self.assertTrue(answer.endswith(b"whole"), answer)
        self.assertNotIn("Traceback", self.service.log())
