"""Whole nodes, in memory, on a clock that the test advances."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.raft import Node, Options, OutcomeUnknownError, Policy, RaftError, RedirectError, Settings
from ood.raft.core.machine import SessionError
from ood.raft.core.types import Role
from ood.raft.errors import ChangeError, StoppedError
from ood.raft.events import LeaderChanged, MembershipChanged, RoleChanged, SnapshotSaved, Stopped
from ood.raft.stats import prometheus
from ood.testing.raft_cluster import MemoryCluster


class AloneTests(SynchronousTestCase):
    """``Node()`` works by itself."""

    def test_defaults(self) -> None:
        """Without any option: it gets an id, leads, and applies commands."""
        clock = Clock()
        node = Node(clock=clock, random=Random(1))
        self.successResultOf(node.start())
        self.assertEqual(len(node.id), 32)
        self.assertEqual(node.peers, [])
        clock.pump([0.05] * 40)
        self.assertEqual(node.leader, node.id)
        done = node.command(b"x")
        clock.advance(0)
        clock.advance(0)
        self.assertEqual(self.successResultOf(done), b"x")
        self.successResultOf(node.stop())
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_uuid(self) -> None:
        """A function of the user makes the ids."""
        names = iter(("first", "second"))
        self.assertEqual(Node(uuid=lambda: next(names), clock=Clock()).id, "first")

    def test_callbacks(self) -> None:
        """A callback is called as ``callback(err, result)``."""
        clock = Clock()
        node = Node(clock=clock)
        calls: list[tuple[object, object]] = []
        note = lambda err, result: calls.append((err, result))  # noqa: E731
        node.start(note)
        clock.pump([0.05] * 40)
        node.command(b"x", callback=note)
        clock.pump([0, 0])
        node.read(callback=note)
        clock.pump([0, 0])
        node.stop(note)
        node.read(callback=note)
        self.assertEqual(calls[:2], [(None, None), (None, b"x")])
        self.assertEqual(calls[2][0], None)
        self.assertEqual(calls[3], (None, None))
        self.assertIsInstance(calls[4][0], StoppedError)

    def test_imports_nothing_else_of_ood(self) -> None:
        """The library stands alone: the rest of ood is not loaded with it."""
        code = (
            "import sys; from ood.raft import Node; "
            "print(sorted(m for m in sys.modules if m.startswith('ood.') "
            "and not m.startswith('ood.raft')))"
        )
        environ = {"PYTHONPATH": os.pathsep.join(sys.path)}
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env=environ
        )
        self.assertEqual(
            out.stdout.decode().strip(), "['ood.background', 'ood.clock', 'ood.errors']"
        )

    def test_not_started(self) -> None:
        """What can't be done is refused, with the reason."""
        node = Node(clock=Clock())
        self.failureResultOf(node.read(), StoppedError)


class ClusterCase(SynchronousTestCase):
    """Tests with a cluster that is stopped in the end."""

    settings: Settings | None = None

    def setUp(self) -> None:
        self.cluster = MemoryCluster(self.settings)
        self.addCleanup(self.check_stop)

    def check_stop(self) -> None:
        self.cluster.heal()
        self.cluster.stop()
        self.cluster.pass_time(0.1)
        self.assertEqual(self.cluster.clock.getDelayedCalls(), [])

    def assert_same_state(self, count: int) -> None:
        nodes = [node for node in self.cluster.nodes.values() if not node.stopped]
        self.cluster.until(
            lambda: all(len(node.machine.commands) == count for node in nodes)  # type: ignore[attr-defined]
        )
        first = nodes[0].machine.commands  # type: ignore[attr-defined]
        for node in nodes[1:]:
            self.assertEqual(node.machine.commands, first)  # type: ignore[attr-defined]


