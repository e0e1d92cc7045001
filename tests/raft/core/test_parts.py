"""The parts of the core one by one: quorum, log, configuration changes, sessions."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.raft.core import configuration as configurations
from ood.raft.core import quorum
from ood.raft.core.configuration import History
from ood.raft.core.errors import ChangeError, CorruptLogError, SafetyError
from ood.raft.core.log import ENTRY_OVERHEAD_BYTES, Log
from ood.raft.core.machine import SessionError, SessionMachine
from ood.raft.core.progress import Flow, Progress
from ood.raft.core.quorum import Tally
from ood.raft.core.sessions import WINDOW_RESULTS, Outcome, SessionTable
from ood.raft.core.types import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Options,
    Snapshot,
    SnapshotMetadata,
    Stored,
)
from ood.raft.sim.registers import Operation, Registers, encode


def _log(*terms: int) -> Log:
    log = Log()
    log.append([Entry(index, term) for index, term in enumerate(terms, 1)])
    return log


class QuorumTests(SynchronousTestCase):
    """Majorities."""

    def test_reached_is_what_a_majority_has(self) -> None:
        """Against the definition, for every cluster up to five and all small numbers."""
        for size in range(1, 6):
            names = "abcde"[:size]
            configuration = Configuration(voters=frozenset(names))
            for values in itertools.product(range(3), repeat=size):
                value = dict(zip(names, values, strict=True))
                best = max(n for n in range(3) if sum(v >= n for v in values) * 2 > size)
                self.assertEqual(quorum.reached(configuration, value.__getitem__), best)

    def test_joint_needs_both(self) -> None:
        """The slower half decides; a vote is lost when one half is."""
        joint = Configuration(voters=frozenset("abc"), voters_outgoing=frozenset("cde"))
        value = {"a": 5, "b": 5, "c": 5, "d": 1, "e": 2}
        self.assertEqual(quorum.reached(joint, value.__getitem__), 2)
        self.assertIs(quorum.tally(joint, dict.fromkeys("abc", True)), Tally.PENDING)
        self.assertIs(quorum.tally(joint, dict.fromkeys("abcd", True)), Tally.WON)
        self.assertIs(quorum.tally(joint, {"d": False, "e": False}), Tally.LOST)

    def test_two_of_four_decide_nothing(self) -> None:
        """Half of an even cluster is no majority, for or against."""
        four = Configuration(voters=frozenset("abcd"))
        self.assertIs(quorum.tally(four, dict.fromkeys("ab", True)), Tally.PENDING)
        self.assertIs(quorum.tally(four, dict.fromkeys("ab", False)), Tally.LOST)


class LogTests(SynchronousTestCase):
    """The log and its marks."""

    def test_merge_cuts_only_conflicts(self) -> None:
        """What agrees stays, also behind the message; what conflicts goes to the end."""
        log = _log(1, 1, 2)
        self.assertIsNone(log.merge(0, [Entry(1, 1)]))
        self.assertEqual(log.last_index, 3)
        self.assertEqual(log.merge(1, [Entry(2, 1), Entry(3, 3)]), 3)
        self.assertEqual((log.last_index, log.last_term), (3, 3))

    def test_committed_entries_are_never_cut(self) -> None:
        """A conflict there means that something is deeply wrong: stop."""
        log = _log(1, 1, 2)
        log.commit_to(2)
        self.assertRaises(SafetyError, log.merge, 1, [Entry(2, 3)])
        self.assertRaises(SafetyError, log.commit_to, 9)

    def test_at_or_below(self) -> None:
        """Where logs may agree at best, given one term."""
        log = _log(1, 1, 2, 2, 4)
        self.assertEqual([log.at_or_below(5, term) for term in range(6)], [0, 2, 4, 4, 5, 5])
        self.assertEqual(log.at_or_below(3, 9), 3)
        self.assertEqual(log.at_or_below(99, 9), 5)

    def test_batches_keep_to_the_limit(self) -> None:
        """Entries are never left out or doubled; one that is too large goes alone."""
        log = Log()
        log.append([Entry(i, 1, data=b"x" * size) for i, size in enumerate((10, 90, 5, 5), 1)])
        limit = 2 * ENTRY_OVERHEAD_BYTES + 15
        seen, low = [], 1
        while low <= 4:
            entries, size = log.batch(low, limit)
            self.assertTrue(size <= limit or len(entries) == 1)
            seen.append([entry.index for entry in entries])
            low = entries[-1].index + 1
        self.assertEqual(seen, [[1], [2], [3, 4]])
        log.commit_to(3)
        self.assertEqual(log.bytes_after(3), ENTRY_OVERHEAD_BYTES + 5)

    @settings(max_examples=50, deadline=None, database=None)
    @given(st.lists(st.integers(0, 60), min_size=1, max_size=20), st.data())
    def test_batches_after_compaction(self, sizes: list[int], data: st.DataObject) -> None:
        """Sizes stay right however much was compacted or cut away."""
        log = Log()
        log.append([Entry(i, 1, data=b"x" * size) for i, size in enumerate(sizes, 1)])
        log.applied = data.draw(st.integers(0, len(sizes)))
        log.compact(log.applied)
        rest = sizes[log.applied :]
        total = sum(rest) + ENTRY_OVERHEAD_BYTES * len(rest)
        self.assertEqual(log.batch(log.applied + 1, 1 << 30)[1], total)
        self.assertEqual(log.bytes_after(log.applied), total)

    def test_only_durable_entries_are_applied(self) -> None:
        """Committed is not enough: the state machine never runs ahead of its own log."""
        log = _log(1, 1)
        log.commit_to(2)
        self.assertFalse(log.unapplied)
        log.take_unsaved()
        log.persisted(log.write_token())
        self.assertEqual([entry.index for entry in log.take_committed()], [1, 2])
        self.assertEqual(log.take_committed(), ())

    def test_a_hole_on_disk_is_refused(self) -> None:
        """A log with a hole, or whose terms go back, is not started from."""
        for entries in ([Entry(1, 1), Entry(3, 1)], [Entry(1, 2), Entry(2, 1)]):
            stored = Stored(HardState(2), None, entries)
            self.assertRaises(CorruptLogError, Log.from_disk, stored, 0)

    def test_what_a_crash_leaves(self) -> None:
        """Entries beside a snapshot count if they continue it, and only then."""
        snapshot = Snapshot(SnapshotMetadata(2, 2, Configuration()))
        for terms, last in (((1, 2, 2), 3), ((1, 1, 1), 2), ((1,), 2)):
            entries = [Entry(index, term) for index, term in enumerate(terms, 1)]
            log = Log.from_disk(Stored(HardState(2), snapshot, entries), 0)
            self.assertEqual((log.first_index, log.last_index), (3, last), terms)


class ProgressTests(SynchronousTestCase):
    """One follower as its leader sees it."""

    def test_a_probe_waits_for_its_answer(self) -> None:
        """One message at a time until the logs agree, then a pipeline."""
        progress, options = Progress(5), Options(in_flight_messages=2)
        progress.sent(5, 10)
        self.assertFalse(progress.room(options))
        self.assertTrue(progress.rejected(4, 2))
        self.assertEqual(progress.next, 3)
        self.assertTrue(progress.accepted(2))
        self.assertIs(progress.flow, Flow.REPLICATE)
        progress.sent(3, 10)
        progress.sent(4, 10)
        self.assertFalse(progress.room(options))
        progress.accepted(3)
        self.assertTrue(progress.room(options))

    def test_late_answers_change_nothing(self) -> None:
        """Rejections of old probes and old entries are recognised."""
        progress = Progress(5)
        self.assertFalse(progress.rejected(9, 9))
        progress.accepted(4)
        self.assertFalse(progress.rejected(3, 1))
        self.assertFalse(progress.accepted(2))
        self.assertEqual((progress.match, progress.next), (4, 5))


class ConfigurationTests(SynchronousTestCase):
    """Membership changes."""

    def _target(self, current: Configuration, voters: str, learners: str = "") -> Configuration:
        return configurations.target(
            current,
            voters=frozenset(voters),
            learners=frozenset(learners),
            promote=(),
            incarnations=None,
        )

    def test_one_voter_changes_at_once_more_go_joint(self) -> None:
        """One voter more or less keeps majorities overlapping; more needs both halves."""
        abc = Configuration(voters=frozenset("abc"))
        self.assertFalse(self._target(abc, "abcd").joint)
        self.assertFalse(self._target(abc, "ab").joint)
        joint = self._target(abc, "abd", "c")
        self.assertEqual(joint.voters_outgoing, frozenset("abc"))
        self.assertEqual((joint.learners, joint.learners_next), (frozenset(), frozenset("c")))
        after = configurations.left(joint)
        self.assertEqual((after.voters, after.learners), (frozenset("abd"), frozenset("c")))
        self.assertFalse(after.joint)

    def test_majorities_of_one_step_overlap(self) -> None:
        """Whatever change is allowed in one step: two majorities always share a voter."""
        names = "abcd"
        sets = [frozenset(s) for n in range(1, 5) for s in itertools.combinations(names, n)]
        for old, new in itertools.product(sets, sets):
            change = self._target(Configuration(voters=old), "".join(sorted(new)))
            if change.joint:
                continue
            for one, two in itertools.product(self._majorities(old), self._majorities(new)):
                self.assertTrue(one & two, (old, new))

    def _majorities(self, voters: frozenset[str]) -> list[frozenset[str]]:
        size = quorum.majority(len(voters))
        return [frozenset(s) for s in itertools.combinations(sorted(voters), size)]

    def test_senseless_changes_are_refused(self) -> None:
        """No voters, an empty name, a change while joint."""
        abc = Configuration(voters=frozenset("abc"))
        self.assertRaises(ChangeError, self._target, abc, "")
        self.assertRaises(
            ChangeError,
            configurations.target,
            abc,
            voters=["a", ""],
            learners=None,
            promote=(),
            incarnations=None,
        )
        self.assertRaises(ChangeError, self._target, self._target(abc, "ade"), "a")

    def test_incarnations_follow_their_members(self) -> None:
        """Who leaves is forgotten, so that it may come back with a new disk."""
        current = Configuration(voters=frozenset("ab"), incarnations={"a": "1", "b": "2"})
        self.assertEqual(self._target(current, "a").incarnations, {"a": "1"})

    def test_history_goes_with_the_log(self) -> None:
        """Entries put configurations in force; cutting and compacting take them back."""
        history = History(0, Configuration())
        for index, voters in ((2, "a"), (5, "ab"), (7, "abc")):
            data = configurations.encode(Configuration(voters=frozenset(voters)))
            history.learn([Entry(index, 1, EntryKind.CONFIGURATION, data)])
        self.assertEqual(history.at(6).voters, frozenset("ab"))
        self.assertEqual(history.at(1).voters, frozenset())
        history.cut(7)
        self.assertEqual((history.index, history.current.voters), (5, frozenset("ab")))
        history.compact(6)
        self.assertEqual(history.at(6).voters, frozenset("ab"))

    def test_unreadable_entry(self) -> None:
        """An entry that is no configuration stops the node with a reason."""
        self.assertRaises(CorruptLogError, configurations.decode, b"\xc1")


class SessionTests(SynchronousTestCase):
    """Commands that are applied once."""

    def setUp(self) -> None:
        self.machine = SessionMachine(Registers())

    def _apply(self, sequence: int, value: str = "x", session: str = "s") -> object:
        data = encode(Operation("append", "k", value))
        index = self.machine.index + 1
        return self.machine.apply(Entry(index, 1, EntryKind.COMMAND, data, session, sequence))

    def test_out_of_order(self) -> None:
        """Many commands under way may arrive in any order, each counts once."""
        self._apply(0)
        results = [self._apply(sequence) for sequence in (2, 1, 2, 3, 1)]
        self.assertEqual(results, [0, 1, 0, 2, 1])

    def test_unknown_and_forgotten(self) -> None:
        """What can't be known to be new is refused, never applied."""
        self.assertIsInstance(self._apply(1), SessionError)
        self._apply(0)
        for sequence in range(1, WINDOW_RESULTS + 2):
            self._apply(sequence, "")
        self.assertIsInstance(self._apply(1), SessionError)
        self.assertEqual(self._apply(2, "y"), 0)

    def test_sessions_expire_in_the_order_of_use(self) -> None:
        """The table is bounded; the session unused for the longest time goes."""
        table = SessionTable(limit=2)
        for name in ("a", "b"):
            table.check(name, 0)
        table.check("a", 1)
        table.check("c", 0)
        self.assertEqual(table.check("b", 1)[0], Outcome.UNKNOWN_SESSION)
        self.assertEqual(table.check("a", 1)[0], Outcome.APPLY)

    def test_snapshot_carries_everything(self) -> None:
        """State, sessions (in their order) and index move together."""
        self._apply(0)
        self._apply(1)
        other = SessionMachine(Registers())
        other.restore(self.machine.snapshot())
        self.machine = other
        self.assertEqual(self._apply(1), 0)
        self.assertEqual(self._apply(2), 1)
        self.assertEqual(other.snapshot()[:1], self.machine.snapshot()[:1])

    def test_a_gap_is_noticed(self) -> None:
        """An entry out of its turn is never applied."""
        self.assertRaises(CorruptLogError, self.machine.apply, Entry(2, 1))
