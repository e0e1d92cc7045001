"""The driver by itself: what it saves, what it sends, and when."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.raft.core.machine import SessionMachine
from ood.raft.core.node import RawNode
from ood.raft.core.types import (
    Append,
    AppendReply,
    Configuration,
    Entry,
    HardState,
    Heartbeat,
    Identity,
    Message,
    Stored,
)
from ood.raft.driver import Driver, Policy
from ood.raft.events import Events
from ood.raft.machine import AddressedMachine, NothingMachine, address_command, user_command
from ood.raft.memory import MemoryPersistence, MemoryTransport
from ood.raft.outbox import NEWS_SECONDS, Outbox
from ood.testing.raft_cluster import ListMachine, MemoryCluster

LEADER = Identity("c", "a", "life-a")


class HeldStore(MemoryPersistence):
    """Saves are durable when the test says so.

    :ivar calls: what was asked for, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.waiting: list[Deferred[None]] = []

    def _held(self, name: str) -> Deferred[None]:
        self.calls.append(name)
        done: Deferred[None] = Deferred()
        self.waiting.append(done)
        return done

    def save_meta(self, identity: Identity, hard_state: HardState) -> Deferred[None]:
        return self._held("meta")

    def truncate(self, index: int) -> Deferred[None]:
        return self._held(f"truncate {index}")

    def append(self, entries: Sequence[Entry]) -> Deferred[None]:
        return self._held(f"append {[entry.index for entry in entries]}")

    def durable(self) -> None:
        """Everything asked for so far is durable."""
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done.callback(None)


