"""A hot spare; on a machine in memory."""

from __future__ import annotations

from ood.procmon.workers.spare import NEXT_SECONDS, TRY_AGAIN_SECONDS
from tests.procmon.machine import ContainerTestCase, Node


class SpareTests(ContainerTestCase):
    """An app with ``spare: 1``."""

    def begin(self) -> tuple[Node, Node]:
        """Start a worker and its spare; return both."""
        (first,) = self.start()
        self.clock.advance(60)
        self.converge(spare=1)
        return first, self.listen()

    def listen(self) -> Node:
        node = self.machine.nodes[-1]
        node.listen()
        self.machine.pump()
        return node

    def test_waits(self) -> None:
        """It starts when the others answer, and gets no requests."""
        self.begin()
        self.assertEqual(len(self.machine.nodes), 2)
        self.assertEqual(self.machine.nodes[1].env["NODE_APP_INSTANCE"], "1")
        self.assertEqual(len(self.container.roster.streams), 1)
        self.assertTrue(self.container.settled)

    def test_takes_over(self) -> None:
        """At a crash it serves within the same turn; another spare follows."""
        first, second = self.begin()
        spare = self.container.spare.worker
        first.exit(None, 9)
        self.assertEqual(self.states(), ["online"])
        self.assertIs(self.container.slots[0].worker, spare)
        self.assertEqual(len(self.container.roster.streams), 1)
        self.assertEqual(len(self.machine.nodes), 2, "first those who wait are answered")
        self.clock.advance(NEXT_SECONDS)
        self.assertEqual(len(self.machine.nodes), 3)
        self.assertEqual(self.machine.nodes[2].env["NODE_APP_INSTANCE"], "2")
        self.listen()
        self.clock.advance(60)
        second.exit(1)
        self.assertEqual(self.states(), ["online"])

    def test_dies_itself(self) -> None:
        """A spare that dies harms nobody, and is tried again after a pause."""
        _, spare = self.begin()
        spare.exit(1)
        self.assertEqual(self.states(), ["online"])
        self.clock.advance(TRY_AGAIN_SECONDS - 1)
        self.assertEqual(len(self.machine.nodes), 2)
        self.clock.advance(1)
        self.assertEqual(len(self.machine.nodes), 3)

    def test_renewed_by_a_restart(self) -> None:
        """After a restart the spare is a new one, too: the old one has the old files."""
        first, spare = self.begin()
        done = self.rolls.request()
        self.listen()
        self.clock.advance(3)
        first.exit()
        self.clock.pump([1] * 8)
        self.successResultOf(done)
        spare.exit()
        self.clock.pump([1] * 8)
        self.assertEqual(len(self.machine.nodes), 4)
        self.assertIsNotNone(self.container.spare.worker)

    def test_not_wanted(self) -> None:
        """Without the setting it goes."""
        self.begin()
        self.converge(spare=0)
        self.assertIsNone(self.container.spare.worker)
        self.assertEqual(len(self.container.leaving), 1)
