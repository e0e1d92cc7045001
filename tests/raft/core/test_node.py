"""The core as a driver meets it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ood.raft.core import configuration as configurations
from ood.raft.core.errors import BusyError, ChangeError, NotLeaderError
from ood.raft.core.node import RawNode
from ood.raft.core.types import (
    Append,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Heartbeat,
    Identity,
    Options,
    Role,
    Snapshot,
    SnapshotChunk,
    SnapshotMetadata,
    SnapshotReply,
    SoftState,
    Stored,
)

VOTERS = Configuration(voters=frozenset("abc"))


def _node(
    stored: Stored | None = None,
    incarnation: str = "a.1",
    bootstrap: Configuration | None = VOTERS,
    options: Options | None = None,
) -> RawNode:
    return RawNode(
        Identity("cluster", "a", incarnation),
        bootstrap=bootstrap,
        stored=stored or Stored(),
        jitter=lambda n: n - 1,
        options=options,
    )


def _alone(options: Options | None = None) -> RawNode:
    """Return a cluster of one that leads, with everything done."""
    node = _node(bootstrap=Configuration(voters=frozenset("a")), options=options)
    node.campaign()
    _settle(node)
    return node


def _settle(node: RawNode) -> list[Entry]:
    """Drive a node whose disk is quick; return what it wanted applied."""
    applied: list[Entry] = []
    while node.has_ready():
        ready = node.ready()
        node.advance()
        if ready.token is not None:
            node.persisted(ready.token)
        applied.extend(ready.committed)
        if ready.committed:
            node.applied(ready.committed[-1].index)
    return applied


class StartTests(SynchronousTestCase):
    """Starting from nothing and from a disk."""

    def test_first_members_begin_alike(self) -> None:
        """The first Ready saves the same first entry everywhere."""
        ready = _node().ready()
        self.assertEqual([(e.index, e.term, e.kind) for e in ready.entries], [(1, 1, 1)])
        self.assertEqual(configurations.decode(ready.entries[0].data), VOTERS)
        self.assertTrue(ready.must_sync)

    def test_bootstrap_counts_only_once(self) -> None:
        """What a disk gives back is never begun anew."""
        entries = [Entry(1, 1, EntryKind.CONFIGURATION, configurations.encode(VOTERS))]
        other = Configuration(voters=frozenset("xyz"))
        node = _node(Stored(HardState(3, "b"), None, entries), bootstrap=other)
        self.assertEqual(node.configuration, VOTERS)
        status = node.status()
        self.assertEqual((status.term, status.vote), (3, "b"))

    def test_without_a_configuration_it_waits(self) -> None:
        """A node that is to be added never campaigns."""
        node = _node(bootstrap=None)
        node.tick(1000)
        node.campaign()
        self.assertIs(node.status().role, Role.FOLLOWER)

    def test_a_new_disk_does_not_campaign(self) -> None:
        """A member whose log says that another disk is trusted under its name stays quiet."""
        known = Configuration(voters=frozenset("abc"), incarnations={"a": "a.1"})
        entries = [Entry(1, 1, EntryKind.CONFIGURATION, configurations.encode(known))]
        for incarnation, role in (("a.1", Role.PRE_CANDIDATE), ("a.2", Role.FOLLOWER)):
            node = _node(Stored(HardState(1), None, entries), incarnation)
            node.campaign()
            self.assertIs(node.status().role, role)

    def test_a_commit_mark_beyond_the_log(self) -> None:
        """Nothing is committed that is not there."""
        entries = [Entry(1, 1, EntryKind.CONFIGURATION, configurations.encode(VOTERS))]
        node = _node(Stored(HardState(1, None, 9), None, entries))
        self.assertEqual(node.status().commit, 1)
        self.assertEqual([e.index for e in _settle(node)], [1])


class SnapshotTests(SynchronousTestCase):
    """Snapshots, taken and received."""

    def test_the_newest_stays(self) -> None:
        """One that was begun earlier and finishes later changes nothing."""
        node = _alone()
        for _ in range(3):
            node.propose(b"x")
        _settle(node)
        old, new = (Snapshot(node.snapshot_metadata(index), b"") for index in (3, 5))
        self.assertEqual(node.snapshot_taken(new, keep=1), 5)
        self.assertEqual(node.snapshot_taken(old), 5)
        self.assertEqual(node._core.snapshot, new)

    def test_what_is_committed_needs_no_snapshot(self) -> None:
        """A snapshot within the committed log changes nothing; what is behind it stays."""
        node = _node()
        _settle(node)
        entries = tuple(Entry(index, 2) for index in (2, 3, 4))
        node.step(Append("b", "a", 2, 1, 1, 4, entries))
        _settle(node)
        node.step(SnapshotChunk("b", "a", 2, SnapshotMetadata(3, 2, VOTERS), 0, 4, b"1111"))
        self.assertIsNone(node.ready().snapshot)
        self.assertEqual(node.status().last_index, 4)

    def test_chunks_of_two_leaders(self) -> None:
        """What the first leader sent does not begin what the second one goes on with."""
        node = _node()
        _settle(node)
        metadata = SnapshotMetadata(5, 2, VOTERS)
        node.step(SnapshotChunk("b", "a", 2, metadata, 0, 8, b"1111"))
        node.step(SnapshotChunk("c", "a", 3, metadata, 4, 8, b"2222"))
        ready = node.ready()
        self.assertIsNone(ready.snapshot)
        asked = (*ready.messages, *ready.messages_after)[-1]
        self.assertEqual(asked, SnapshotReply("a", "c", 3, 5, 0))


class ReadyTests(SynchronousTestCase):
    """The order that :mod:`ood.raft.core.types` promises."""

    def test_ready_is_taken_once(self) -> None:
        """Until advance the same Ready comes again, afterwards nothing of it."""
        node = _node()
        ready = node.ready()
        self.assertIs(node.ready(), ready)
        node.advance()
        assert ready.token is not None
        node.persisted(ready.token)
        self.assertEqual([e.index for e in _settle(node)], [1])
        self.assertFalse(node.has_ready())

    def test_one_turn_is_one_batch(self) -> None:
        """Commands of one turn make one save and are applied together, in order."""
        node = _alone()
        places = [node.propose(b"%d" % number) for number in range(5)]
        ready = node.ready()
        node.advance()
        self.assertEqual([(e.index, e.term) for e in ready.entries], places)
        self.assertEqual(ready.committed, ())
        assert ready.token is not None
        self.assertEqual((ready.token.index, ready.token.term), places[-1])
        node.persisted(ready.token)
        self.assertEqual([e.data for e in _settle(node)], [b"0", b"1", b"2", b"3", b"4"])

    def test_soft_state_comes_when_it_changes(self) -> None:
        """Roles and leaders are told once."""
        node = _node()
        self.assertEqual(node.ready().soft_state, SoftState(Role.FOLLOWER, None, 1))
        node.advance()
        node.step(Heartbeat("b", "a", 2, 1, 1))
        self.assertEqual(node.ready().soft_state, SoftState(Role.FOLLOWER, "b", 2))
        node.advance()
        node.step(Heartbeat("b", "a", 2, 1, 2))
        self.assertIsNone(node.ready().soft_state)


class RefusalTests(SynchronousTestCase):
    """What is refused says why."""

    def test_not_leader(self) -> None:
        """The error names the leader, if one is known."""
        node = _node()
        node.step(Heartbeat("b", "a", 2, 1, 1))
        error = self.assertRaises(NotLeaderError, node.propose, b"x")
        self.assertEqual(error.leader, "b")
        self.assertIn("ask b", str(error))

    def test_too_much_uncommitted(self) -> None:
        """A leader that can't commit takes only so much, and goes on when it can."""
        node = _alone(Options(uncommitted_bytes=100))
        node.propose(b"x" * 50)
        node.propose(b"x" * 50)
        self.assertRaises(BusyError, node.propose, b"x")
        self.assertEqual(len(_settle(node)), 2)
        node.propose(b"x")

    def test_members(self) -> None:
        """Adding who is there, removing who is not, and a transfer to a stranger."""
        node = _alone()
        self.assertRaises(ChangeError, node.add_member, "a")
        self.assertRaises(ChangeError, node.remove_member, "z")
        self.assertRaises(ChangeError, node.transfer_leadership, "z")
        self.assertRaises(ChangeError, node.remove_member, "a")