class FollowerTests(SynchronousTestCase):
    """A follower under the test's hand."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = HeldStore()
        self.sent: list[Message] = []
        self.failures: list[Exception] = []
        me = Identity("c", "b", "life-b")
        raw = RawNode(
            me,
            bootstrap=Configuration(voters=frozenset("abc")),
            stored=Stored(),
            jitter=Random(1).randrange,
        )
        self.driver = Driver(
            raw,
            identity=me,
            persistence=self.store,
            machine=SessionMachine(AddressedMachine(NothingMachine())),
            clock=self.clock,
            events=Events(),
            send=self.sent.extend,
            members_changed=lambda: None,
            failed=self.failures.append,
            policy=Policy(),
        )
        self.driver.start()
        self.turn()
        self.store.durable()
        self.turn()
        self.addCleanup(self.driver.stop)

    def turn(self) -> None:
        self.clock.pump([0, 0])

    def append(self, first: int, last: int, previous_term: int, term: int = 2) -> None:
        new = tuple(Entry(index, term, data=b"\0x") for index in range(first, last + 1))
        self.driver.step([Append("a", "b", term, first - 1, previous_term, first - 1, new)], LEADER)
        self.turn()

    def replies(self) -> list[int]:
        return [message.index for message in self.sent if isinstance(message, AppendReply)]

    def test_reply_waits_for_its_save(self) -> None:
        """Entries are acknowledged when they are durable, not before."""
        self.append(2, 3, 1)
        self.assertEqual(self.replies(), [])
        self.store.durable()
        self.assertEqual(self.replies(), [3])

    def test_reply_without_a_save_waits_for_those_before(self) -> None:
        """The same entries again: nothing is to be saved, yet they are not durable."""
        self.append(2, 3, 1)
        self.append(2, 3, 1)
        self.assertEqual(self.replies(), [])
        self.store.durable()
        self.assertEqual(self.replies(), [3, 3])

    def test_conflict_is_truncated_first(self) -> None:
        """What conflicts is cut off in the store before the new entries are added."""
        self.append(2, 4, 1)
        self.store.durable()
        self.store.calls.clear()
        self.append(3, 3, 2, term=3)
        self.assertEqual(self.store.calls, ["truncate 3", "append [3]", "meta"])

    def test_term_and_vote_are_saved_when_they_change(self) -> None:
        """Further entries of the same term cost no save of term and vote."""
        self.append(2, 2, 1)
        self.assertEqual(self.store.calls.count("meta"), 2)  # the first start, then term 2
        self.store.durable()
        self.append(3, 3, 2)
        self.append(4, 4, 2)
        self.assertEqual(self.store.calls.count("meta"), 2)

    def test_turns_are_gathered(self) -> None:
        """What arrives in one turn is saved at once."""
        self.store.calls.clear()
        for index in (2, 3, 4):
            message = Append("a", "b", 2, index - 1, 1 if index == 2 else 2, 1, (Entry(index, 2),))
            self.driver.step([message], LEADER)
        self.turn()
        self.assertEqual(self.store.calls, ["append [2, 3, 4]", "meta"])

    def test_machine_that_raises(self) -> None:
        """A machine that raises ends the node instead of leaving it behind its log."""

        def explode(_: Any) -> Any:
            raise ZeroDivisionError

        self.driver._machine.apply = explode  # type: ignore[method-assign]
        self.append(2, 2, 1)
        self.store.durable()
        self.driver.step([Heartbeat("a", "b", 2, 2, 1)], LEADER)
        self.turn()
        self.assertIsInstance(self.failures[0], ZeroDivisionError)


class OutboxTests(SynchronousTestCase):
    """News of a commit waits a little; everything else leaves at once."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[Message] = []
        self.outbox = Outbox(self.clock, self.sent.extend)

    def test_held(self) -> None:
        """News alone leaves after a while, the newest only."""
        old, new = (Heartbeat("a", "b", 1, commit) for commit in (3, 4))
        other = Heartbeat("a", "c", 1, 4)
        self.outbox.send([old])
        self.outbox.send([new, other])
        self.assertEqual(self.sent, [])
        self.clock.advance(NEWS_SECONDS)
        self.assertEqual(self.sent, [new, other])

    def test_overtaken(self) -> None:
        """Entries to the same member tell the commit themselves: the news is dropped."""
        entries = Append("a", "b", 1, 4, 1, 4)
        self.outbox.send([Heartbeat("a", "b", 1, 4)])
        self.outbox.send([entries])
        self.clock.advance(NEWS_SECONDS)
        self.assertEqual(self.sent, [entries])

    def test_rounds_are_not_held(self) -> None:
        """A heartbeat that asks for an answer leaves at once."""
        beat = Heartbeat("a", "b", 1, 4, round=2)
        self.outbox.send([beat])
        self.assertEqual(self.sent, [beat])

    def test_stop(self) -> None:
        """After a stop nothing leaves any more."""
        self.outbox.send([Heartbeat("a", "b", 1, 4)])
        self.outbox.stop()
        self.clock.advance(1)
        self.assertEqual(self.sent, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AddressTests(SynchronousTestCase):
    """Addresses are part of the replicated state."""

    def test_snapshot(self) -> None:
        """They travel in snapshots, beside the user's state."""
        first, second = AddressedMachine(ListMachine()), AddressedMachine(ListMachine())
        first.apply(address_command({"a": "host:1", "b": "host:2"}))
        first.apply(user_command(b"x"))
        second.restore(first.snapshot())
        self.assertEqual(second.addresses, {"a": "host:1", "b": "host:2"})
        self.assertEqual(second.machine.commands, [b"x"])  # type: ignore[attr-defined]


class LinkTests(SynchronousTestCase):
    """A link leads to the member it is meant for."""

    def test_stop_while_greeting(self) -> None:
        """A link that waits for an answer to its greeting ends when it is stopped."""
        cluster = MemoryCluster()
        node = cluster.node("a", peers={"b": "deaf"})
        deaf = MemoryTransport(cluster.clock, cluster.network)
        cluster.result(deaf.listen("deaf", lambda connection: connection.listen(lambda *_: None)))
        cluster.result(node.start())
        cluster.pass_time(0.1)
        self.assertIsNone(cluster.result(node.stop(), 1))

    def test_wrong_member(self) -> None:
        """Another member at the address is not taken for the right one."""
        cluster = MemoryCluster()
        self.addCleanup(cluster.stop)
        node = cluster.node("a", peers={"b": "c"})
        cluster.result(node.start())
        cluster.result(cluster.node("c", bootstrap=False).start())
        cluster.pass_time(2)
        self.assertEqual(node.stats().connected, {"b": False})
