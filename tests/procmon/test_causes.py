"""What is made of a death: its cause in plain words, its requests, what deaths have in common."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.model.death import DeathReport, RequestInFlight
from ood.procmon.core.causes import Cause, Facts, explain
from ood.procmon.core.growth import Growth
from ood.procmon.core.lastwords import (
    NOTHING,
    SLOT_BYTES,
    Thrown,
    masked,
    parse,
    pattern,
)

UNCAUGHT = """/srv/shop/server.js:3
    throw new TypeError('no price');
    ^

TypeError: no price
    at Object.<anonymous> (/srv/shop/server.js:3:11)
    at Module._compile (node:internal/modules/cjs/loader:1554:14)

Node.js v20.20.2"""


def cause(**facts: object) -> Cause:
    return explain(Facts(app="shop", cwd="/srv/shop", reason="", **facts))  # type: ignore[arg-type]


class CauseTests(SynchronousTestCase):
    """Exit status, signal and last words."""

    def test_stderr(self) -> None:
        """Without the guard an exception is read from stderr."""
        found = cause(code=1, err=UNCAUGHT.splitlines())
        self.assertEqual(found.kind, "exception")
        self.assertEqual(found.error, "TypeError: no price at /srv/shop/server.js:3:11")

    def test_the_guard_knows_better(self) -> None:
        """What the guard has seen counts more than what was logged."""
        thrown = Thrown("Error", "really\nthis", "", "Error: really\n    at /srv/shop/a.js:1:2")
        found = cause(code=1, err=UNCAUGHT.splitlines(), thrown=thrown)
        self.assertEqual(found.error, "Error: really this at /srv/shop/a.js:1:2")

    def test_logged(self) -> None:
        """An error that was only logged is not why a worker was killed, or ended well."""
        self.assertEqual(cause(code=0, err=UNCAUGHT.splitlines()).error, "")
        killed = cause(signal="SIGTERM", err=UNCAUGHT.splitlines())
        self.assertEqual((killed.kind, killed.error), ("killed", ""))

    def test_codes(self) -> None:
        """Errors that are known are explained, with what to do in this app."""
        for message, code, kind, about in (
            ("listen EADDRINUSE: address already in use :::80", "", "address-in-use", ":::80"),
            ("Cannot find module './dist/x'", "MODULE_NOT_FOUND", "module-not-found", "./dist/x"),
            ("Cannot find package 'x' imported from y", "", "module-not-found", "x"),
            ("connect ECONNREFUSED ::1:5432", "ECONNREFUSED", "refused", "::1:5432"),
            ("getaddrinfo ENOTFOUND db.lan", "ENOTFOUND", "no-host", "db.lan"),
            ("ENOENT: no such file or directory, open '.env'", "ENOENT", "no-file", ".env"),
            ("listen EACCES: permission denied 0.0.0.0:80", "EACCES", "not-allowed", ""),
            ("was compiled against a different Node.js version", "", "native-module", ""),
            ("read ECONNRESET", "ECONNRESET", "reset", ""),
            ("This error originated", "ERR_UNHANDLED_REJECTION", "rejection", ""),
        ):
            found = cause(code=1, thrown=Thrown("Error", message, code))
            self.assertEqual(found.kind, kind, message)
            self.assertTrue(found.text.endswith(about) and found.advice, message)
            self.assertNotIn("{", found.text + found.advice)

    def test_signals(self) -> None:
        """Signals are told apart: ood's own never come here."""
        heap = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"
        for signal, oom, err, kind in (
            ("SIGKILL", True, (), "oom-kill"),
            ("SIGKILL", False, (), "killed"),
            ("SIGABRT", False, (heap,), "heap"),
            ("SIGTRAP", False, (heap,), "heap"),
            ("SIGABRT", False, (), "abort"),
            ("SIGSEGV", True, (), "native"),
        ):
            self.assertEqual(cause(signal=signal, oom_killed=oom, err=err).kind, kind, signal)

    def test_statuses(self) -> None:
        """Statuses that mean something are explained, others are as they are."""
        kinds = {code: cause(code=code).kind for code in (0, 13, 42, 127, 137)}
        expected = {0: "ended", 13: "unsettled", 42: "exit", 127: "no-command", 137: "killed"}
        self.assertEqual(kinds, expected)

    def test_by_ood(self) -> None:
        """So is what ood itself had against a worker."""
        self.assertEqual(cause(hung=True).kind, "hang")
        silent = Facts("a", "/", "did not listen on a port within 3 s")
        self.assertEqual(explain(silent).kind, "silent")
        unready = Facts("a", "/", "did not say that it is ready within 3 s")
        self.assertEqual(explain(unready).kind, "unready")

    @given(st.integers(0, 255), st.lists(st.text()), st.text(), st.text())
    def test_anything(self, code: int, err: list[str], name: str, stack: str) -> None:
        """Whatever a process writes, there is an answer of bounded length."""
        found = cause(code=code, err=err, thrown=Thrown(name, name * 100, name, stack))
        self.assertLess(len(found.error), 500 + 2 * len(stack) + len(name) + 100)