class CommandTests(ClusterCase):
    """Commands are applied on every member, wherever they were given."""

    def test_on_every_node(self) -> None:
        """The leader takes commands, followers forward them, all hold the same."""
        nodes = self.cluster.start("a", "b", "c")
        for number, node in enumerate(nodes * 3, 1):
            self.assertEqual(self.cluster.result(node.command(b"%d" % number)), number)
        self.assert_same_state(9)

    def test_many_in_one_turn(self) -> None:
        """Commands of one turn are gathered: they cost a few saves, not one each."""
        self.cluster.start("a", "b", "c")
        leader = self.cluster.leader()
        assert leader is not None
        before = leader.stats().saves
        done = [leader.command(b"%d" % number) for number in range(500)]
        self.assertEqual([self.cluster.result(d) for d in done], list(range(1, 501)))
        self.assertLess(leader.stats().saves - before, 5)

    def test_without_forwarding(self) -> None:
        """A follower that must not forward says who leads and where."""
        nodes = self.cluster.start("a", "b", "c")
        leader = self.cluster.leader()
        assert leader is not None
        follower = next(node for node in nodes if node is not leader)
        with self.assertRaises(RedirectError) as caught:
            self.cluster.result(follower.command(b"x", forward=False))
        self.assertEqual((caught.exception.leader, caught.exception.address), (leader.id,) * 2)

    def test_no_majority(self) -> None:
        """Without a majority the leader's command ends as unknown; after healing it may count."""
        self.cluster.start("a", "b", "c")
        leader = self.cluster.leader()
        assert leader is not None
        self.cluster.isolate(leader.id)
        with self.assertRaises(OutcomeUnknownError):
            self.cluster.result(leader.command(b"x", timeout=0.3))

    def test_lost_leadership_is_tried_again(self) -> None:
        """A command that another leader's entry displaced is given to that leader."""
        self.cluster.start("a", "b", "c")
        old = self.cluster.leader()
        assert old is not None
        self.cluster.isolate(old.id)
        done = old.command(b"mine", timeout=20)
        others = [node for node in self.cluster.nodes.values() if node is not old]
        self.cluster.until(lambda: any(node.driver.leading for node in others))
        new = next(node for node in others if node.driver.leading)
        self.cluster.result(new.command(b"theirs"))
        self.cluster.heal()
        self.assertEqual(self.cluster.result(done), 2)
        self.assert_same_state(2)

    def test_session(self) -> None:
        """A command sent twice with the same sequence is applied once, same answer."""
        nodes = self.cluster.start("a", "b", "c")
        self.cluster.result(nodes[0].command(b"", "s", 0))
        first = self.cluster.result(nodes[0].command(b"x", "s", 1))
        again = self.cluster.result(nodes[1].command(b"x", "s", 1))
        self.assertEqual((first, again), (1, 1))
        self.assert_same_state(1)

    def test_unknown_session(self) -> None:
        """A session that was never opened is refused on the leader."""
        self.cluster.start("a")
        with self.assertRaises(SessionError):
            self.cluster.result(self.cluster.nodes["a"].command(b"x", "s", 1))

    def test_too_big(self) -> None:
        """A command that would not fit into a frame is refused at once."""
        node = self.cluster.start("a")[0]
        failure = self.failureResultOf(node.command(bytes(9 << 20)), RaftError)
        self.assertIn("9437184 bytes", str(failure.value))

    def test_failover(self) -> None:
        """When the leader is gone another one takes over; nothing acknowledged is lost."""
        self.cluster.start("a", "b", "c")
        leader = self.cluster.leader()
        assert leader is not None
        for number in range(10):
            self.cluster.result(leader.command(b"%d" % number))
        self.cluster.result(leader.stop())
        self.cluster.until(lambda: self.cluster.leader() is not None)
        new = self.cluster.leader()
        assert new is not None
        self.assertEqual(self.cluster.result(new.command(b"more")), 11)


