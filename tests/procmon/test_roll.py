"""Rolling restarts, with and without a candidate; on a machine in memory."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from ood.errors import WorkerError
from ood.procmon.roll import SETTLE_FIRST_SECONDS
from tests.procmon.machine import ContainerTestCase, Node


class RollTestCase(ContainerTestCase):
    """What both kinds of rolls share."""

    def listen(self) -> Node:
        """The newest process comes up, and stays."""
        node = self.machine.nodes[-1]
        node.listen()
        self.machine.pump()
        self.clock.advance(SETTLE_FIRST_SECONDS)
        return node

    def pause(self) -> None:
        """Everything that is under way comes to its end."""
        for _ in range(8):
            self.clock.advance(1)


class RollTests(RollTestCase):
    """Rolling restarts."""

    def test_one_after_the_other(self) -> None:
        """Each new worker answers before its old one drains; never two more than wanted."""
        old = self.start(2)
        done = self.rolls.request()
        for number in range(2):
            self.assertEqual(len(self.machine.nodes), 3 + number)
            self.assertEqual(self.states(), ["online", "online"])
            self.listen()
            self.assertNoResult(done)
            old[number].exit()
            self.clock.advance(1)
            self.clock.advance(1)
        self.successResultOf(done)
        self.assertEqual([slot.restarts for slot in self.container.slots.values()], [0, 0])

    def test_bad_release(self) -> None:
        """If the new one dies, the restart fails, and the old ones were never touched."""
        self.start(2)
        before = [slot.worker for slot in self.container.slots.values()]
        done = self.rolls.request()
        self.machine.nodes[-1].protocol.errReceived(b"broken\n")
        self.machine.nodes[-1].exit(1)
        error = self.failureResultOf(done, WorkerError).value
        self.assertIn("broken", error.log)
        self.clock.advance(60)
        self.assertEqual([slot.worker for slot in self.container.slots.values()], before)
        self.assertEqual(self.states(), ["online", "online"])
        self.assertEqual(len(self.machine.nodes), 3)

    def test_dies_late(self) -> None:
        """One that exits some seconds after it came up fails the restart; it got no request."""
        self.start()
        done = self.rolls.request()
        fresh = self.machine.nodes[-1]
        fresh.listen()
        self.machine.pump()
        self.clock.advance(SETTLE_FIRST_SECONDS - 0.5)
        self.assertEqual(len(self.container.roster.streams), 1)
        self.assertNoResult(done)
        fresh.exit(1)
        error = self.failureResultOf(done, WorkerError).value
        self.assertIn("exited with status 1 after 2.5 s", error.message)
        self.assertEqual((self.states(), len(self.machine.nodes)), (["online"], 2))

    def test_serves_when_settled(self) -> None:
        """The new one serves before the old one drains; each later one has to stay minUptime."""
        old = self.start(2)
        self.converge(min_uptime=2000)
        self.rolls.request()
        self.listen()
        self.assertEqual(len(self.container.roster.streams), 2)
        self.assertEqual([worker.state for worker in self.container.leaving], ["draining"])
        old[0].exit()
        self.clock.advance(1)
        self.machine.nodes[-1].listen()
        self.machine.pump()
        self.clock.advance(1.9)
        self.assertEqual(self.container.leaving, set())
        self.clock.advance(0.1)
        self.assertEqual(len(self.container.leaving), 1)

    def test_joined(self) -> None:
        """A second request joins the first."""
        (old,) = self.start()
        done = [self.rolls.request(), self.rolls.request()]
        self.listen()
        old.exit()
        self.pause()
        for one in done:
            self.successResultOf(one)
        self.assertEqual(len(self.machine.nodes), 2)

    def test_settings_changed_meanwhile(self) -> None:
        """A request after a change does not join a restart with older settings."""
        (old,) = self.start()
        first = self.rolls.request()
        self.converge(env={"RELEASE": "2"})
        second = self.rolls.request()
        self.listen()
        old.exit()
        self.pause()
        self.successResultOf(first)
        self.assertNoResult(second)
        self.listen()
        self.pause()
        self.successResultOf(second)
        self.assertEqual(self.machine.nodes[-1].env["RELEASE"], "2")

    def test_stopped_meanwhile(self) -> None:
        """Stopping the app ends a restart."""
        self.start()
        done = self.rolls.request()
        self.converge(running=False)
        self.failureResultOf(done, WorkerError)

    def test_of_a_crashing_app(self) -> None:
        """An app in back-off is started at once."""
        self.converge()
        self.machine.nodes[-1].exit(1)
        done = self.rolls.request()
        self.assertEqual(len(self.machine.nodes), 2)
        self.listen()
        self.successResultOf(done)


class CandidateTests(RollTestCase):
    """Rolls to settings that the document does not have yet."""

    def roll(self, **changes: Any) -> Deferred[None]:
        self.candidate = msgspec.structs.replace(self.app, **changes)
        return self.rolls.request(self.candidate)

    def releases(self) -> list[str]:
        """Return what each slot's worker runs."""
        slots = self.container.slots.values()
        return [str(slot.worker and slot.worker.plan.app.env.get("R", "old")) for slot in slots]

    def test_stands(self) -> None:
        """After a success all run the candidate, and an equal document changes nothing."""
        old = self.start(2)
        done = self.roll(env={"R": "new"})
        for node in old:
            self.assertEqual(self.listen().env["R"], "new")
            self.assertNoResult(done)
            node.exit()
            self.pause()
        self.successResultOf(done)
        self.assertEqual(self.container.app, self.candidate)
        self.converge(env={"R": "new"})
        self.pause()
        self.assertEqual((self.releases(), len(self.machine.nodes)), (["new", "new"], 4))
        self.assertFalse(any(map(self.container.stale, self.container.workers())))

    def test_failure_half_way(self) -> None:
        """If the second new worker fails, the first one's place gets an old one again."""
        old = self.start(2)
        done = self.roll(env={"R": "new"})
        first = self.listen()
        old[0].exit()
        self.pause()
        self.machine.nodes[-1].protocol.errReceived(b"no second one\n")
        self.machine.nodes[-1].exit(1)
        self.assertNoResult(done)
        self.assertEqual((self.releases(), self.states()), (["new", "old"], ["online", "online"]))
        self.assertNotIn("R", self.listen().env)
        first.exit()
        self.pause()
        error = self.failureResultOf(done, WorkerError).value
        self.assertIn("no second one", error.log)
        self.assertEqual((self.releases(), self.states()), (["old", "old"], ["online", "online"]))
        self.assertEqual(self.container.app, self.app)
        self.assertEqual(len(self.machine.nodes), 5)

    def test_way_back_blocked(self) -> None:
        """If the old one can't come back either, the new one serves, and an old one follows it."""
        old = self.start(2)
        done = self.roll(env={"R": "new"})
        first = self.listen()
        old[0].exit()
        self.pause()
        self.machine.nodes[-1].exit(1)
        self.machine.nodes[-1].exit(1)
        self.failureResultOf(done, WorkerError)
        self.assertEqual((self.releases(), self.states()), (["new", "old"], ["online", "online"]))
        self.pause()
        first.exit(1)
        self.assertNotIn("R", self.listen().env)
        self.assertEqual(self.releases(), ["old", "old"])

    def test_old_one_crashes_meanwhile(self) -> None:
        """Who takes a crashed old worker's place runs what that one ran."""
        old = self.start(2)
        done = self.roll(env={"R": "new"})
        fresh = self.machine.nodes[-1]
        self.clock.advance(5)
        old[1].exit(1)
        self.assertNotIn("R", self.listen().env)
        fresh.exit(1)
        self.failureResultOf(done, WorkerError)
        self.assertEqual((self.releases(), self.states()), (["old", "old"], ["online", "online"]))

    def test_not_online_slot(self) -> None:
        """A candidate repairs an app that does not come up; a bad one leaves it as it was."""
        self.converge()
        self.machine.nodes[-1].exit(1)
        bad = self.roll(env={"R": "bad"})
        self.machine.nodes[-1].exit(1)
        self.failureResultOf(bad, WorkerError)
        self.assertEqual(self.states(), ["waiting-restart"])
        good = self.roll(env={"R": "good"})
        self.listen()
        self.pause()
        self.successResultOf(good)
        self.assertEqual((self.releases(), self.states()), (["good"], ["online"]))
        self.assertEqual(len(self.machine.nodes), 3)

    def test_way_back(self) -> None:
        """What ran before is not watched again: the way back has to be fast."""
        (old,) = self.start()
        there = self.roll(env={"R": "new"})
        new = self.listen()
        old.exit()
        self.pause()
        self.successResultOf(there)
        back = self.rolls.request(self.app)
        self.machine.nodes[-1].listen()
        self.machine.pump()
        self.assertEqual(self.releases(), ["old"])
        new.exit()
        self.clock.advance(0.1)
        self.successResultOf(back)

    def test_scaled_meanwhile(self) -> None:
        """What else was changed during the roll stays changed, and new numbers roll too."""
        (old,) = self.start()
        done = self.roll(env={"R": "new"})
        self.converge(instances=2, kill_timeout=7)
        self.machine.nodes[-2].listen()
        self.listen()
        old.exit()
        self.pause()
        self.listen()
        self.machine.nodes[-2].exit()
        self.pause()
        self.successResultOf(done)
        self.assertEqual(self.releases(), ["new", "new"])
        self.assertEqual((self.container.app.instances, self.container.app.kill_timeout), (2, 7))

    def test_restart_during_it(self) -> None:
        """A plain restart joins a candidate that succeeds; another candidate waits its turn."""
        (old,) = self.start()
        first = self.roll(env={"R": "1"})
        joined, second = self.rolls.request(), self.roll(env={"R": "2"})
        one = self.listen()
        old.exit()
        self.pause()
        self.successResultOf(first)
        self.successResultOf(joined)
        self.assertNoResult(second)
        self.listen()
        one.exit()
        self.pause()
        self.successResultOf(second)
        self.assertEqual(self.releases(), ["2"])

    def test_crash_keeps_settings(self) -> None:
        """Changed settings wait for a roll: a crash does not bring them in."""
        (old,) = self.start()
        self.converge(env={"R": "new"})
        self.clock.advance(60)
        old.exit(None, 9)
        self.assertNotIn("R", self.listen().env)

    def test_changed_settings_repair(self) -> None:
        """Who dies again and again gets the changed settings: old ones do not help it."""
        (old,) = self.start()
        old.exit(1)
        self.converge(env={"R": "new"})
        self.clock.advance(1)
        self.assertEqual(self.listen().env["R"], "new")