class LastWordsTests(SynchronousTestCase):
    """The file that a process leaves."""

    def test_object(self) -> None:
        """An object with the exception and the requests."""
        content = {"error": {"name": "E", "more": 1}, "requests": [["GET", "/a?b=c", 12.5]]}
        words = parse(json.dumps(content).encode())
        self.assertEqual(words.thrown, Thrown("E"))
        self.assertEqual(words.requests, (RequestInFlight(method="GET", path="/a", age_ms=12),))

    def test_slots(self) -> None:
        """Places of a fixed size, some of them free."""
        slots = [b"GET /a\n", b"\0ET /gone\n", b"", b"POST /b\nrest of an older one\n"]
        words = parse(b"".join(one.ljust(SLOT_BYTES, b"\0") for one in slots))
        self.assertEqual([one.path for one in words.requests], ["/a", "/b"])

    @given(st.binary(max_size=2000))
    def test_nonsense(self, content: bytes) -> None:
        """An app can write there what it likes."""
        parse(b"{" + content)
        self.assertLessEqual(len(parse(content).requests), 32)

    def test_wrong_values(self) -> None:
        """A value of the wrong kind spoils all of it, and nothing else."""
        self.assertEqual(parse(b'{"requests":[["GET",1,2]]}'), NOTHING)

    def test_masked(self) -> None:
        """A path keeps what says where it leads, and loses what may be a secret."""
        for path, shown in (
            ("/reports/2026?key=1", "/reports/2026"),
            ("/reset/9f86d081884c7d659a2feaa0c55ad015", "/reset/*"),
            ("/i/3f2504e0-4f89-41d3-9a0c-0305e82c3301/x", "/i/*/x"),
            ("/a-rather-long-name-without-digits", "/a-rather-long-name-without-digits"),
            ("/a#b", "/a"),
        ):
            self.assertEqual(masked(path), shown)


def death(*paths: str, age: int | None = 5, cause: str = "exception") -> DeathReport:
    requests = tuple(RequestInFlight(method="GET", path=path, age_ms=age) for path in paths)
    return DeathReport(time="", instance=0, pid=1, reason="", cause=cause, requests=requests)


class PatternTests(SynchronousTestCase):
    """What several deaths have in common, newest first."""

    def test_in_a_row(self) -> None:
        """The longest row that ends with the newest death counts."""
        row = [death("/a", "/b"), death("/b", "/c"), death("/b"), death("/x"), death("/b")]
        self.assertEqual(pattern(row), "GET /b was being served in the last 3 crashes")
        self.assertEqual(pattern([death("/b"), death(), death("/b")]), "")
        self.assertEqual(pattern([death("/b")]), "")
        self.assertEqual(pattern([]), "")

    def test_numbers(self) -> None:
        """The same page of different users is the same code."""
        row = [death("/user/1"), death("/user/22"), death("/user/1")]
        self.assertEqual(pattern(row), "GET /user/* was being served in the last 3 crashes")

    def test_exact(self) -> None:
        """Where one page was always there it is named, not its kind."""
        self.assertIn("GET /user/1 was", pattern([death("/user/1"), death("/user/1", "/user/2")]))

    def test_streams(self) -> None:
        """A stream of events is always open: it says nothing, unless the worker hung."""
        row = [death("/events", age=60_000)] * 3
        self.assertEqual(pattern(row), "")
        hung = [death("/regex", age=60_000, cause="hang")] * 2
        self.assertIn("GET /regex", pattern(hung))

    def test_too_many(self) -> None:
        """Where much is always in flight nothing of it is suspected."""
        self.assertEqual(pattern([death("/a", "/b", "/c", "/d")] * 5), "")


class GrowthTests(SynchronousTestCase):
    """A worker's memory."""

    def test_line(self) -> None:
        """The slope is that of the straight line, whatever the noise."""
        growth = Growth()
        for second in range(0, 100, 5):
            growth.add(second, 1000 + 7 * second + (second % 2) * 0.001)
        self.assertAlmostEqual(growth.per_minute() or 0, 420, 1)
        self.assertEqual(growth.last, 1000 + 7 * 95)

    def test_short(self) -> None:
        """A short life says nothing."""
        growth = Growth()
        self.assertEqual((growth.last, growth.per_minute()), (0, None))
        for at in (0, 1, 2):
            growth.add(at, at)
        self.assertIsNone(growth.per_minute())

    def test_bounded(self) -> None:
        """Only the last minutes count: what a start takes is forgotten."""
        growth = Growth()
        for look in range(1000):
            growth.add(look * 5, min(look, 500))
        self.assertAlmostEqual(growth.per_minute() or 0, 0)
