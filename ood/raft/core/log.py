"""The log in memory: what is known, saved, committed and handed out for applying."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from ood.raft.core.errors import CorruptLogError, SafetyError
from ood.raft.core.types import Entry, Stored, WriteToken

ENTRY_OVERHEAD_BYTES = 32
"""What an entry costs beside its data, so that empty entries are bounded too."""

APPLY_BATCH_ENTRIES = 4096
"""Entries handed out for applying at once, so that one turn stays short."""


def _entry_term(entry: Entry) -> int:
    return entry.term


class Log:
    """Entries from ``first_index`` on, with the marks that move along them.

    :ivar committed: the last entry known to be on a majority.
    :ivar stable: the last entry known to be on this node's disk.
    :ivar applying: the last entry handed out for applying.
    :ivar applied: the last entry the state machine holds.
    """

    def __init__(self, index: int = 0, term: int = 0) -> None:
        self._entries: list[Entry] = []
        self._ends: list[int] = []  # bytes up to and with each entry, since ever
        self._bytes = 0
        self._compacted_term = term
        self.first_index = index + 1
        self.last_index = index
        self.last_term = term
        self.committed = self.stable = self.applying = self.applied = index
        self._saving = index  # the last entry handed out for saving
        self._truncate: int | None = None
        self._writes: deque[tuple[int, int]] = deque()  # sequence, last index still good
        self._sequence = 0

    @classmethod
    def from_disk(cls, stored: Stored, applied: int) -> Log:
        """Rebuild the log, whatever moment the crash came at."""
        metadata = stored.snapshot.metadata if stored.snapshot else None
        base = (metadata.index, metadata.term) if metadata else (0, 0)
        log = cls(*base)
        usable = _usable(stored.entries, *base)
        log._load(usable)
        log._saving = log.stable = log.last_index
        if stored.entries and not usable and _last(stored.entries) != base:
            log._truncate = stored.entries[0].index  # or the next entries would follow a hole
        log.committed = max(base[0], min(stored.hard_state.commit, log.last_index))
        log.applying = log.applied = max(base[0], min(applied, log.committed))
        return log

    def _load(self, entries: Sequence[Entry]) -> None:
        for expected, entry in enumerate(entries, self.first_index):
            if entry.index != expected or entry.term < self.last_term:
                raise CorruptLogError(
                    f"the log holds entry {entry.index} of term {entry.term} where"
                    f" {expected} of term {self.last_term} or later belongs",
                    "remove this node from the cluster and let it join again with an empty disk",
                )
            self.append((entry,))

    # Looking

    def term(self, index: int) -> int | None:
        """Return the term at ``index``; None if compacted away or not there yet."""
        position = index - self.first_index
        if 0 <= position < len(self._entries):
            return self._entries[position].term
        return self._compacted_term if position == -1 else None

    def slice(self, low: int, high: int) -> tuple[Entry, ...]:
        """Return the entries from ``low`` to ``high``, both included."""
        first = self.first_index
        return tuple(self._entries[low - first : high - first + 1])

    def batch(self, low: int, limit_bytes: int) -> tuple[tuple[Entry, ...], int]:
        """Return entries from ``low`` on within a limit (at least one), and their bytes."""
        position = low - self.first_index
        if position >= len(self._entries):
            return (), 0
        before = self._ends[position - 1] if position else self._start
        end = max(bisect_right(self._ends, before + limit_bytes, position), position + 1)
        return tuple(self._entries[position:end]), self._ends[end - 1] - before

    @property
    def _start(self) -> int:
        if not self._entries:
            return self._bytes
        return self._ends[0] - len(self._entries[0].data) - ENTRY_OVERHEAD_BYTES

    def bytes_after(self, index: int) -> int:
        """Return the bytes of all entries behind ``index``."""
        position = index - self.first_index
        if position < 0:
            return self._bytes - self._start
        return self._bytes - self._ends[position] if position < len(self._ends) else 0

    def at_or_below(self, index: int, term: int) -> int:
        """Return the last index up to ``index`` whose term is ``term`` or older."""
        high = min(index, self.last_index) - self.first_index + 1
        if high <= 0:
            return min(index, self.first_index - 1)
        return self.first_index - 1 + bisect_right(self._entries, term, 0, high, key=_entry_term)

    def up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a log that ends there holds at least as much as this one."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    # Growing

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries that follow the last one."""
        total = self._bytes
        for entry in entries:
            total += len(entry.data) + ENTRY_OVERHEAD_BYTES
            self._ends.append(total)
        self._bytes = total
        self._entries.extend(entries)
        if entries:
            self.last_index, self.last_term = entries[-1].index, entries[-1].term

    def merge(self, previous_index: int, entries: Sequence[Entry]) -> int | None:
        """Take a leader's entries behind a verified one.

        Only a real conflict cuts the tail: a late, shorter message must not take
        away what a newer one brought.  Return the first index that was cut.
        """
        new = self._first_new(previous_index, entries)
        if new == len(entries):
            return None
        index = previous_index + 1 + new
        cut = index if index <= self.last_index else None
        if cut is not None:
            self._cut(cut)
        self.append(entries[new:])
        return cut

    def _first_new(self, previous_index: int, entries: Sequence[Entry]) -> int:
        if previous_index == self.last_index:  # the usual case
            return 0
        for position, entry in enumerate(entries):
            if self.term(entry.index) != entry.term and entry.index >= self.first_index:
                return position
        return len(entries)

    def _cut(self, index: int) -> None:
        if index <= self.committed:
            raise SafetyError(f"entry {index} is committed ({self.committed}) and may not be cut")
        position = index - self.first_index
        del self._entries[position:], self._ends[position:]
        self._bytes = self._ends[-1] if self._ends else self._bytes
        self.last_index = index - 1
        self.last_term = self.term(index - 1) or 0
        self._forget_saved(index)

    def _forget_saved(self, index: int) -> None:
        """Note that saves of ``index`` and later, done or under way, are worth nothing."""
        if index <= self._saving:
            self._saving = index - 1
            self._truncate = min(index, self._truncate or index)
        self.stable = min(self.stable, index - 1)
        self._writes = deque((number, min(last, index - 1)) for number, last in self._writes)

    # Snapshots

    def restore(self, index: int, term: int) -> None:
        """Forget everything: the log starts anew behind a received snapshot."""
        self.stable = min(self.stable, self.committed)  # what the snapshot agrees with
        self._writes = deque((number, min(last, self.stable)) for number, last in self._writes)
        self._entries.clear()
        self._ends.clear()
        self._compacted_term = self.last_term = term
        self.first_index = index + 1
        self.last_index = self.committed = self.applying = self._saving = index
        self._truncate = None

    def compact(self, index: int) -> None:
        """Drop the entries up to ``index``; all of them must be applied."""
        if index > self.applied:
            raise SafetyError(f"entry {index} is not applied yet ({self.applied})")
        count = index - self.first_index + 1
        if count > 0:
            self._compacted_term = self.term(index) or 0
            del self._entries[:count], self._ends[:count]
            self.first_index = index + 1

    # Saving

    @property
    def unsaved(self) -> bool:
        """Whether something waits to be handed out for saving."""
        return self._saving < self.last_index or self._truncate is not None

    @property
    def saving(self) -> bool:
        """Whether saves are under way."""
        return bool(self._writes)

    def take_unsaved(self) -> tuple[int | None, tuple[Entry, ...]]:
        """Hand out what is to be saved: where to truncate, and the entries."""
        truncate, self._truncate = self._truncate, None
        entries = self.slice(self._saving + 1, self.last_index)
        self._saving = self.last_index
        return truncate, entries

    def write_token(self) -> WriteToken:
        """Number the save that was just handed out."""
        self._sequence += 1
        self._writes.append((self._sequence, self._saving))
        return WriteToken(self._sequence, self.last_term, self._saving)

    def persisted(self, token: WriteToken) -> None:
        """Note that a save and all before it are durable.

        Not the token's index counts but what is left of it: an entry overwritten
        meanwhile is not durable, even if an equal one came back after it.
        """
        while self._writes and self._writes[0][0] <= token.sequence:
            self.stable = max(self.stable, self._writes.popleft()[1])

    # Committing and applying

    def commit_to(self, index: int) -> bool:
        """Move the commit mark forward; tell whether it moved."""
        if index <= self.committed:
            return False
        if index > self.last_index:
            raise SafetyError(
                f"entry {index} is to be committed, the log ends at {self.last_index}"
            )
        self.committed = index
        return True

    @property
    def unapplied(self) -> bool:
        """Whether durable committed entries wait to be handed out."""
        return self.applying < min(self.committed, self.stable)

    def take_committed(self) -> tuple[Entry, ...]:
        """Hand out the next committed entries that are on the own disk."""
        low = self.applying + 1
        high = min(self.committed, self.stable, self.applying + APPLY_BATCH_ENTRIES)
        if high < low:
            return ()
        self.applying = high
        return self.slice(low, high)


def _last(entries: Sequence[Entry]) -> tuple[int, int]:
    return entries[-1].index, entries[-1].term


def _usable(entries: Sequence[Entry], index: int, term: int) -> Sequence[Entry]:
    """Return the entries that continue a snapshot.

    They may overlap it (the crash came before the log was reset) or contradict it
    (they are what the snapshot replaced): then none of them counts.
    """
    for position, entry in enumerate(entries):
        if entry.index == index:
            return entries[position + 1 :] if entry.term == term else ()
        if entry.index == index + 1 and position == 0:
            return entries
    return ()
