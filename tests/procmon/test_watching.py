"""Which files are watched, and when a change leads to a restart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.errors import InvalidError
from ood.model.globs import Globs
from ood.model.schema import check_app
from ood.procmon.core.watching import (
    IN_A_ROW_MAX,
    PAUSE_SECONDS_MAX,
    QUIET_SECONDS,
    WAIT_SECONDS_MAX,
    Ignored,
    Pace,
)

MEANT = (
    ("node_modules", "node_modules/x/index.js"),
    ("node_modules", "packages/a/node_modules/x.js"),
    ("*.json", "data/a.json"),
    ("./logs/", "logs/today/1.txt"),
    ("logs/*.txt", "logs/1.txt"),
    ("data/**/cache", "data/cache"),
    ("data/**/cache", "data/a/b/cache/x"),
    ("**/gen", "a/b/gen/x.js"),
    ("public/**", "public/a/b.css"),
    ("*.{css,sc?s}", "a/b.scss"),
    ("[ab].js", "b.js"),
    ("[!ab].js", "c.js"),
    ("/dist", "dist/x.js"),
)
NOT_MEANT = (
    ("*.json", "data/a.jsonx"),
    ("logs/*.txt", "logs/old/1.txt"),
    ("logs/*.txt", "x/logs/1.txt"),
    ("[!ab].js", "a.js"),
    ("a.c", "abc"),
    ("data/**/cache", "data/caches/x"),
)


class GlobTests(SynchronousTestCase):
    """Globs against paths."""

    def test_globs(self) -> None:
        """A name anywhere, a path from the root, and everything below."""
        for glob, path in MEANT:
            self.assertTrue(Globs([glob]).cover(path), (glob, path))
        for glob, path in NOT_MEANT:
            self.assertFalse(Globs([glob]).cover(path), (glob, path))
        self.assertFalse(Globs([]).cover("x"))

    @given(st.text(min_size=1, max_size=30), st.text(max_size=30))
    def test_any_text(self, glob: str, path: str) -> None:
        """Any text is a glob or is refused with its name."""
        try:
            Globs([glob]).cover(path)
        except ValueError as error:
            self.assertIn("is no glob", str(error))

    def test_settings(self) -> None:
        """What the keys take: truth values or paths, and globs."""
        values = {"cwd": "/x", "port": 3001}
        self.assertIs(check_app("x", {**values, "watch": "yes"}).watch, True)
        self.assertIs(check_app("x", {**values, "watch": []}).watch, False)
        app = check_app("x", {**values, "watch": "src,lib", "ignoreWatch": ["a b", "*.x"]})
        self.assertEqual((app.watch, app.ignore_watch), (("src", "lib"), ("a b", "*.x")))
        for wrong in ({"watch": 3}, {"watch": [""]}, {"ignoreWatch": ["[z-a]"]}):
            self.assertRaises(InvalidError, check_app, "x", {**values, **wrong})


class IgnoredTests(SynchronousTestCase):
    """What is left out without being asked for."""

    def test_defaults(self) -> None:
        """What is installed, written while running, or hidden; unless it was named."""
        ignored = Ignored(["uploads"])
        for path in (
            *("node_modules/a/b.js", ".git/HEAD", "x/.server.js.swp", "logs/a", "x/y.log"),
            *("data.db-wal", "server.js~", ".env.d~", "uploads/a.js", "4913", ".cache/x"),
        ):
            self.assertTrue(ignored.covers(path, ""), path)
        for path in ("server.js", "lib/a.mjs", ".env", ".env.local", "views/x.html", "log/a.js"):
            self.assertFalse(ignored.covers(path, ""), path)
        self.assertFalse(ignored.covers("node_modules/mine/a.js", "node_modules/mine"))
        self.assertTrue(ignored.covers("node_modules/mine/node_modules/a.js", "node_modules/mine"))
        self.assertTrue(ignored.covers("uploads/x", "uploads"), "the user's own globs always hold")


class PaceTests(SynchronousTestCase):
    """When to restart."""

    def test_quiet(self) -> None:
        """After a moment without changes; never much later than the first one."""
        pace = Pace()
        self.assertIsNone(pace.due())
        pace.note("a", 10.0)
        self.assertEqual(pace.due(), 10.0 + QUIET_SECONDS)
        for step in range(100):
            pace.note("a", 10.0 + step * 0.1)
        self.assertEqual(pace.due(), 10.0 + WAIT_SECONDS_MAX)

    def test_names(self) -> None:
        """The first changed files are named."""
        pace = Pace()
        for name in ("a", "b", "a"):
            pace.note(name, 0.0)
        self.assertEqual(pace.begin(), "a, b")
        for name in "abcde":
            pace.note(name, 0.0)
        self.assertEqual(pace.begin(), "a, b, c and more")
        self.assertIsNone(pace.due())

    def test_an_app_that_writes(self) -> None:
        """Who changes what is watched at each start is restarted ever more seldom."""
        pace, now, pauses = Pace(), 0.0, []
        for _ in range(IN_A_ROW_MAX + 6):
            pace.note("state.json", now)
            due = pace.due()
            assert due is not None
            pauses.append(due - now)
            now = due
            pace.begin()
            pace.end(now)
        self.assertLess(max(pauses[:IN_A_ROW_MAX]), 1.0)
        self.assertAlmostEqual(pauses[-1], PAUSE_SECONDS_MAX)
        pace.note("state.json", now + 600.0)
        pace.begin()
        self.assertEqual(pace.pause, 0.0, "after a rest nothing is held against it")
