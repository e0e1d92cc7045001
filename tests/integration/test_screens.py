"""``ood monit`` and ``ood status`` as people see them: on a terminal, of the real service."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.apps import nodes
from tests.support.http import Client
from tests.support.ood import RunningOod, wait_until
from tests.support.terminal import LEAVES_SCREEN, Terminal
from tests.support.webpage import write_app

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
DOWN, RIGHT = "\x1b[B", "\x1b[C"


class ScreenTests(SynchronousTestCase):
    """One service with two apps; a third one fails where a test needs that."""

    if not nodes():
        skip = "there is no node"

    def setUp(self) -> None:
        self.ood = RunningOod(next(iter(nodes().values())))
        self.addCleanup(self.ood.close)
        self.ood.start()
        for name in ("api", "shop"):
            self.ood.add(name, write_app(self.ood.directory / name, name))

    def terminal(self, *arguments: str, width: int = 100, **more: str) -> Terminal:
        told = {"COLUMNS", "LINES", "NO_COLOR"}
        kept = {key: value for key, value in self.ood.environment.items() if key not in told}
        return Terminal(*arguments, environment={**kept, **more}, width=width)

    def ask(self, path: str) -> None:
        with Client(self.ood.http_port, "shop.localhost") as client:
            client.ask(path)

    def test_monit(self) -> None:
        """Workers, their log, the arrows, another size, and the way out."""
        pids = [self.ood.json("status", name)["workers"][0]["pid"] for name in ("api", "shop")]
        with self.terminal("monit") as screen:
            screen.until("2 of 2 apps as wanted")
            for pid in pids:
                screen.until(rf"\b{pid}\b")
            screen.until("log of api: everything")
            screen.press(DOWN)
            screen.until("log of shop: everything")
            screen.until("shop listens")
            self.ask("/a-page")
            screen.until("asked for /a-page")
            screen.press(RIGHT + RIGHT)
            screen.until("log of shop: err")
            screen.until("shop warns")
            self.assertRegex(screen.seen, COLOUR)
            screen.forget()
            screen.resize(60, 16)
            screen.until(r"^log of shop: err ─{43}\r?$")
            screen.forget()
            screen.until("2 of 2 apps as wanted")
            frame = screen.seen
            self.assertNotIn(" restarts", frame, "no column that there is no room for")
            screen.press("q")
            self.assertEqual(screen.ended(), 0)
            self.assertIn(LEAVES_SCREEN, screen.seen)
            self.assertTrue(screen.restored())

    def test_monit_of_a_failure(self) -> None:
        """An app that dies again and again is seen to do so."""
        with self.terminal("monit", NO_COLOR="1") as screen:
            screen.until("2 of 2 apps as wanted")
            bad = self.failing()
            self.ood.run("start", bad)
            screen.until("2 of 3 apps as wanted")
            screen.until("waiting-restart|errored|launching")
            screen.press("\x03")
            self.assertEqual(screen.ended(), 130)
            self.assertTrue(screen.restored())
            self.assertNotRegex(screen.seen, COLOUR)

    def failing(self) -> str:
        directory = Path(self.ood.directory / "bad")
        directory.mkdir()
        (directory / "server.js").write_text("setTimeout(() => process.exit(3), 50)")
        self.ood.ood("init", "bad", "--cwd", str(directory), "--script", "server.js")
        return "bad"

    def test_watch(self) -> None:
        """``ood status --watch`` shows a stop when it happens, of all and of one."""
        with (
            self.terminal("status", "--watch") as screen,
            self.terminal("status", "shop", "--watch") as one,
        ):
            for each in (screen, one):
                each.until("online")
            one.until("addresses +http")
            self.ood.ood("stop", "shop")
            for each in (screen, one):
                each.until("stopped")
                each.press("q")
                self.assertEqual(each.ended(), 0)
                self.assertTrue(each.restored())

    def test_status(self) -> None:
        """Colours for people only; status 3 as soon as one app is not as it should be."""
        with self.terminal("status") as screen:
            self.assertEqual(screen.ended(), 0)
            self.assertRegex(screen.seen, COLOUR)
        with self.terminal("status", NO_COLOR="1") as screen:
            self.assertEqual(screen.ended(), 0)
            self.assertNotRegex(screen.seen, COLOUR)
        piped = self.ood.run("status")
        self.assertEqual((piped.returncode, piped.stderr), (0, ""))
        self.assertNotIn("\x1b", piped.stdout)
        self.ood.run("start", self.failing())
        wait_until(lambda: self.ood.run("status").returncode == 3, "ood says so", 60)
        self.assertEqual(self.ood.run("status", "shop").returncode, 0)
        said = self.ood.run("status", "bad")
        self.assertEqual(said.returncode, 3)
        self.assertIn("exited with status 3", said.stdout)
        self.assertIn("ood why bad", said.stdout)
        self.ood.ood("stop", "bad")
        self.assertEqual(self.ood.run("status").returncode, 0)
