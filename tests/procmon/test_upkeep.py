"""What is looked after while workers run; on a machine in memory."""

from __future__ import annotations

import socket
from datetime import datetime, timedelta

from twisted.trial.unittest import SynchronousTestCase

from ood.net.fdchannel import FdChannel
from ood.procmon.core import schedule
from ood.procmon.upkeep import LOOK_SECONDS, SILENCE_SECONDS, Upkeep
from ood.procmon.workers.resources import Resources
from tests.procmon.machine import FIRST_PID, ContainerTestCase

NIGHT = datetime(2026, 3, 1, 3, 59, 30).astimezone()


class ScheduleTests(SynchronousTestCase):
    """Moments of a calendar."""

    def test_due(self) -> None:
        """A moment counts once: after the last look and not after this one."""
        minute = timedelta(minutes=1)
        four = NIGHT.replace(hour=4, minute=0, second=0)
        self.assertTrue(schedule.due("0 4 * * *", NIGHT, four))
        self.assertFalse(schedule.due("0 4 * * *", four, four + minute))
        self.assertFalse(schedule.due("0 4 * * *", NIGHT, NIGHT + minute / 3))
        self.assertFalse(schedule.due("* * * * *", four, four - minute), "the clock was set back")


class UpkeepTests(ContainerTestCase):
    """One app that is looked after."""

    def setUp(self) -> None:
        super().setUp()
        self.upkeep = Upkeep(
            self.clock,
            self.context.background,
            Resources(self.clock, list),
            lambda: [(self.container, self.rolls)],
            lambda: NIGHT + timedelta(seconds=self.clock.seconds()),
        )
        self.addCleanup(self.upkeep.stop)

    def looks(self, number: int) -> None:
        for _ in range(number):
            self.clock.advance(LOOK_SECONDS)

    def join(self) -> socket.socket:
        """Have a process join the worker; return its end of the channel."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        channel = FdChannel(self.context.fds, self.clock, ours, lambda _d, _f: None, lambda: None)
        worker = self.container.slots[0].worker
        assert worker is not None
        self.assertEqual(worker.admit(channel, FIRST_PID, self.container.hosts), "")
        channel.start()
        return theirs

    def live(self, sock: socket.socket) -> None:
        """The process gives a sign of life."""
        sock.sendall(b'{"ood":"stats","requests":1}\n')
        self.machine.pump()

    def test_hangs(self) -> None:
        """A worker that gave signs of life and stops to is replaced."""
        self.start()
        sock = self.join()
        self.upkeep.start()
        for _ in range(10):
            self.live(sock)
            self.looks(1)
        self.assertEqual(len(self.machine.nodes), 1)
        self.looks(int(SILENCE_SECONDS / LOOK_SECONDS) + 1)
        self.assertEqual(len(self.machine.nodes), 2)
        self.assertIn("hangs: no sign of life for 20 s", self.logs.texts[-1])

    def test_never_spoke(self) -> None:
        """One that never gave a sign of life has none to miss."""
        self.start()
        self.join()
        self.upkeep.start()
        self.looks(20)
        self.assertEqual(len(self.machine.nodes), 1)

    def test_ood_stood_still(self) -> None:
        """After ood itself stood still, workers have time to be heard again."""
        self.start()
        sock = self.join()
        self.upkeep.start()
        self.live(sock)
        self.clock.advance(300)
        self.looks(1)
        self.live(sock)
        self.looks(2)
        self.assertEqual(len(self.machine.nodes), 1)

    def test_calendar(self) -> None:
        """At the moment that cronRestart names, and only then, the workers are replaced."""
        self.converge(cron_restart="0 4 * * *")
        self.machine.nodes[-1].listen()
        self.machine.pump()
        self.upkeep.start()
        self.looks(5)
        self.assertEqual(len(self.machine.nodes), 1)
        self.looks(3)
        self.assertEqual(len(self.machine.nodes), 2)
        self.machine.nodes[-1].exit(1)
        self.assertIn("cronRestart: app: worker 0", self.logs.texts[-1])
        self.looks(20)
        self.assertEqual(len(self.machine.nodes), 2)
