"""``ood log`` with filters: which lines, from which files, and how they look."""

from __future__ import annotations

import gzip
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from shutil import rmtree

import click
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ood.cli.logfilter import moment
from ood.clock import stamp, wall_time
from tests.cli.support import CliCase

NOON = datetime(2026, 3, 4, 12, 0, 5, tzinfo=timezone(timedelta(hours=2)))
START = datetime(2026, 1, 2, 3, 0, tzinfo=timezone.utc)


class MomentTests(SynchronousTestCase):
    """What people write for a moment."""

    def test_moments(self) -> None:
        """Durations, days, times of day and full stamps, in the zone of who asks."""
        for text, expected in {
            "10m": "2026-03-04T09:50:05.000Z",
            "2h": "2026-03-04T08:00:05.000Z",
            "1w": "2026-02-25T10:00:05.000Z",
            "today": "2026-03-03T22:00:00.000Z",
            "Yesterday": "2026-03-02T22:00:00.000Z",
            "now": "2026-03-04T10:00:05.000Z",
            "9:30": "2026-03-04T07:30:00.000Z",
            "09:30:15": "2026-03-04T07:30:15.000Z",
            "2026-01-02": "2026-01-01T22:00:00.000Z",
            "2026-01-02 03:04": "2026-01-02T01:04:00.000Z",
            "2026-01-02T03:04:05Z": "2026-01-02T03:04:05.000Z",
            "2026-01-02T03:04:05.678+01:00": "2026-01-02T02:04:05.678Z",
        }.items():
            self.assertEqual(moment("--since", text, NOON), expected, text)

    def test_none(self) -> None:
        """What is no moment is refused with what would be one."""
        for text in (
            "",
            "10",
            "m",
            "25:00",
            "9:99",
            "tomorrow-ish",
            "2026-13-01",
            "-5m",
            "10 m",
            "999999999w",
        ):
            with self.assertRaises(click.BadParameter) as raised:
                moment("--since", text, NOON)
            self.assertIn("10m, 2h", str(raised.exception.message))

    @given(st.text(max_size=30))
    def test_anything(self, text: str) -> None:
        """Nothing else can come of it."""
        try:
            moment("--until", text, NOON)
        except click.BadParameter:
            return


class FilesCase(CliCase):
    """Two apps with log files."""

    def setUp(self) -> None:
        super().setUp()
        self.home = Path(tempfile.mkdtemp(prefix="ood-history-"))
        self.addCleanup(rmtree, self.home)
        self.successResultOf(self.controller.init("api", {"cwd": "/srv/api"}))
        self.shop = self.home / "logs" / "shop.example"
        self.shop.mkdir(parents=True)

    def lines(self, begin: int, end: int, stream: str = "out", worker: int = 0) -> bytes:
        """Return a line for each minute."""
        return b"".join(
            f"{stamp(START + timedelta(minutes=number))} {worker} {stream} line {number}\n".encode()
            for number in range(begin, end)
        )

    def aside(self, minute: int) -> str:
        """Return the name of a file that was put aside then."""
        return (START + timedelta(minutes=minute)).strftime("%Y%m%dT%H%M%S.%fZ.log")

    def three_files(self) -> None:
        """Lines of an hour in three files, the oldest compressed."""
        old = self.shop / f"{self.aside(20)}.gz"
        old.write_bytes(gzip.compress(self.lines(0, 20)))
        (self.shop / self.aside(40)).write_bytes(self.lines(20, 40, "err", worker=1))
        (self.shop / "current.log").write_bytes(self.lines(40, 60) + b"torn")

    def numbers(self, *arguments: str) -> list[int]:
        result = self.ood("log", *arguments)
        self.assertEqual(result.status, 0, result.err)
        return [int(line.split()[-1]) for line in result.out.splitlines()]


