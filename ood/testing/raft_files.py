"""A directory in memory that forgets what was not synced, where it is told to.

It is what the crash tests of a log run on: count the steps of a run, then run
it again once for each step, cut the power there, and look at what a disk may
hold afterwards.  ``tests/raft/storage`` runs the same checks against the real
directory, so the fake stays true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from zope.interface import implementer

from ood.raft.files import IFile, IFiles

SECTOR_BYTES = 512


class PowerCutError(Exception):
    """The machine is off: nothing more happens."""


@dataclass
class Inode:
    """One file: what programs read, and what a crash leaves.

    :ivar pending: changes since the last sync: (offset, data), or (size, None)
        for a change of the size.
    """

    live: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def change(self, offset: int, data: bytes | None) -> None:
        """Change what programs read."""
        self.pending.append((offset, data))
        _change(self.live, offset, data)

    def sync(self) -> None:
        """Make it durable."""
        self.durable = bytearray(self.live)
        self.pending = []


def _change(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
    else:
        content.extend(bytes(max(0, offset + len(data) - len(content))))
        content[offset : offset + len(data)] = data


@implementer(IFile)
class MemoryFile:
    """An open file of a :class:`MemoryFiles`."""

    def __init__(self, owner: MemoryFiles, inode: Inode) -> None:
        self._owner = owner
        self._inode = inode

    def write_at(self, offset: int, data: bytes) -> None:
        """Write; a crash may keep any of its sectors."""
        self._owner.step("write", lambda: self._inode.change(offset, data))

    def sync(self) -> None:
        """Make it durable."""
        self._owner.step("sync", self._inode.sync)

    def truncate(self, size: int) -> None:
        """Cut it; durable with the next sync."""
        self._owner.step("truncate", lambda: self._inode.change(size, None))

    def close(self) -> None:
        """Nothing to do."""


@implementer(IFiles)
class MemoryFiles:
    """A directory in memory.

    :ivar steps: the names of the operations so far.
    :ivar cut_at: the step during which the power goes.
    :ivar fail_at: steps that fail, and how.
    """

    def __init__(self, content: dict[str, bytes] | None = None) -> None:
        self._live: dict[str, Inode] = {
            name: Inode(bytearray(data), bytearray(data)) for name, data in (content or {}).items()
        }
        self._durable = dict(self._live)
        self._renames: list[Callable[[dict[str, Inode]], object]] = []
        self.steps: list[str] = []
        self.cut_at: int | None = None
        self.fail_at: dict[int, OSError] = {}

    def __str__(self) -> str:
        return "memory"

    def step(self, name: str, act: Callable[[], object]) -> None:
        """Do one thing that a crash can come before, during or after."""
        number = len(self.steps)
        if self.cut_at is not None and number > self.cut_at:
            raise PowerCutError
        self.steps.append(name)
        if number in self.fail_at:
            raise self.fail_at[number]
        if number == self.cut_at:
            # What is cut is under way: its changes are pending, never synced.
            if "sync" not in name:
                act()
            raise PowerCutError
        act()

    def names(self) -> list[str]:
        """Return the names."""
        return sorted(self._live)

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        return bytes(self._live[name].live)

    def create(self, name: str, size: int) -> IFile:
        """Create a file of zeros."""
        inode = Inode()

        def act() -> None:
            inode.change(size, None)
            self._name(lambda names: names.__setitem__(name, inode))

        self.step("create", act)
        return MemoryFile(self, inode)

    def open(self, name: str) -> IFile:
        """Open a file."""
        return MemoryFile(self, self._live[name])

    def rename(self, old: str, new: str) -> None:
        """Rename a file."""
        self.step(
            "rename", lambda: self._name(lambda names: names.__setitem__(new, names.pop(old)))
        )

    def remove(self, name: str) -> None:
        """Remove a file."""
        self.step("remove", lambda: self._name(lambda names: names.pop(name)))

    def _name(self, change: Callable[[dict[str, Inode]], object]) -> None:
        self._renames.append(change)
        change(self._live)

    def sync_names(self) -> None:
        """Make names durable."""
        self.step("sync names", self._sync_names)

    def _sync_names(self) -> None:
        self._durable = dict(self._live)
        self._renames = []

    def close(self) -> None:
        """Nothing to do."""

    def after_crash(self, random: Random) -> MemoryFiles:
        """Return a directory that the crash may have left, chosen by ``random``.

        Names change in order (a file system's journal), so some first part of
        the changes is there; of unsynced writes any set of sectors is.
        """
        names = dict(self._durable)
        for change in self._renames[: random.randint(0, len(self._renames))]:
            change(names)
        return MemoryFiles({name: _left(inode, random) for name, inode in names.items()})


def _left(inode: Inode, random: Random) -> bytes:
    mode = random.choice(("nothing", "everything", "some"))
    if mode == "everything":
        return bytes(inode.live)
    content = bytearray(inode.durable)
    if mode == "some":
        for offset, data in inode.pending:
            _leave_some(content, offset, data, random)
    return bytes(content)


def _leave_some(content: bytearray, offset: int, data: bytes | None, random: Random) -> None:
    if data is None:
        if random.random() < 0.5:
            _change(content, offset, None)
        return
    end = offset + len(data)
    place = offset
    while place < end:
        stop = min(end, (place // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if random.random() < 0.5:
            _change(content, place, data[place - offset : stop - offset])
        place = stop