class ReadTests(ClusterCase):
    """Reads see everything that was acknowledged before."""

    def test_on_every_node(self) -> None:
        """After ``read`` a follower's own machine holds what the leader acknowledged."""
        nodes = self.cluster.start("a", "b", "c")
        for number in range(5):
            self.cluster.result(nodes[0].command(b"x"))
            for node in nodes:
                self.cluster.result(node.read())
                self.assertEqual(len(node.machine.commands), number + 1)  # type: ignore[attr-defined]

    def test_cut_off_leader(self) -> None:
        """A leader that lost its followers answers no read, however sure it feels."""
        self.cluster.start("a", "b", "c")
        leader = self.cluster.leader()
        assert leader is not None
        self.cluster.isolate(leader.id)
        with self.assertRaises(RaftError):
            self.cluster.result(leader.read(timeout=0.4))


class MembershipTests(ClusterCase):
    """Members come and go."""

    def test_join(self) -> None:
        """A node grows to five; each joined one catches up and votes."""
        first = self.cluster.start("a")[0]
        for number in range(20):
            self.cluster.result(first.command(b"%d" % number))
        for id in "bcde":
            self.cluster.result(self.cluster.node(id, bootstrap=False).start())
            self.assertEqual(self.cluster.result(first.join(id)), id)
        self.assertEqual(first.peers, ["b", "c", "d", "e"])
        self.assert_same_state(20)
        self.cluster.result(first.stop())
        self.cluster.until(lambda: self.cluster.leader() is not None)
        self.assertEqual(self.cluster.result(self.cluster.nodes["e"].command(b"x")), 21)

    def test_join_through_follower(self) -> None:
        """Any member can be asked."""
        nodes = self.cluster.start("a", "b", "c")
        follower = next(node for node in nodes if node is not self.cluster.leader())
        self.cluster.result(self.cluster.node("d", bootstrap=False).start())
        self.cluster.result(follower.join("d"))
        self.assertIn("d", nodes[0].peers)

    def test_join_of_a_node_with_a_log(self) -> None:
        """A node that already is a cluster is refused."""
        first = self.cluster.start("a")[0]
        other = self.cluster.node("b")
        self.cluster.result(other.start())
        self.cluster.until(lambda: other.leader == "b")
        with self.assertRaises(ChangeError) as caught:
            self.cluster.result(first.join("b"))
        self.assertIn("bootstrap=False", str(caught.exception))

    def test_lost_disk(self) -> None:
        """A member that comes back with an empty disk is told to be replaced, and can be."""
        nodes = self.cluster.start("a", "b", "c")
        self.cluster.result(nodes[0].command(b"x"))
        self.cluster.pass_time(1)
        self.cluster.result(nodes[2].stop())
        del self.cluster.stores["c"]
        self.cluster.result(self.cluster.node("c", bootstrap=False).start())
        with self.assertRaises(RaftError) as caught:
            self.cluster.result(nodes[0].join("c"))
        self.assertIn("lost its disk", str(caught.exception))
        self.cluster.result(nodes[0].leave("c"))
        self.cluster.result(nodes[0].join("c"))
        self.assert_same_state(1)

    def test_moved(self) -> None:
        """A member that comes back at another address is found again."""
        nodes = self.cluster.start("a", "b", "c")
        self.cluster.result(nodes[2].stop())
        self.cluster.result(
            self.cluster.node("c", address="elsewhere", peers={"a": "a", "b": "b"}).start()
        )
        self.cluster.until(lambda: self.cluster.leader() is not None)
        self.cluster.result(nodes[0].command(b"x"))
        self.assert_same_state(1)

    def test_stop_twice(self) -> None:
        """Stopping again, or without a start, does no harm."""
        node = self.cluster.start("a")[0]
        first, second = node.stop(), node.stop()
        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(self.cluster.node("b").stop())

    def test_leave(self) -> None:
        """A member leaves, the leader too; the rest goes on."""
        nodes = self.cluster.start("a", "b", "c", "d")
        leader = self.cluster.leader()
        assert leader is not None
        self.cluster.result(leader.leave())
        self.cluster.result(leader.stop())
        rest = [node for node in nodes if node is not leader]
        self.cluster.until(lambda: self.cluster.leader() is not None)
        self.assertEqual(self.cluster.result(rest[0].command(b"x")), 1)
        self.cluster.until(lambda: all(leader.id not in node.peers for node in rest))

    def test_transfer(self) -> None:
        """Leadership is handed over on request, to whom it was asked for."""
        self.cluster.start("a", "b", "c")
        leader = self.cluster.leader()
        assert leader is not None
        target = next(id for id in "abc" if id != leader.id)
        self.assertEqual(self.cluster.result(leader.transfer_leadership(target)), target)


