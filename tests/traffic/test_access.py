"""Access logs on the disk: late by a second at most, and never in anybody's way."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from shutil import rmtree

from twisted.internet.defer import execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.model.document import App, Document, Settings
from ood.model.status import LogLine
from ood.traffic import access
from ood.traffic.access import AccessLogs
from ood.traffic.records import Record
from ood.traffic.traffic import Traffic


def record(target: str = "/") -> Record:
    return Record(
        time=1.0, client="c", method="GET", target=target, version="1.1", status=200, size=1,
        seconds=0.1, referer="", agent="", host="h", app="a", via="tcp",
    )  # fmt: skip


class AccessLogTests(SynchronousTestCase):
    """One directory of logs, with a Clock."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ood-access-"))
        self.addCleanup(rmtree, self.directory)
        self.clock = Clock()
        self.logs = AccessLogs(self.directory, self.clock, execute)
        self.path = self.directory / "a" / "access" / "current.log"

    def test_flush(self) -> None:
        """Lines are in the file a second later, in order, and nothing is due then."""
        log = self.logs.of("a")
        for number in range(3):
            log.write(record(f"/{number}"), "common")
        self.assertFalse(self.path.exists())
        self.clock.advance(access.FLUSH_SECONDS)
        self.assertEqual(
            [line.split()[6] for line in self.path.read_text().splitlines()], ["/0", "/1", "/2"]
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.path.stat().st_mode & 0o027, 0)

    def test_close(self) -> None:
        """The end of the service writes what is left."""
        self.logs.of("a").write(record(), "json")
        self.successResultOf(self.logs.close())
        self.assertEqual(self.path.read_bytes().count(b"\n"), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bounded(self) -> None:
        """What can't be kept is counted; when there is room again it goes on."""
        log = self.logs.of("a")
        self.patch(access, "BUFFER_BYTES_MAX", 300)
        for _ in range(10):
            log.write(record(), "common")
        lost = log.lost
        self.assertTrue(0 < lost < 10)
        self.clock.advance(access.FLUSH_SECONDS)
        log.write(record(), "common")
        self.assertEqual((log.lost, self.logs.lost()), (lost, {"a": lost}))

    def test_no_disk(self) -> None:
        """A file that can't be written costs its lines and one message, no more."""
        (self.directory / "a").write_text("in the way")
        log = self.logs.of("a")
        for _ in range(2):
            log.write(record(), "common")
            self.clock.advance(access.FLUSH_SECONDS)
        self.assertEqual(log.lost, 2)
        self.assertEqual(len(self.flushLoggedErrors()), 0)
        os.unlink(self.directory / "a")
        log.write(record(), "common")
        self.clock.advance(access.FLUSH_SECONDS)
        self.assertEqual(self.path.read_bytes().count(b"\n"), 1)

    def test_reading(self) -> None:
        """The last lines, and those to come."""
        log = self.logs.of("a")
        seen: list[LogLine] = []
        end = self.logs.follow("a", seen.append)
        for number in range(5):
            log.write(record(f"/{number}"), "combined")
        end()
        log.write(record("/late"), "combined")
        self.clock.advance(access.FLUSH_SECONDS)
        self.assertEqual([line.text.split()[6] for line in seen], [f"/{n}" for n in range(5)])
        tail = self.logs.tail("a", 2)
        self.assertEqual([line.text.split()[6] for line in tail], ["/4", "/late"])
        self.assertEqual((tail[0].time, tail[0].stream), ("1970-01-01T00:00:01.000Z", "access"))

    def test_settings(self) -> None:
        """An app's own word counts more than that of the settings; what is gone is forgotten."""
        traffic = Traffic(self.clock, self.logs)
        apps = {
            "a": App(cwd="/", port=1), "b": App(cwd="/", port=2, access_log="off"),
            "c": App(cwd="/", port=3, access_log="json"),
        }  # fmt: skip
        traffic.converge(Document(settings=Settings(access_log="common"), apps=apps))
        self.assertEqual([traffic.of(app).form for app in "abc"], ["common", "off", "json"])
        old = traffic.of("a")
        traffic.converge(Document())
        self.assertIsNot(traffic.of("a"), old)
        self.assertEqual(traffic.of("a").form, "off")