class FilterTests(FilesCase):
    """Lines of one app."""

    def setUp(self) -> None:
        super().setUp()
        self.three_files()

    def test_since(self) -> None:
        """All lines since then are shown, from compressed files, too."""
        self.assertEqual(
            self.numbers("shop.example", "--since", "2026-01-02T03:10Z"), [*range(10, 60)]
        )
        self.assertEqual(
            self.numbers("shop.example", "--since", "2026-01-02T03:45Z"), [*range(45, 60)]
        )
        since = ("--since", "2026-01-02T03:10Z")
        self.assertEqual(self.numbers("shop.example", *since, "-n", "3"), [57, 58, 59])
        until = ("--until", "2026-01-02T03:12Z")
        self.assertEqual(self.numbers("shop.example", *since, *until), [10, 11, 12])
        self.assertEqual(self.numbers("shop.example", *until, "-n", "2"), [11, 12])
        self.assertEqual(self.numbers("shop.example", "--since", "10m"), [])

    def test_old_files_are_not_opened(self) -> None:
        """A file that was put aside before is left alone, whatever is in it."""
        for path in self.shop.glob("*.gz"):
            path.unlink()
            path.mkdir()
        self.assertEqual(len(self.numbers("shop.example", "--since", "2026-01-02T03:21Z")), 39)

    def test_grep(self) -> None:
        """A regular expression, in capitals or not, found or not."""
        self.assertEqual(self.numbers("shop.example", "--grep", r"e [15]1$"), [11, 51])
        self.assertEqual(self.numbers("shop.example", "--grep", "LINE 7"), [])
        self.assertEqual(self.numbers("shop.example", "--grep", "LINE 7", "-i"), [7])
        self.assertEqual(
            self.numbers("shop.example", "--grep", "[0-7]$", "-v", "-n", "2"), [58, 59]
        )

    def test_worker_and_stream(self) -> None:
        """Of one worker, of one stream."""
        self.assertEqual(self.numbers("shop.example", "--worker", "1"), [*range(20, 40)])
        self.assertEqual(self.numbers("shop.example", "--worker", "7"), [])
        since = ("--since", "2026-01-02")
        self.assertEqual(self.numbers("shop.example", *since, "--stream", "err"), [*range(20, 40)])
        self.assertEqual(len(self.numbers("shop.example", *since, "--out", "--worker", "0")), 40)

    def test_json(self) -> None:
        """Programs get the same objects as without filters."""
        found = self.ood("log", "shop.example", "--json", "--grep", "line 5$").value
        self.assertEqual(found, {
            "app": "shop.example", "time": "2026-01-02T03:05:00.000Z", "instance": 0,
            "stream": "out", "text": "line 5",
        })  # fmt: skip

    def test_terminal(self) -> None:
        """What is found stands out on a terminal, and nowhere else."""
        arguments = ("log", "shop.example", "--grep", r"ne \d", "-n", "1")
        self.assertNotIn("\x1b", self.ood(*arguments).out)
        self.assertIn("li\x1b[1;7mne 5\x1b[22;27m9", self.ood(*arguments, terminal=True).out)

    def test_refused(self) -> None:
        """What makes no sense is refused before anything is read."""
        for arguments, reason in (
            (["--since", "soon"], "'soon' is no moment; such are: 10m"),
            (["--grep", "(a"], "'(a' is no regular expression: missing )"),
            (["-i"], "go with --grep"),
            (["--since", "1h", "--until", "2h"], "no line can be"),
            (["--worker", "-1"], "--worker"),
            (["--stream", "inn"], "'inn' is not one of"),
        ):
            result = self.ood("log", "shop.example", *arguments)
            self.assertEqual((result.status, result.out), (2, ""), arguments)
            self.assertIn(reason, result.err)

    def test_nobody(self) -> None:
        """An app that there is not has no log; one that wrote nothing has an empty one."""
        self.assertEqual(self.ood("log", "nobody", "--since", "1h").status, 1)
        self.assertEqual(self.numbers("api", "--since", "1h"), [])

    def test_unreadable(self) -> None:
        """Files that can't be read are an error, not an empty log."""
        (self.home / "logs" / "api").write_text("in the way")
        result = self.ood("log", "api", "--since", "1h")
        self.assertEqual(result.status, 1)
        self.assertIn("can't read", result.err)


class AllAppsTests(FilesCase):
    """Lines of several apps."""

    def test_interleaved(self) -> None:
        """They come in the order of time, each with its app's name."""
        self.three_files()
        api = self.home / "logs" / "api"
        api.mkdir()
        (api / "current.log").write_bytes(self.lines(38, 42))
        for arguments in (["--since", "2026-01-02T03:38Z"], ["--worker", "0", "-n", "22"]):
            lines = self.ood("log", *arguments).out.splitlines()
            self.assertEqual(lines, sorted(lines, key=lambda line: line.split()[0]))
            self.assertEqual(
                sum(" api 0 " in line for line in lines), 4 if "--since" in arguments else 2
            )


class FollowTests(FilesCase):
    """New lines with filters."""

    def meanwhile(self, done: Deferred[None]) -> None:
        for number in (201, 202, 203):
            self.later("shop.example", f"line {number}")
            self.stub.flush()
        self.api.stop()
        for _ in range(10):
            self.stub.flush()

    def test_follow(self) -> None:
        """What was is read from the files, what comes is filtered, and nothing comes twice."""
        self.three_files()
        self.controller.log("shop.example", "line 100, an old one")

        result = self.ood("log", "shop.example", "-f", "--grep", "[12]$", "-n", "2")
        texts = [line.rpartition("out ")[2] for line in result.out.splitlines()]
        self.assertEqual(texts, ["line 51", "line 52", "line 201", "line 202"])

    def later(self, app: str, text: str) -> None:
        """A worker writes a line now."""
        from ood.model.status import LogLine

        line = LogLine(time=stamp(wall_time()), instance=0, stream="out", text=text)
        for name, callback in tuple(self.controller._followers):
            if name == app:
                callback(line)
