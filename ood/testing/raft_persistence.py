"""What every persistence of a node has to do; run it over your own.

::

    class MyPersistenceTests(PersistenceConformance, TestCase):
        def make(self):
            return MyPersistence(self.path)   # each call: as after a restart

``make`` gives an ``ILogPersistence``, or anything with ``save`` and ``load``.
"""

from __future__ import annotations

from typing import Any

from ood.raft.adapters import adapt_persistence
from ood.raft.core.types import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Identity,
    Snapshot,
    SnapshotMetadata,
)
from ood.raft.interfaces import ILogPersistence, PersistentState

WHO = Identity("cluster", "a", "life")


def entries(first: int, last: int, term: int = 1) -> list[Entry]:
    """Return entries with these indexes."""
    return [Entry(index, term, data=b"%d" % index) for index in range(first, last + 1)]


def snapshot(index: int, term: int = 1) -> Snapshot:
    """Return a snapshot that ends there."""
    configuration = Configuration(voters=frozenset("ab"), incarnations={"a": "life"})
    return Snapshot(SnapshotMetadata(index, term, configuration), b"\0state\xff" * 1000)


def _note(_: None, fired: list[int], number: int) -> None:
    fired.append(number)


class PersistenceConformance:
    """The tests.  A subclass is a TestCase and gives ``make``."""

    timeout = 20.0

    def make(self) -> Any:
        """Return the store, as it is after a restart of the process."""
        raise AssertionError("give make")

    async def opened(self) -> ILogPersistence:
        """Return an empty store that belongs to a node."""
        store = adapt_persistence(self.make())
        await store.load_state()
        await store.save_meta(WHO, HardState(1, None))
        return store

    async def again(self, store: ILogPersistence) -> PersistentState:
        """Return what is there after a restart."""
        await store.close()
        reopened = adapt_persistence(self.make())
        state = await reopened.load_state()
        await reopened.close()
        return state

    async def test_empty(self) -> None:
        """A new store holds nothing."""
        case: Any = self
        store = adapt_persistence(self.make())
        case.assertEqual(await store.load_state(), PersistentState())
        await store.close()

    async def test_meta(self) -> None:
        """Whose it is, term and vote are kept; the last save counts."""
        case: Any = self
        store = await self.opened()
        for term in range(2, 6):
            await store.save_meta(WHO, HardState(term, "b"))
        state = await self.again(store)
        case.assertEqual(state.identity, WHO)
        case.assertEqual((state.hard_state.term, state.hard_state.vote), (5, "b"))

    async def test_commit_is_never_ahead(self) -> None:
        """A commit index may come back lower, never higher."""
        case: Any = self
        store = await self.opened()
        await store.append(entries(1, 5))
        await store.save_meta(WHO, HardState(2, None, 3))
        case.assertLessEqual((await self.again(store)).hard_state.commit, 3)

    async def test_entries(self) -> None:
        """Entries come back with all they hold."""
        case: Any = self
        store = await self.opened()
        special = [
            Entry(1, 1, EntryKind.NOOP),
            Entry(2, 1, EntryKind.CONFIGURATION, b"\0\1"),
            Entry(3, 1, EntryKind.COMMAND, bytes(range(256)) * 40, "session", 7),
        ]
        await store.append(special)
        await store.append(entries(4, 9))
        case.assertEqual((await self.again(store)).entries, [*special, *entries(4, 9)])

    async def test_truncate(self) -> None:
        """What was cut off is gone, and the log goes on from there."""
        case: Any = self
        store = await self.opened()
        await store.append(entries(1, 9))
        await store.truncate(6)
        await store.append(entries(6, 7, 2))
        await store.truncate(7)
        await store.append(entries(7, 8, 3))
        case.assertEqual(
            (await self.again(store)).entries,
            [*entries(1, 5), *entries(6, 6, 2), *entries(7, 8, 3)],
        )

    async def test_order_without_waiting(self) -> None:
        """Calls that were not waited for take effect in order; the last means all."""
        case: Any = self
        store = await self.opened()
        fired: list[int] = []
        calls = [
            store.append(entries(1, 5)),
            store.truncate(4),
            store.append(entries(4, 6, 2)),
            store.save_meta(WHO, HardState(2, "a")),
            store.truncate(6),
            store.append(entries(6, 8, 3)),
        ]
        for number, call in enumerate(calls):
            _ = call.addCallback(_note, fired, number)
        await calls[-1]
        case.assertEqual(fired, sorted(fired))
        case.assertEqual(len(fired), len(calls))
        state = await self.again(store)
        case.assertEqual(state.entries, [*entries(1, 3), *entries(4, 5, 2), *entries(6, 8, 3)])
        case.assertEqual(state.hard_state.term, 2)

    async def test_own_snapshot(self) -> None:
        """A snapshot of one's own replaces the log up to it; the rest stays."""
        case: Any = self
        store = await self.opened()
        await store.append(entries(1, 9))
        waiting = store.snapshot(snapshot(6))
        await store.append(entries(10, 12))
        await waiting
        state = await self.again(store)
        case.assertEqual(state.snapshot, snapshot(6))
        case.assertEqual([e for e in state.entries if e.index > 6], entries(7, 12))

    async def test_received_snapshot(self) -> None:
        """A snapshot of the leader replaces the whole log; it goes on after it."""
        case: Any = self
        store = await self.opened()
        await store.append(entries(1, 9))
        first = store.snapshot(snapshot(20, 3), True)
        second = store.append(entries(21, 23, 3))
        await first
        await second
        state = await self.again(store)
        case.assertEqual(state.snapshot, snapshot(20, 3))
        case.assertEqual(state.entries, entries(21, 23, 3))

    async def test_newer_snapshot_wins(self) -> None:
        """Of several snapshots the newest is kept."""
        case: Any = self
        store = await self.opened()
        await store.append(entries(1, 30))
        for index in (5, 12, 25):
            await store.snapshot(snapshot(index))
        state = await self.again(store)
        case.assertEqual(state.snapshot, snapshot(25))
        case.assertEqual([e for e in state.entries if e.index > 25], entries(26, 30))
