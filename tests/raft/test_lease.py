"""Reads from a lease, in whole nodes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ood.raft import Options, Settings
from ood.testing.raft_cluster import MemoryCluster


class LeaseTests(SynchronousTestCase):
    """``Options(lease_reads=True)``."""

    def setUp(self) -> None:
        self.cluster = MemoryCluster(Settings(core=Options(lease_reads=True)))
        self.cluster.start("a", "b", "c")
        self.cluster.pass_time(0.2)
        leader = self.cluster.leader()
        assert leader is not None
        self.leader = leader
        self.addCleanup(self.cluster.stop)
        self.addCleanup(self.cluster.heal)

    def test_needs_no_round(self) -> None:
        """While the lease stands a read is served though nobody answers."""
        self.cluster.isolate(self.leader.id)
        done = self.leader.read()
        self.cluster.clock.advance(0)
        self.successResultOf(done)

    def test_does_not_outlive_a_pause(self) -> None:
        """A process that stood still first counts the time it missed, then reads."""
        self.cluster.isolate(self.leader.id)
        done = self.leader.read()
        self.cluster.clock.advance(5)  # the read comes before any timer
        self.assertNoResult(done)
        self.cluster.heal()
        self.cluster.result(done)
