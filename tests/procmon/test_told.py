"""What processes tell of their requests: believed as far as it can be true."""

from __future__ import annotations

import tempfile
from pathlib import Path
from shutil import rmtree

import msgspec
from twisted.internet.defer import execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.interfaces import Worker
from ood.model.status import LogLine
from ood.procmon.core import join
from ood.procmon.members import told
from ood.procmon.members.told import Told
from ood.traffic.access import AccessLogs
from ood.traffic.meter import lately
from ood.traffic.traffic import HANDED, AppTraffic

LINE = [1e12, "1.2.3.4", "GET", "/a\nb", "1.1", 200, 5, 1.5, "r", "u", "h", "7"]


def meter(ok: int, failed: int, **more: int) -> join.Meter:
    buckets = [ok, *[0] * 13, failed]
    return join.Meter(status=[0, ok, 0, 0, failed], buckets=buckets, **more)


class ToldTests(SynchronousTestCase):
    """One process of one app."""

    def setUp(self) -> None:
        self.traffic = AppTraffic("a")
        self.told = Told(Worker(app="a", instance=3), self.traffic)

    def test_counts(self) -> None:
        """Only what is new is added: to the app what clients' connections brought, to the
        process all."""
        self.told.count(join.Stats(handed=meter(2, 1), piped=meter(5, 0)), 1.0)
        self.told.count(join.Stats(handed=meter(4, 1, bytes=70), piped=meter(5, 0)), 2.0)
        handed = self.traffic.tally(HANDED)
        self.assertEqual((handed.classes, handed.size), ([0, 0, 4, 0, 0, 1], 70))
        self.assertEqual(self.told.tally.classes, [0, 0, 9, 0, 0, 1])
        self.assertEqual(lately([self.told.tally], 2.0).errors_per_second, 0.1)

    def test_nonsense(self) -> None:
        """Counts that go back take nothing away."""
        self.told.count(join.Stats(handed=meter(4, 1)), 1.0)
        self.told.count(join.Stats(handed=meter(0, 2)), 2.0)
        self.assertEqual(self.traffic.tally(HANDED).classes, [0, 0, 4, 0, 0, 2])

    def test_in_flight(self) -> None:
        """What a process had under way ends with it."""
        self.told.count(join.Stats(handed=meter(0, 0, in_flight=3)), 1.0)
        self.told.count(join.Stats(handed=meter(0, 0, in_flight=2)), 2.0)
        self.assertEqual(self.traffic.tally(HANDED).in_flight, 2)
        self.told.end()
        self.told.end()
        self.assertEqual(self.traffic.tally(HANDED).in_flight, 0)

    def access(self, *lines: object, lost: int = 0) -> join.Access:
        text = msgspec.json.encode({"lost": lost, "lines": lines})
        message = join.decode(join.ACCESS_PREFIX + text[1:])
        assert isinstance(message, join.Access)
        return message

    def log(self) -> list[LogLine]:
        """Have an access log; return the list that its lines come into."""
        directory = Path(tempfile.mkdtemp(prefix="ood-told-"))
        self.addCleanup(rmtree, directory)
        logs = AccessLogs(directory, Clock(), execute)
        self.traffic.configure("common", logs.of("a"))
        seen: list[LogLine] = []
        logs.follow("a", seen.append)
        self.lost = lambda: logs.of("a").lost
        return seen

    def test_lines(self) -> None:
        """A line has the worker's number from ood's own books, and stays one line."""
        seen = self.log()
        self.told.write(self.access(LINE, lost=2), 0.0)
        [line] = seen
        self.assertEqual(line.instance, 3)
        self.assertIn('"GET /a\\x0Ab HTTP/1.1" 200 5', line.text)
        self.assertEqual(self.lost(), 2)

    def test_too_many(self) -> None:
        """What no process can have answered is not written; a second later it goes on."""
        self.patch(told, "LINES_PER_SECOND_MAX", 5)
        seen = self.log()
        for now in (1.0, 1.2, 2.5):
            self.told.write(self.access(*[LINE] * 4), now)
        self.assertEqual((len(seen), self.lost()), (9, 3))

    def test_refused(self) -> None:
        """What is no such message ends the process's membership."""
        for index, value in ((5, 99), (5, 600), (0, -1), (0, 1e18), (6, -1), (1, 7)):
            line = [*LINE]
            line[index] = value
            self.assertRaises(join.InvalidMessageError, self.access, line)
        self.assertRaises(join.InvalidMessageError, self.access, LINE[:11])
        self.access([*LINE, "what a newer guard may add"])
