"""Slow and failing disks under a whole node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.raft.core.types import Entry, HardState, Identity, Role, Snapshot
from ood.raft.errors import StoppedError, StorageError
from ood.raft.events import RoleChanged, Stopped
from ood.raft.log import GatheringLog
from ood.raft.memory import MemoryPersistence
from ood.raft.wal import Wal
from ood.testing.raft_cluster import MemoryCluster
from ood.testing.raft_files import MemoryFiles
from tests.raft.storage.test_wal_crash import WHO, entry, snapshot


class SlowDisk(MemoryPersistence):
    """Takes its time for every save.

    :ivar seconds: how long one takes.
    :ivar broken: every save fails.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = 0.0
        self.broken = False
        self.tries = 0
        self._free = 0.0

    def _later(self, done: Deferred[None]) -> Deferred[None]:
        self.tries += 1
        if self.broken:
            return fail(OSError(5, "Input/output error"))
        slow: Deferred[None] = Deferred()
        self._free = max(self._free, self.clock.seconds()) + self.seconds
        self.clock.callLater(self._free - self.clock.seconds(), slow.callback, None)
        return slow

    def save_meta(self, identity: Identity, hard_state: HardState) -> Deferred[None]:
        return self._later(super().save_meta(identity, hard_state))

    def truncate(self, index: int) -> Deferred[None]:
        return self._later(super().truncate(index))

    def append(self, entries: Sequence[Entry]) -> Deferred[None]:
        return self._later(super().append(entries))

    def snapshot(self, snapshot: Snapshot, reset: bool = False) -> Deferred[None]:
        return self._later(super().snapshot(snapshot, reset))


class DiskTests(SynchronousTestCase):
    """A slow disk delays commands, not heartbeats; a broken one ends the node."""

    def setUp(self) -> None:
        self.cluster = MemoryCluster()
        self.disks = {id: SlowDisk(self.cluster.clock) for id in "abc"}
        self.cluster.stores.update(self.disks)
        self.cluster.start("a", "b", "c")
        self.addCleanup(self.cluster.stop)
        leader = self.cluster.leader()
        assert leader is not None
        self.leader = leader

    def test_heartbeats_go_on(self) -> None:
        """With saves of three seconds each the leader stays, and the command is done in the end."""
        for disk in self.disks.values():
            disk.seconds = 3.0
        term = self.leader.stats().status.term
        done = self.leader.command(b"x", timeout=60)
        self.cluster.pass_time(2.5)
        self.assertNoResult(done)
        self.assertEqual(self.cluster.result(done), 1)
        self.assertEqual(self.leader.stats().status.term, term)

    def test_slow_minority(self) -> None:
        """One slow disk does not slow the cluster down, also if it is the leader's."""
        self.disks[self.leader.id].seconds = 5.0
        begin = self.cluster.clock.seconds()
        self.assertEqual(self.cluster.result(self.leader.command(b"x")), 1)
        # Committed by the followers; the leader applies what it holds itself.
        self.assertLess(self.cluster.clock.seconds() - begin, 11)

    def test_broken(self) -> None:
        """A failed save stops the node for good: it is not tried again; the others go on."""
        disk = self.disks[self.leader.id]
        seen: list[object] = []
        self.leader.subscribe(seen.append)
        disk.broken = True
        done = self.leader.command(b"x")
        self.cluster.pass_time(0.1)
        self.failureResultOf(done, StoppedError)
        self.assertIn("Input/output error", self.leader.stopped)
        self.assertIn(Stopped(self.leader.stopped), seen)
        tries = disk.tries
        self.cluster.pass_time(5)
        self.assertEqual(disk.tries, tries)
        self.cluster.until(lambda: self.cluster.leader() is not None)
        new = self.cluster.leader()
        assert new is not None
        self.cluster.result(new.command(b"y"))
        self.failureResultOf(self.leader.read(), StoppedError)

    def test_log_that_can_not_be_closed(self) -> None:
        """Stopping ends, and says so, also where closing the log fails."""
        seen: list[object] = []
        self.leader.subscribe(seen.append)
        self.patch(self.disks[self.leader.id], "close", lambda: fail(OSError(5, "EIO")))
        first, second = self.leader.stop(), self.leader.stop()
        self.failureResultOf(first, OSError)
        self.successResultOf(second)
        self.assertEqual(seen[-1], Stopped(""))

    def test_no_vote_before_it_is_durable(self) -> None:
        """A vote is not sent while its save is under way."""
        for disk in self.disks.values():
            disk.seconds = 0.2
        followers = [node for node in self.cluster.nodes.values() if node is not self.leader]
        when: dict[Role, float] = {}

        def note(event: object) -> None:
            if isinstance(event, RoleChanged):
                when[event.role] = self.cluster.clock.seconds()

        for node in followers:
            node.subscribe(note)
        self.cluster.result(self.leader.stop())
        self.cluster.until(lambda: Role.LEADER in when)
        # The candidate's own vote, then the voter's.
        self.assertGreaterEqual(when[Role.LEADER] - when[Role.CANDIDATE], 0.4)


