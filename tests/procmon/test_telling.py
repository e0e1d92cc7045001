"""What happens to workers becomes events; on a machine in memory."""

from __future__ import annotations

from typing import Any

from ood.errors import WorkerError
from ood.events import Event
from tests.procmon.test_roll import RollTestCase


class TellingTests(RollTestCase):
    """Each thing that happens is told once."""

    def setUp(self) -> None:
        super().setUp()
        self.told: list[Event] = []
        self.addCleanup(self.context.events.subscribe(self.told.append))

    def data(self, kind: str, *keys: str) -> list[tuple[Any, ...]]:
        events = [event for event in self.told if event.kind == kind]
        self.assertLessEqual({event.app for event in events}, {"app"})
        return [tuple(event.data[key] for key in keys) for event in events]

    def test_life(self) -> None:
        """A worker's states, in their order, with its process id."""
        (node,) = self.start()
        self.converge(running=False)
        node.exit()
        self.clock.advance(1)
        states = [state for (state,) in self.data("worker", "state")]
        self.assertEqual(states, ["launching", "online", "draining", "stopping", "stopped"])
        self.assertEqual({pid for (pid,) in self.data("worker", "pid")}, {node.pid})
        self.assertEqual(self.data("death"), [])

    def test_death(self) -> None:
        """A death tells how, and after how long."""
        (node,) = self.start()
        self.clock.advance(2.5)
        node.exit(None, 9)
        keys = ("instance", "pid", "code", "signal", "uptimeMs", "reason")
        expected = [(0, node.pid, None, "SIGKILL", 2500, "was killed by SIGKILL")]
        self.assertEqual(self.data("death", *keys), expected)
        self.machine.nodes[-1].exit(3)
        self.assertEqual(self.data("death", "code", "signal")[-1], (3, None))

    def test_errored_and_recovered(self) -> None:
        """Both are told once, however many workers there are."""
        self.converge(instances=2, max_restarts=2)
        for _ in range(3):
            for node in self.machine.nodes[-2:]:
                node.exit(1)
            self.clock.advance(60)
        self.assertEqual(self.data("errored", "reason"), [("exited with status 1",)])
        self.assertEqual(self.data("recovered"), [])
        for node in self.machine.nodes[-2:]:
            self.assertEqual(self.data("recovered"), [])
            node.listen()
            self.machine.pump()
        self.assertEqual(self.data("recovered"), [()])
        self.assertIn((None, "errored"), self.data("worker", "pid", "state"))

    def test_stopped_is_not_recovered(self) -> None:
        """An errored app that is stopped does not answer again."""
        self.converge(max_restarts=1)
        self.machine.nodes[-1].exit(1)
        self.converge(running=False)
        self.clock.advance(60)
        self.assertEqual((len(self.data("errored")), self.data("recovered")), (1, []))

    def test_restart(self) -> None:
        """A restart begins, goes on, and ends or fails."""
        old = self.start(2)
        done = self.rolls.request()
        for number in range(2):
            self.listen()
            old[number].exit()
            self.clock.advance(2)
        self.successResultOf(done)
        phases = [("begun", 0, 2), ("progress", 1, 2), ("progress", 2, 2), ("ended", 2, 2)]
        self.assertEqual(self.data("restart", "phase", "done", "workers"), phases)
        self.told.clear()
        done = self.rolls.request()
        self.machine.nodes[-1].exit(1)
        reason = self.failureResultOf(done, WorkerError).value.message
        told = [("begun", ""), ("failed", reason)]
        self.assertEqual(self.data("restart", "phase", "reason"), told)
