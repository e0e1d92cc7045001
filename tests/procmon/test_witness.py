"""What is found of a worker that died: its file, the kernel's count, the record on the disk."""

from __future__ import annotations

import os
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from shutil import rmtree

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.model.document import App
from ood.procmon.core.join import Stats
from ood.procmon.core.lastwords import NOTHING
from ood.procmon.deaths.obituaries import DEATHS_KEPT, Obituaries
from ood.procmon.deaths.record import Death
from ood.procmon.deaths.witness import Witness, take
from ood.procmon.system.oomkills import OomKills
from ood.procmon.workers.output import TAIL_LINES, Tail

LEFT = b'{"requests":[["GET","/left",1]]}'


class WitnessTestCase(SynchronousTestCase):
    """A directory of one app's sockets."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ood-witness-"))
        self.addCleanup(rmtree, self.directory)

    def leave(self, pid: int, content: bytes = LEFT) -> Path:
        path = self.directory / f"last-{pid}"
        path.write_bytes(content)
        return path


class TakeTests(WitnessTestCase):
    """The file of a process."""

    def test_taken(self) -> None:
        """It is read once."""
        path = self.leave(7)
        self.assertEqual([one.path for one in take(self.directory, 7).requests], ["/left"])
        self.assertFalse(path.exists())
        self.assertEqual(take(self.directory, 7), NOTHING)

    def test_links(self) -> None:
        """A link in its place leads to no file of somebody else's."""
        secret = self.leave(1)
        (self.directory / "last-2").symlink_to(secret)
        os.link(secret, self.directory / "last-3")
        self.assertEqual(take(self.directory, 2), NOTHING)
        self.assertEqual(take(self.directory, 3), NOTHING)

    def test_no_file(self) -> None:
        """A pipe or a directory in its place holds nothing up."""
        os.mkfifo(self.directory / "last-4")
        (self.directory / "last-5").mkdir()
        self.assertEqual(take(self.directory, 4), NOTHING)
        self.assertEqual(take(self.directory, 5), NOTHING)


class Member:
    """A process that joined."""

    def __init__(self, pid: int, **stats: object) -> None:
        self.pid = pid
        self.stats = Stats(**stats)  # type: ignore[arg-type]

    def silent_seconds(self) -> float:
        return 2.0


class EvidenceTests(WitnessTestCase):
    """What is put together at the end."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.tail = Tail()
        self.witness = Witness(self.clock, OomKills(), self.directory, self.tail)
        self.app = App(cwd="/srv", port=3000, release="r1")

    def test_gone_before(self) -> None:
        """What a process left counts if its worker dies then, not much later."""
        self.leave(7)
        self.witness.gone(Member(7))
        self.assertEqual(len(self.witness.evidence(self.app, []).requests), 1)
        self.clock.advance(6)
        self.assertEqual(self.witness.evidence(self.app, []).requests, ())

    def test_slow(self) -> None:
        """Requests of which it told are the next best; they are older by now."""
        member = Member(7, slow=(("GET", "/slow?x", 1500),))
        (request,) = self.witness.evidence(self.app, [member]).requests
        self.assertEqual((request.path, request.age_ms), ("/slow", 3500))

    def test_rest(self) -> None:
        """Memory, its growth, the release and the last lines."""
        for second in range(0, 60, 5):
            self.clock.advance(5)
            self.witness.weigh(1000 * second)
        self.tail.add("out", [str(number) for number in range(1000)])
        self.tail.add("err", ["Error: x" + "y" * 9999])
        found = self.witness.evidence(self.app, [Member(7, rss=50_000)])
        self.assertEqual((found.release, found.memory_bytes), ("r1", 55_000))
        self.assertAlmostEqual(found.memory_growth or 0, 60_000)
        self.assertEqual(len(found.log), TAIL_LINES)
        self.assertEqual(found.log[-2], "999")
        self.assertEqual(len(found.err), 1)
        self.assertLess(len(found.err[0]), 1000)


class OomTests(WitnessTestCase):
    """The kernel's count of what it killed for memory."""

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def test_group(self) -> None:
        """The count of ood's own control group is used where there is one."""
        own = self.write("own", "0::/system/ood\n")
        vmstat = self.write("vmstat", "oom_kill 5\n")
        (self.directory / "system").mkdir()
        self.write("system/ood/memory.events", "oom 3\noom_kill 1\n")
        kills = OomKills(vmstat, own, self.directory)
        vmstat.write_text("oom_kill 9\n")
        self.assertFalse(kills.rose())
        self.write("system/ood/memory.events", "oom 3\noom_kill 2\n")
        self.assertTrue(kills.rose())
        kills.look()
        self.assertFalse(kills.rose())

    def test_machine(self) -> None:
        """Else that of the machine, or none."""
        own = self.write("own", "3:memory:/x\n")
        vmstat = self.write("vmstat", "pgfault 1\noom_kill 5\npgpgin 3\n")
        kills = OomKills(vmstat, own, self.directory)
        vmstat.write_text("oom_kill 6\n")
        self.assertTrue(kills.rose())
        nowhere = self.directory / "nowhere"
        self.assertFalse(OomKills(nowhere, nowhere, nowhere).rose())


class ObituaryTests(WitnessTestCase):
    """The record on the disk."""

    def kept(self) -> Obituaries:
        return Obituaries("shop", self.directory / "deaths" / "shop.json")

    def death(self, number: int = 0) -> Death:
        now = datetime(2026, 1, 2, 3, 4, number, tzinfo=timezone.utc)
        return Death(now, number, 1, "exited with status 1", 2.5, code=1)

    def test_bounded(self) -> None:
        """The last ones are kept, over a restart, and listed newest first."""
        deaths = self.kept()
        for number in range(DEATHS_KEPT + 5):
            deaths.append(self.death(number))
        listed = self.kept().listed().deaths
        self.assertEqual([one.instance for one in listed], list(range(24, 4, -1)))
        self.assertEqual((listed[0].uptime_ms, listed[0].time), (2500, "2026-01-02T03:04:24.000Z"))
        self.assertEqual([one.name for one in self.directory.rglob("*.json")], ["shop.json"])

    def test_damaged(self) -> None:
        """A damaged file is said to be so, and replaced by the next death."""
        self.kept().append(self.death())
        path = self.directory / "deaths" / "shop.json"
        for damage in (b"", b"[{}]", b"\xff", b"[" * 5000):
            path.write_bytes(damage)
            deaths = self.kept()
            self.assertEqual(deaths.listed().deaths, ())
            deaths.append(self.death(3))
            self.assertEqual(len(self.kept().listed().deaths), 1)

    def test_no_room(self) -> None:
        """Where nothing can be written they are kept in memory."""
        (self.directory / "deaths").write_text("in the way")
        deaths = self.kept()
        deaths.append(self.death())
        self.assertEqual(len(deaths.listed().deaths), 1)