class GatheringTests(SynchronousTestCase):
    """What comes in during a write becomes one write."""

    def setUp(self) -> None:
        self.files = MemoryFiles()
        self.jobs: list[tuple[Any, Deferred[Any]]] = []
        self.log = GatheringLog(Wal(self.files), self.run_later, self.run_later)
        loading = self.log.load_state()
        self.do_all()
        self.successResultOf(loading)
        meta = self.log.save_meta(WHO, HardState(1, None))
        self.do_all()
        self.successResultOf(meta)

    def run_later(self, function: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.jobs.append((function, done))
        return done

    def do_one(self) -> None:
        function, done = self.jobs.pop(0)
        try:
            result = function()
        except Exception as error:
            done.errback(error)
        else:
            done.callback(result)

    def do_all(self) -> None:
        while self.jobs:
            self.do_one()

    def test_one_sync(self) -> None:
        """A hundred appends during one write cost one more sync."""
        first = self.log.append([entry(1, 1)])
        self.do_one()
        second = self.log.append([entry(2, 1)])
        before = self.files.steps.count("sync")
        rest = [self.log.append([entry(index, 1)]) for index in range(3, 103)]
        self.do_all()
        for done in (first, second, *rest):
            self.successResultOf(done)
        self.assertEqual(self.files.steps.count("sync") - before, 2)

    def test_nothing_fires_early(self) -> None:
        """A save has fired only when its own write is done."""
        first = self.log.append([entry(1, 1)])
        second = self.log.append([entry(2, 1)])
        self.do_one()
        self.successResultOf(first)
        self.assertNoResult(second)
        self.do_one()
        self.successResultOf(second)

    def test_failure_is_final(self) -> None:
        """After a failed sync every save under way and every later one fails, untried."""
        step = len(self.files.steps)
        self.files.fail_at = {step + offset: OSError(5, "EIO") for offset in range(3)}
        waiting = [self.log.append([entry(index, 1)]) for index in (1, 2)]
        self.do_all()
        for done in waiting:
            self.failureResultOf(done, StorageError)
        steps = len(self.files.steps)
        self.failureResultOf(self.log.append([entry(3, 1)]), StorageError)
        self.do_all()
        self.assertEqual(len(self.files.steps), steps)

    def test_failed_snapshot_file(self) -> None:
        """A snapshot that can't be written harms nothing: the log goes on."""
        done = self.log.append([entry(index, 1) for index in range(1, 5)])
        self.do_all()
        self.successResultOf(done)
        self.files.fail_at = {len(self.files.steps): OSError(28, "No space left on device")}
        taken = self.log.snapshot(snapshot(3, 1))
        self.do_all()
        self.failureResultOf(taken, StorageError)
        more = self.log.append([entry(5, 1)])
        self.do_all()
        self.successResultOf(more)
