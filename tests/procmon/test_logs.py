"""The apps' logs: what happens to lines, above all when the disk has no room."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from shutil import rmtree

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood import logfile
from ood.logfile import decode, encode
from ood.model.status import LogLine
from ood.procmon.logs import Logs
from ood.procmon.workers.output import BURST_BYTES_MAX, BYTES_PER_SECOND_MAX, Output


class LogsTestCase(SynchronousTestCase):
    """Logs below a directory of their own."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ood-logs-"))
        self.addCleanup(rmtree, self.directory)
        self.clock = Clock()
        self.logs = Logs(self.directory, self.clock, execute, now=self.now)
        self.addCleanup(self.logs.stopService)
        self.current = self.directory / "app" / "current.log"

    def now(self) -> datetime:
        start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
        return start + timedelta(seconds=self.clock.seconds())

    def texts(self, lines: int = 100, stream: str | None = None) -> list[str]:
        return [line.text for line in self.logs.tail("app", lines, stream)]


class LineTests(SynchronousTestCase):
    """A line in the file."""

    @given(
        st.integers(-1, 511),
        st.sampled_from(["out", "err", "ood"]),
        st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])),
    )
    def test_round_trip(self, instance: int, stream: str, text: str) -> None:
        """What was written is read again, whatever the text holds."""
        time = "2026-01-02T03:04:05.000Z"
        line = LogLine(time=time, instance=instance, stream=stream, text=text)
        self.assertEqual(decode(encode(line)[:-1]), line)


