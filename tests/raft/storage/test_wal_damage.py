"""What was acknowledged and does not read back is refused, not cut off."""

from __future__ import annotations

import os
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from ood.raft.core.types import HardState
from ood.raft.errors import DamagedLogError, StorageError
from ood.raft.files import OsFiles
from ood.raft.records import HEADER_BYTES
from ood.raft.segments import segment_name
from ood.raft.wal import DAMAGED_NAME
from ood.testing.raft_files import MemoryFiles
from tests.raft.storage.test_wal_crash import WHO, entry, snapshot, wal_on

FIRST = segment_name(1)


def content(files: MemoryFiles) -> dict[str, bytes]:
    return {name: files.read(name) for name in files.names()}


class DamageTests(SynchronousTestCase):
    """Each damage to something durable is found, named and marked."""

    def directory(self, batches: int = 4, size: int = 200) -> dict[str, bytes]:
        files = MemoryFiles()
        wal = wal_on(files, 1 << 16)
        wal.load()
        wal.write(WHO, HardState(1, "a"))
        for batch in range(batches):
            wal.write(entries=[entry(1 + 2 * batch + extra, 1, size) for extra in (0, 1)])
        return content(files)

    def flipped(self, names: dict[str, bytes], name: str, place: int) -> MemoryFiles:
        data = bytearray(names[name])
        data[place] ^= 0x10
        return MemoryFiles({**names, name: bytes(data)})

    def end_of_log(self, data: bytes) -> int:
        return len(data.rstrip(b"\0"))

    def assert_refused(self, files: MemoryFiles, where: object) -> None:
        with self.assertRaises(DamagedLogError, msg=str(where)):
            wal_on(files).load()
        self.assertIn(DAMAGED_NAME, files.names())
        with self.assertRaises(DamagedLogError) as again:
            wal_on(files).load()
        self.assertIn("marked as damaged", str(again.exception))

    def test_any_flipped_bit_of_the_log(self) -> None:
        """Every byte of every acknowledged batch, also the last, is watched over."""
        names = self.directory()
        end = self.end_of_log(names[FIRST])
        for place in range(0, end, 3):
            self.assert_refused(self.flipped(names, FIRST, place), place)

    def test_damage_names_the_place(self) -> None:
        """The error says which file and byte, and what to do."""
        names = self.directory()
        files = self.flipped(names, FIRST, HEADER_BYTES + 60)
        with self.assertRaises(DamagedLogError) as caught:
            wal_on(files).load()
        self.assertIn(f"{FIRST} at byte {HEADER_BYTES + 32}", caught.exception.message)
        self.assertIn("join it again under a new id", caught.exception.hint)

    def test_cut_tail_is_no_damage(self) -> None:
        """A file that ends in the middle of its last batch was cut by a crash."""
        names = self.directory(size=700)
        data = names[FIRST][: self.end_of_log(names[FIRST])]
        for cut in range(1, 1400, 7):
            files = MemoryFiles({**names, FIRST: data[:-cut]})
            found = wal_on(files).load()
            self.assertGreaterEqual(len(found.entries), 6)

    def test_zeroed_sector_in_an_earlier_batch(self) -> None:
        """A lost sector looks like a torn write, but a later batch knows better."""
        names = self.directory(size=700)
        data = bytearray(names[FIRST])
        data[1024:1536] = bytes(512)
        self.assert_refused(MemoryFiles({**names, FIRST: bytes(data)}), "zeroed")

    def test_missing_and_foreign_segments(self) -> None:
        """A segment that is gone, or of another log, is found."""
        files = MemoryFiles()
        wal = wal_on(files, 1024)
        wal.load()
        wal.write(WHO, HardState(1, "a"))
        for index in range(1, 9):
            wal.write(entries=[entry(index, 1, 500)])
        names = content(files)
        logs = [name for name in names if name.endswith(".wal")]
        self.assertGreater(len(logs), 3)
        for gone in logs[:-1]:
            rest = {name: data for name, data in names.items() if name != gone}
            self.assert_refused(MemoryFiles(rest), gone)
        foreign = {**names, logs[1]: self.directory()[FIRST]}
        self.assert_refused(MemoryFiles(foreign), "foreign")

    def test_snapshot(self) -> None:
        """A damaged snapshot is refused, and so is a missing one under a log."""
        files = MemoryFiles()
        wal = wal_on(files)
        wal.load()
        wal.write(WHO, HardState(1, "a"), None, [entry(1, 1), entry(2, 1)])
        wal.write_snapshot_file(snapshot(2, 1))
        wal.adopt_snapshot(snapshot(2, 1))
        names = content(files)
        name = next(name for name in names if name.endswith(".snap"))
        for place in range(0, len(names[name]), 11):
            self.assert_refused(self.flipped(names, name, place), place)
        del names[name]
        self.assert_refused(MemoryFiles(names), "missing")

    def test_meta(self) -> None:
        """One copy of term and vote may decay; without both the vote is not guessed."""
        names = self.directory()
        for name in ("meta-a", "meta-b"):
            one = self.flipped(names, name, 20)
            self.assertEqual(wal_on(one).load().hard_state, HardState(1, "a"))
        both = self.flipped(content(self.flipped(names, "meta-a", 20)), "meta-b", 20)
        self.assert_refused(both, "both")
        del names["meta-a"], names["meta-b"]
        self.assert_refused(MemoryFiles(names), "none")

    def test_old_copy_of_the_vote_never_wins(self) -> None:
        """After many votes, the loss of either copy brings back the last vote only."""
        files = MemoryFiles()
        wal = wal_on(files)
        wal.load()
        for term in range(1, 9):
            wal.write(WHO, HardState(term, "abc"[term % 3]))
            for name in ("meta-a", "meta-b"):
                one = self.flipped(content(files), name, 30)
                self.assertEqual(wal_on(one).load().hard_state, HardState(term, "abc"[term % 3]))

    def test_random_damage_is_never_taken_for_entries(self) -> None:
        """Whatever garbage the log holds: entries that load are entries that were written."""
        names = self.directory(size=300)
        random = Random(3)
        good = {entry(index, 1, 300) for index in range(1, 9)}
        for _ in range(300):
            data = bytearray(names[FIRST])
            start = random.randrange(HEADER_BYTES, self.end_of_log(names[FIRST]))
            length = random.choice((1, 8, 28, 512, 900))
            data[start : start + length] = random.randbytes(length)
            try:
                found = wal_on(MemoryFiles({**names, FIRST: bytes(data)})).load()
            except DamagedLogError:
                continue
            self.assertTrue(set(found.entries) <= good)


class DirectoryTests(SynchronousTestCase):
    """The directory belongs to one process."""

    def test_locked(self) -> None:
        """A second opening is refused with the directory's name."""
        path = self.mktemp()
        first = OsFiles(path)
        with self.assertRaises(StorageError) as caught:
            OsFiles(path)
        self.assertIn(path, str(caught.exception))
        first.close()
        OsFiles(path).close()

    def test_made_durably(self) -> None:
        """Each directory that is made is made known to the one above it."""
        path = os.path.abspath(os.path.join(self.mktemp(), "b", "c"))
        synced: list[str] = []
        real = os.fsync

        def note(descriptor: int) -> None:
            synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            real(descriptor)

        self.patch(os, "fsync", note)
        OsFiles(path).close()
        above = [os.path.dirname(path), os.path.dirname(os.path.dirname(path))]
        self.assertLessEqual(set(above), set(synced))
