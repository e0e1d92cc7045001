"""Clusters whose network is cut in every way, under clients that are judged."""

from __future__ import annotations

from twisted.trial.unittest import SkipTest

from tests.integration.raft.clients import Recorder, sleep
from tests.integration.raft.cluster import Processes
from tests.integration.raft.namespaces import Network, why_not
from tests.integration.raft.test_processes import RECOVERY_SECONDS, ProcessCase, leader_of


class PartitionTests(ProcessCase):
    """Each member in a network namespace of its own."""

    def setUp(self) -> None:
        reason = why_not()
        if reason:
            raise SkipTest(reason)
        self.network = Network("abc")
        self.addCleanup(self.network.down)
        self.network.up()
        self.processes: Processes = self.cluster(
            3, hosts=self.network.hosts, prefix=self.network.prefixes
        )
        self.processes.start()

    async def goes_on(self, recorder: Recorder) -> None:
        await recorder.until_more(30, RECOVERY_SECONDS)

    async def test_isolated_leader(self) -> None:
        """The leader is cut off from everybody, twice; the rest goes on, nothing is lost."""
        recorder = await self.working(self.processes)
        for _ in range(2):
            leader = await leader_of(self.processes.addresses)
            self.network.unplug(leader)
            await self.goes_on(recorder)
            self.network.plug(leader)
            await self.goes_on(recorder)
        await self.judge(recorder)

    async def test_partial_partition(self) -> None:
        """Two members can't reach each other, the third reaches both (Cloudflare 2020)."""
        recorder = await self.working(self.processes)
        leader = await leader_of(self.processes.addresses)
        other = next(name for name in "abc" if name != leader)
        for source, target in ((leader, other), (other, leader)):
            self.network.lose(source, target)
        await self.goes_on(recorder)
        await self.goes_on(recorder)
        for source, target in ((leader, other), (other, leader)):
            self.network.carry(source, target)
        await self.goes_on(recorder)
        await self.judge(recorder)

    async def test_one_way(self) -> None:
        """The leader's messages to all others get lost, theirs to it don't."""
        recorder = await self.working(self.processes)
        leader = await leader_of(self.processes.addresses)
        others = [name for name in "abc" if name != leader]
        for other in others:
            self.network.lose(leader, other)
        await self.goes_on(recorder)
        for other in others:
            self.network.carry(leader, other)
        await self.goes_on(recorder)
        await self.judge(recorder)

    async def test_cut_off_from_members(self) -> None:
        """Clients still reach the old leader, members don't: it must not serve old values."""
        recorder = await self.working(self.processes)
        for _ in range(2):
            leader = await leader_of(self.processes.addresses)
            pairs = [
                pair
                for other in "abc"
                if other != leader
                for pair in ((leader, other), (other, leader))
            ]
            for source, target in pairs:
                self.network.lose(source, target)
            await self.goes_on(recorder)
            for source, target in pairs:
                self.network.carry(source, target)
            await self.goes_on(recorder)
        await self.judge(recorder)

    async def test_no_majority(self) -> None:
        """With all cables out nothing is acknowledged; with them in again all goes on."""
        recorder = await self.working(self.processes)
        for name in "abc":
            self.network.unplug(name)
        before = recorder.done
        await sleep(2)
        self.assertLessEqual(recorder.done - before, 4)  # answers that were on their way
        for name in "abc":
            self.network.plug(name)
        await self.goes_on(recorder)
        await self.judge(recorder)