class WritingTests(LogsTestCase):
    """Lines on their way to the file and back."""

    def test_format(self) -> None:
        """A line has time stamp, worker, stream and text; ood's remarks are worker -1."""
        self.logs.lines("app", 3, "err", ["what?"])
        self.logs.remark("app", "worker 3 died")
        self.assertEqual(
            self.current.read_text(),
            "2026-01-02T03:04:05.000Z 3 err what?\n2026-01-02T03:04:05.000Z -1 ood worker 3 died\n",
        )

    def test_tail(self) -> None:
        """The last lines are found, of one stream if asked."""
        for number in range(5):
            self.logs.lines("app", 0, "out" if number % 2 else "err", [str(number)])
        self.assertEqual(self.texts(2), ["3", "4"])
        self.assertEqual(self.texts(2, "out"), ["1", "3"])
        self.assertEqual(self.logs.tail("other", 5), [])

    def test_removed(self) -> None:
        """After somebody removed the file, or moved it away, the next line makes a new one."""
        self.logs.lines("app", 0, "out", ["first"])
        self.current.unlink()
        self.logs.lines("app", 0, "out", ["second"])
        self.assertEqual(self.texts(), ["second"])
        self.current.rename(self.directory / "app" / "kept")
        self.logs.lines("app", 0, "out", ["third"])
        self.assertEqual(self.texts(), ["third"])
        rmtree(self.directory / "app")
        self.logs.lines("app", 0, "out", ["fourth"])
        self.assertEqual(self.texts(), ["fourth"])

    def test_emptied(self) -> None:
        """A file that somebody emptied counts as empty: it is not put aside before it is full."""
        self.logs.lines("app", 0, "out", ["x" * 60_000] * 150)
        os.truncate(self.current, 0)
        self.logs.lines("app", 0, "out", ["x" * 60_000] * 150)
        self.assertEqual([path.name for path in self.current.parent.iterdir()], ["current.log"])

    def test_rotation(self) -> None:
        """Full files are put aside, compressed, found by tail, and pruned."""
        text = "x" * 60_000
        for _ in range(13):
            for _ in range(180):
                self.logs.lines("app", 0, "out", [text])
            self.clock.advance(1)
        self.logs.lines("app", 0, "out", ["last"])
        names = sorted(path.name for path in (self.directory / "app").iterdir())
        self.assertEqual(len(names), logfile.KEPT_FILES + 1)
        self.assertEqual(names[-1], "current.log")
        self.assertTrue(all(name.endswith(".log.gz") for name in names[:-1]))
        self.assertLess(self.current.stat().st_size, logfile.ROTATE_BYTES)
        with gzip.open(self.directory / "app" / names[0]) as file:
            self.assertTrue(file.read().endswith(b"x\n"))
        self.assertEqual(self.texts(400)[-1], "last")
        self.assertEqual(len(self.texts(400)), 400)

    def test_compression_elsewhere(self) -> None:
        """A full file is compressed off the reactor; the end of the service waits for it."""
        held: Deferred[None] = Deferred()
        work: list[Path] = []

        def in_thread(_function: Callable[[Path], None], path: Path) -> Deferred[None]:
            work.append(path)
            return held

        logs = Logs(self.directory, self.clock, in_thread, now=self.now)
        logs.startService()
        for _ in range(2):
            logs.lines("app", 0, "out", ["x" * 100_000] * (logfile.ROTATE_BYTES // 100_000))
        self.assertEqual([path.exists() for path in work], [True])
        stopped = logs.stopService()
        self.assertNoResult(stopped)
        held.callback(None)
        self.successResultOf(stopped)

    def test_follow(self) -> None:
        """Followers get each new line, also while one of them fails, until they end it."""
        seen: list[str] = []
        self.logs.follow("app", self.fail_at)
        end = self.logs.follow("app", lambda line: seen.append(line.text))
        self.logs.lines("app", 0, "out", ["a", "b"])
        end()
        self.logs.lines("app", 0, "out", ["c"])
        self.assertEqual(seen, ["a", "b"])
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 3)

    @staticmethod
    def fail_at(line: LogLine) -> None:
        raise IndexError(line.text)

    def test_full_disk(self) -> None:
        """A full disk stops nothing; when there is room again the log says what was lost."""
        self.current.parent.mkdir()
        self.current.symlink_to("/dev/full")
        self.logs.lines("app", 0, "out", ["one", "two"])
        self.logs.lines("app", 0, "out", ["three"])
        self.current.unlink()
        self.logs.lines("app", 0, "out", ["too early"])
        self.clock.advance(2)
        self.logs.lines("app", 0, "out", ["four"])
        lost = "4 lines were lost: No space left on device"
        self.assertEqual(self.texts(), [lost, "four"])

    def test_torn_line(self) -> None:
        """A line that was cut when the disk was full does not swallow the next one."""
        self.current.parent.mkdir()
        self.current.write_text("2026-01-02T03:04:05.000Z 0 out whole\n2026-01-02T03:04:0")
        self.logs.lines("app", 0, "out", ["next"])
        self.assertEqual(self.texts(), ["whole", "next"])

    def test_directory_can_not_be_made(self) -> None:
        """Where nothing can be written at all, lines are counted, no more."""
        (self.directory / "app").write_text("a file in the way")
        self.logs.lines("app", 0, "out", ["one"])
        os.unlink(self.directory / "app")
        self.clock.advance(2)
        self.logs.lines("app", 0, "out", ["two"])
        self.assertEqual(self.texts()[-1], "two")


class OutputTests(LogsTestCase):
    """What a worker writes."""

    def setUp(self) -> None:
        super().setUp()
        self.output = Output(self.clock, self.logs, "app", 1)

    def test_pieces(self) -> None:
        """Lines are joined from pieces, the streams kept apart, bytes that are no text replaced."""
        self.output.write("out", b"hel")
        self.output.write("err", b"oops\r\n")
        self.output.write("out", b"lo\n\xff\n\x1b[31mred")
        self.output.end()
        self.assertEqual(self.texts(), ["oops", "hello", "\ufffd", "\x1b[31mred"])

    def test_endless_line(self) -> None:
        """A line without an end is cut."""
        self.output.write("out", b"y" * 200_000)
        self.output.end()
        self.assertEqual(
            [len(text) for text in self.texts()], [65_536] * 3 + [200_000 - 3 * 65_536]
        )

    def test_flood(self) -> None:
        """A flood is counted instead of kept, and the log says so afterwards."""
        chunk = b"z" * 1023 + b"\n"
        for _ in range(40):
            self.output.write("out", chunk * 1024)
        kept = BURST_BYTES_MAX // 1024
        self.assertLessEqual(self.current.stat().st_size, BURST_BYTES_MAX * 1.1)
        self.clock.advance(BURST_BYTES_MAX / BYTES_PER_SECOND_MAX)
        self.output.write("out", b"calm\n")
        dropped = 40 * 1024 - kept
        self.assertEqual(
            self.texts(2), [f"worker 1 logged too much: {dropped} lines were left out", "calm"]
        )
