"""Whole nodes on the write-ahead log, whose power goes at any moment, again and again."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ood.raft import Node, Policy, Settings
from ood.raft.log import GatheringLog
from ood.raft.wal import Wal
from ood.testing.raft_cluster import MemoryCluster
from ood.testing.raft_files import MemoryFiles

HISTORIES = 12
ROUNDS = 6


class Story:
    """A cluster, its disks, and what it was given and acknowledged.

    :ivar acknowledged: commands whose Deferred fired with a result.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        settings = Settings(policy=Policy(snapshot_entries=15, keep_entries=3))
        self.cluster = MemoryCluster(settings)
        self.disks: dict[str, MemoryFiles] = {}
        self.acknowledged: list[bytes] = []
        self._given = 0

    def boot(self, id: str) -> Node:
        """Start a member from what its disk holds."""
        disk = self.disks.setdefault(id, MemoryFiles())
        wal = Wal(disk, lambda: self.random.randbytes(16), 2048)
        node = self.cluster.node(
            id,
            persistence=GatheringLog(wal, self.run, self.run),
            peers={peer: peer for peer in "abc" if peer != id},
        )
        self.cluster.result(node.start())
        return node

    def run(self, function: Any) -> Deferred[Any]:
        """Run it a little later, as a thread does."""
        done: Deferred[Any] = Deferred()

        def work() -> None:
            try:
                result = function()
            except Exception as error:
                done.errback(error)
            else:
                done.callback(result)

        self.cluster.clock.callLater(self.random.uniform(0.0, 0.02), work)
        return done

    def give(self, count: int) -> None:
        """Give commands to whoever runs; note what is acknowledged."""
        for _ in range(count):
            running = [node for node in self.cluster.nodes.values() if not node.stopped]
            if not running:
                return
            self._given += 1
            command = b"%d" % self._given
            done = self.random.choice(running).command(command, timeout=3)
            done.addBoth(self._answered, command)
            self.cluster.pass_time(self.random.uniform(0.0, 0.05))

    def _answered(self, result: object, command: bytes) -> None:
        if not isinstance(result, Failure):
            self.acknowledged.append(command)

    def crash(self, ids: list[str]) -> None:
        """Cut these members' power within their next few steps; then start them again."""
        for id in ids:
            disk = self.disks[id]
            disk.cut_at = len(disk.steps) + self.random.randrange(12)
        self.give(25)
        for id in ids:
            node = self.cluster.nodes[id]
            # Whatever did not come to its step stops here, and is torn all the same.
            self.disks[id].cut_at = min(self.disks[id].cut_at or 0, len(self.disks[id].steps))
            after = self.disks[id].after_crash(self.random)
            self.cluster.result(node.stop().addErrback(lambda _: None))
            self.disks[id] = after
            self.boot(id)


class PowerTests(SynchronousTestCase):
    """Nothing acknowledged is lost, whatever a disk forgets of what was not synced."""

    def test_histories(self) -> None:
        """One member, or all of them, lose power at any step, six times in a history."""
        for seed in range(HISTORIES):
            self.play(seed)
        self.flushLoggedErrors()

    def play(self, seed: int) -> None:
        story = Story(seed)
        for id in "abc":
            story.boot(id)
        story.give(20)
        for _ in range(ROUNDS):
            count = story.random.choice((1, 1, 2, 3))
            story.crash(story.random.sample("abc", count))
            story.give(5)
        cluster = story.cluster
        cluster.pass_time(5)  # whatever is still looking for a leader ends
        cluster.until(lambda: cluster.leader() is not None)
        cluster.result(cluster.nodes["a"].command(b"last", timeout=20))
        machines: list[Any] = [node.machine for node in cluster.nodes.values()]
        cluster.until(lambda: all(b"last" in m.commands for m in machines))
        for machine in machines[1:]:
            self.assertEqual(machine.commands, machines[0].commands, f"seed {seed}")
        held = machines[0].commands
        self.assertEqual(len(held), len(set(held)), f"seed {seed}: something applied twice")
        lost = [command for command in story.acknowledged if command not in held]
        self.assertEqual(lost, [], f"seed {seed}")
        self.assertGreater(len(story.acknowledged), 10, f"seed {seed}")
        cluster.stop()