class WatchingTests(ClusterCase):
    """Events and figures."""

    settings = Settings(policy=Policy(snapshot_entries=50, keep_entries=5))

    def test_events(self) -> None:
        """Role, leader, members, snapshots and the end are told."""
        seen: list[object] = []
        node = self.cluster.node("a")
        node.subscribe(seen.append)
        node.subscribe(lambda event: 1 / 0)
        self.cluster.result(node.start())
        self.cluster.until(lambda: node.leader == "a")
        for number in range(60):
            self.cluster.result(node.command(b"%d" % number))
        self.cluster.result(self.cluster.node("b", bootstrap=False).start())
        self.cluster.result(node.join("b"))
        self.cluster.result(node.stop())
        kinds = {type(event) for event in seen}
        self.assertLessEqual(
            {RoleChanged, LeaderChanged, MembershipChanged, SnapshotSaved, Stopped}, kinds
        )
        self.assertIn(RoleChanged(Role.LEADER, 2), seen)
        self.assertGreater(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_stats(self) -> None:
        """Figures agree with what was done, also as Prometheus metrics."""
        node = self.cluster.start("a")[0]
        for _ in range(7):
            self.cluster.result(node.command(b"x"))
        stats = node.stats()
        self.assertEqual(stats.status.applied, stats.status.commit)
        self.assertGreaterEqual(stats.entries_applied, 7)
        text = prometheus(stats)
        self.assertIn(f'raft_commit{{cluster="test",node="a"}} {stats.status.commit}\n', text)
        self.assertIn('raft_leader{cluster="test",node="a"} 1\n', text)

    def test_snapshot_for_a_late_member(self) -> None:
        """A member that missed more than is kept gets the snapshot and the rest."""
        self.cluster.start("a", "b", "c")
        leader = self.cluster.leader()
        assert leader is not None
        late = next(id for id in "abc" if id != leader.id)
        self.cluster.isolate(late)
        for number in range(130):
            self.cluster.result(leader.command(b"%d" % number))
        self.assertGreater(leader.stats().snapshots, 1)
        self.assertGreater(leader.stats().status.first_index, 90)
        seen: list[object] = []
        self.cluster.nodes[late].subscribe(seen.append)
        self.cluster.heal()
        self.assert_same_state(130)
        self.assertTrue([e for e in seen if isinstance(e, SnapshotSaved) and e.received])

    def test_restart(self) -> None:
        """A node that is started again from its store holds everything, from its snapshot on."""
        self.cluster.start("a", "b", "c")
        for number in range(120):
            self.cluster.result(self.cluster.nodes["a"].command(b"%d" % number))
        for id in "abc":
            self.cluster.result(self.cluster.nodes[id].stop())
        self.cluster.start("a", "b", "c")
        self.assertEqual(self.cluster.result(self.cluster.nodes["b"].command(b"x")), 121)
        self.assert_same_state(121)


class LeaseTests(ClusterCase):
    """Reads by lease are opt-in and need no round of messages."""

    settings = Settings(core=Options(lease_reads=True))

    def test_read(self) -> None:
        """With a fresh lease the leader reads at once."""
        self.cluster.start("a", "b", "c")
        leader = self.cluster.leader()
        assert leader is not None
        self.cluster.result(leader.command(b"x"))
        self.cluster.pass_time(0.3)
        sent = leader.stats().messages_sent
        done = leader.read()
        self.cluster.clock.advance(0)
        self.successResultOf(done)
        self.assertEqual(leader.stats().messages_sent, sent)
