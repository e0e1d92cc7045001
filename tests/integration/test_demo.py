"""``sh scripts/demo``, the first thing that a newcomer runs."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil
from twisted.trial.unittest import SynchronousTestCase

from tests.support.http import get
from tests.support.ood import wait_until

ROOT = Path(__file__).parents[2]
DEMO_SECONDS = 400
"""The first run installs ood and perhaps Node; all others take a few seconds."""
UNREACHABLE = re.compile("NewConnectionError|ConnectTimeout|ProxyError|Read timed out")
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/")


class Demo(SynchronousTestCase):
    """The demo runs in a session of its own, with a directory of its own for what it makes."""

    def setUp(self) -> None:
        if not os.access(ROOT, os.W_OK):
            self.skipTest("the checkout can't be written to")
        self.one_at_a_time()
        self.directory = tempfile.TemporaryDirectory(prefix="ood-", dir="/tmp")
        self.addCleanup(self.directory.cleanup)
        self.temporary = Path(self.directory.name)
        self.temporary.chmod(0o755)
        self.output = self.temporary / "output"

    def one_at_a_time(self) -> None:
        """Wait for the other process that tests a demo: both install into the same place."""
        lock = (ROOT / "scripts/demo").open()
        self.addCleanup(lock.close)
        fcntl.flock(lock, fcntl.LOCK_EX)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the demo."""
        with self.output.open("wb") as output:
            demo = subprocess.Popen(
                ["sh", "scripts/demo", *arguments],
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(self.temporary)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.addCleanup(self.end, demo)
        return demo

    def end(self, demo: subprocess.Popen[bytes]) -> None:
        """End a demo that a failed test left running, with all that is below it."""
        if demo.poll() is None:
            children = psutil.Process(demo.pid).children(recursive=True)
            for process in (demo, *children):
                process.kill()
            demo.wait()

    def text(self) -> str:
        """Return what the demo printed."""
        return self.output.read_text()

    def skip_offline(self) -> None:
        """Skip a first run that could not get what ood needs."""
        text = self.text()
        if "pip install failed" in text and UNREACHABLE.search(text):
            self.skipTest("the package index can't be reached")

    def nothing_left(self, processes: list[psutil.Process]) -> None:
        """Check that the demo's processes and files are gone."""
        running = [one for one in processes if one.is_running() and one.status() != "zombie"]
        self.assertEqual(running, [])
        self.assertEqual([path.name for path in self.temporary.iterdir()], ["output"])

    def test_once(self) -> None:
        """``--once`` ends with status 0 after the printed address has answered."""
        demo = self.start("--once")
        status = demo.wait(DEMO_SECONDS)
        self.skip_offline()
        self.assertEqual(status, 0, self.text())
        self.assertRegex(self.text(), rf"{ADDRESS.pattern} answers\n$")
        self.nothing_left([])

    def test_until_ctrl_c(self) -> None:
        """The address answers until Ctrl-C; then everything is gone and the status is 0."""
        demo = self.start()
        wait_until(
            lambda: "Ctrl-C" in self.text() or demo.poll() is not None, "an address", DEMO_SECONDS
        )
        self.skip_offline()
        address = ADDRESS.search(self.text())
        assert address, self.text()
        answer = get(int(address[1]), f"127.0.0.1:{address[1]}")
        self.assertEqual(answer.status, 200)
        self.assertIn(b"ood-example-site", answer.body)
        processes = psutil.Process(demo.pid).children(recursive=True)
        self.assertGreaterEqual(len(processes), 3)  # the service and two workers
        os.killpg(demo.pid, signal.SIGINT)
        self.assertEqual(demo.wait(DEMO_SECONDS), 0, self.text())
        self.nothing_left(processes)

    def test_usage(self) -> None:
        """An unknown argument is refused with the usage and status 2."""
        demo = self.start("--fast")
        self.assertEqual(demo.wait(60), 2)
        self.assertEqual(self.text(), "usage: sh scripts/demo [--once]\n")
