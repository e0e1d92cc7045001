"""The power goes at every single step, and nothing promised is lost."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from ood.raft.core.types import (
    Configuration,
    Entry,
    HardState,
    Identity,
    Snapshot,
    SnapshotMetadata,
)
from ood.raft.errors import StorageError
from ood.raft.files import OsFiles
from ood.raft.interfaces import PersistentState
from ood.raft.wal import Wal
from ood.testing.raft_files import MemoryFiles, PowerCutError

WHO = Identity("cluster", "a", "life-1")
OUTCOMES_PER_STEP = 12


def entry(index: int, term: int, size: int = 40) -> Entry:
    return Entry(index, term, data=bytes([index % 256]) * size)


def snapshot(index: int, term: int) -> Snapshot:
    meta = SnapshotMetadata(index, term, Configuration(voters=frozenset("abc")))
    return Snapshot(meta, b"state" * 300)


def wal_on(files: object, segment_bytes: int = 4096) -> Wal:
    numbers = iter(range(1, 1000))
    seed = Random(7)
    return Wal(
        files,  # type: ignore[arg-type]
        lambda: seed.randbytes(12) + next(numbers).to_bytes(4, "big"),
        segment_bytes,
    )


@dataclass
class Story:
    """What a run did, step by step, and what it was promised."""

    promised: PersistentState = field(default_factory=PersistentState)
    tried: PersistentState = field(default_factory=PersistentState)

    def run(self, wal: Wal) -> None:
        wal.load()
        state = PersistentState()
        for change, act in self.changes(wal):
            self.tried = change(state)
            act()
            state = self.promised = self.tried

    def changes(self, wal: Wal):  # type: ignore[no-untyped-def]
        def meta(term: int, vote: str | None):  # type: ignore[no-untyped-def]
            hard = HardState(term, vote)
            return (
                lambda s: PersistentState(WHO, hard, s.snapshot, s.entries),
                lambda: wal.write(WHO, hard),
            )

        def append(first: int, last: int, term: int, size: int = 40):  # type: ignore[no-untyped-def]
            new = [entry(index, term, size) for index in range(first, last + 1)]
            return (
                lambda s: PersistentState(
                    s.identity,
                    s.hard_state,
                    s.snapshot,
                    [e for e in s.entries if e.index < first] + new,
                ),
                lambda: wal.write(truncate=first, entries=new),
            )

        def snap(index: int, term: int, reset: bool = False):  # type: ignore[no-untyped-def]
            taken = snapshot(index, term)

            def act() -> None:
                wal.write_snapshot_file(taken)
                wal.adopt_snapshot(taken, reset=reset)

            return (
                lambda s: PersistentState(
                    s.identity,
                    s.hard_state,
                    taken,
                    [] if reset else [e for e in s.entries if e.index > index],
                ),
                act,
            )

        yield meta(1, "a")
        yield append(1, 3, 1)
        yield append(4, 8, 1, 900)
        yield append(7, 9, 1)
        yield meta(2, None)
        yield append(9, 14, 2, 700)
        yield snap(8, 1)
        yield append(15, 20, 2, 900)
        yield meta(3, "b")
        yield append(12, 16, 3, 300)
        yield snap(30, 3, reset=True)
        yield append(31, 34, 3)
        yield snap(33, 3)


def allowed(found: PersistentState, story: Story) -> str:
    """Return what is wrong with ``found``, "" if nothing is."""
    states = (story.promised, story.tried)
    if (found.hard_state.term, found.hard_state.vote) not in [
        (s.hard_state.term, s.hard_state.vote) for s in states
    ]:
        return f"hard state {found.hard_state}"
    if found.snapshot not in [s.snapshot for s in states]:
        return "snapshot"
    floor = found.snapshot.metadata.index if found.snapshot else 0
    if [e.index for e in found.entries] != [*range(floor + 1, floor + 1 + len(found.entries))]:
        return "the log has a hole"
    if _has(found, story.promised, floor) or _has(found, story.tried, floor):
        return ""
    # Cut between truncation and append of one batch: what both have is there.
    common = [e for e in story.promised.entries if e in story.tried.entries and e.index > floor]
    if found.entries[: len(common)] == common and all(
        e in story.promised.entries or e in story.tried.entries for e in found.entries
    ):
        return ""
    return f"entries {[(e.index, e.term) for e in found.entries]}"


def _has(found: PersistentState, state: PersistentState, floor: int) -> bool:
    return found.entries == [e for e in state.entries if e.index > floor]


class CrashTests(SynchronousTestCase):
    """A crash loses nothing that was promised, at whatever step it comes."""

    def steps(self) -> list[str]:
        files = MemoryFiles()
        Story().run(wal_on(files))
        return files.steps

    def test_every_step(self) -> None:
        """After a cut at any step the log loads, with all that a write returned for."""
        steps = self.steps()
        self.assertGreater(len(steps), 60)
        for step in range(len(steps)):
            for outcome in range(OUTCOMES_PER_STEP):
                self.check_cut(step, steps[step], outcome)

    def check_cut(self, step: int, name: str, outcome: int) -> None:
        files = MemoryFiles()
        files.cut_at = step
        story = Story()
        where = f"cut at step {step} ({name}), outcome {outcome}"
        try:
            story.run(wal_on(files))
        except (PowerCutError, StorageError):
            pass
        else:
            self.fail(f"{where}: not reached")
        after = files.after_crash(Random(step * 1000 + outcome))
        found = wal_on(after).load()
        self.assertEqual(allowed(found, story), "", where)
        self.check_goes_on(after, found, where)

    def check_goes_on(self, files: MemoryFiles, found: PersistentState, where: str) -> None:
        """What recovery found can be appended to and is found again."""
        wal = wal_on(files)
        again = wal.load()
        self.assertEqual(again, found, where)
        last = found.entries[-1].index if found.entries else 0
        last = max(last, found.snapshot.metadata.index if found.snapshot else 0)
        new = [entry(last + 1, 9), entry(last + 2, 9)]
        wal.write(WHO, HardState(9, "c"), None, new)
        wal.close()
        third = wal_on(files).load()
        self.assertEqual(third.entries, [*found.entries, *new], where)
        self.assertEqual((third.hard_state.term, third.hard_state.vote), (9, "c"), where)

    def test_crash_during_recovery(self) -> None:
        """A second cut while the first is being recovered from loses nothing either."""
        steps = self.steps()
        for step in range(0, len(steps), 3):
            files = MemoryFiles()
            files.cut_at = step
            story = Story()
            with self.assertRaises((PowerCutError, StorageError)):
                story.run(wal_on(files))
            after = files.after_crash(Random(step))
            for second in range(4):
                copy = MemoryFiles({name: after.read(name) for name in after.names()})
                copy.cut_at = second
                try:
                    wal_on(copy).load()
                except (PowerCutError, StorageError):
                    copy = copy.after_crash(Random(second))
                copy.cut_at = None
                found = wal_on(copy).load()
                self.assertEqual(allowed(found, story), "", f"cut at {step}, then at {second}")

    def test_failed_write_or_sync_is_final(self) -> None:
        """A step that fails (EIO, ENOSPC) raises, and everything after is refused untried."""
        steps = self.steps()
        for step, name in enumerate(steps):
            files = MemoryFiles()
            files.fail_at = {step: OSError(28, "No space left on device")}
            wal = wal_on(files)
            with self.assertRaises((StorageError, OSError), msg=name) as caught:
                Story().run(wal)
            if "no snapshot was written" not in str(caught.exception):
                self.check_refuses(wal, files, f"{step} {name}")

    def check_refuses(self, wal: Wal, files: MemoryFiles, where: str) -> None:
        before = len(files.steps)
        with self.assertRaises(StorageError, msg=where):
            wal.write(WHO, HardState(9, None), None, [entry(99, 9)])
        self.assertEqual(len(files.steps), before, where)

    def test_real_directory(self) -> None:
        """The same story ends the same in a real directory: the fake is true."""
        path = tempfile.mkdtemp(dir=self.mktemp_root())
        story = Story()
        files = OsFiles(path)
        wal = wal_on(files)
        story.run(wal)
        wal.close()
        reopened = OsFiles(path)
        found = wal_on(reopened).load()
        memory = MemoryFiles()
        other = wal_on(memory)
        Story().run(other)
        other.close()
        self.assertEqual(found, wal_on(memory).load())
        self.assertEqual(reopened.names(), memory.names())
        self.assertEqual(
            [reopened.read(name) for name in reopened.names()],
            [memory.read(name) for name in memory.names()],
        )
        reopened.close()

    def mktemp_root(self) -> str:
        import os

        path = self.mktemp()
        os.makedirs(path)
        return path
