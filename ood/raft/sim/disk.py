"""A disk that loses or tears what was not synced."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ood.raft.core.types import Entry, HardState, Message, Ready, Snapshot, Stored, WriteToken


@dataclass(frozen=True)
class Write:
    """One save, and what may happen once it is durable.

    :ivar drop_log: the snapshot came from the leader and replaces the log.
    :ivar compact: the snapshot is the node's own: the log loses entries up to here.
    """

    hard_state: HardState | None = None
    truncate: int | None = None
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None
    drop_log: bool = False
    compact: int | None = None
    messages: tuple[Message, ...] = ()
    token: WriteToken | None = None

    @classmethod
    def of(cls, ready: Ready) -> Write:
        """Return what a Ready wants saved."""
        return cls(
            ready.hard_state,
            ready.truncate,
            ready.entries,
            ready.snapshot,
            ready.snapshot is not None,
            None,
            ready.messages_after,
            ready.token,
        )


class Disk:
    """What is durable, and the saves under way in their order."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.snapshot: Snapshot | None = None
        self.entries: list[Entry] = []
        self.pending: deque[Write] = deque()

    def enqueue(self, write: Write) -> None:
        """Begin a save."""
        self.pending.append(write)

    def sync(self) -> Write:
        """Finish the oldest save and return it."""
        write = self.pending.popleft()
        for step in self._steps(write):
            step()
        return write

    def crash(self, keep: int, steps: int) -> None:
        """Lose the saves under way, but the first ``keep`` and some steps of the next."""
        for _ in range(min(keep, len(self.pending))):
            self.sync()
        if self.pending:
            for step in self._steps(self.pending[0])[:steps]:
                step()
        self.pending.clear()

    def load(self) -> Stored:
        """Return what a restarted node finds."""
        return Stored(self.hard_state, self.snapshot, list(self.entries))

    @property
    def last_index(self) -> int:
        """The last durable entry, the snapshot's included."""
        covered = self.snapshot.metadata.index if self.snapshot else 0
        return max(covered, self.entries[-1].index if self.entries else 0)

    @property
    def last_term(self) -> int:
        """The newest term that a restart finds, in the log or by itself."""
        covered = self.snapshot.metadata.term if self.snapshot else 0
        written = self.entries[-1].term if self.entries else 0
        return max(self.hard_state.term, covered, written)

    def _steps(self, write: Write) -> list[Callable[[], None]]:
        """Return a save as the steps between which a crash can come."""
        steps: list[Callable[[], None]] = []
        if write.snapshot is not None:
            steps.append(lambda: self._save_snapshot(write.snapshot))
        if write.drop_log:
            steps.append(self.entries.clear)
        if write.compact is not None:
            steps.append(lambda: self._cut(0, write.compact))
        if write.truncate is not None:
            steps.append(lambda: self._truncate(write.truncate))
        half = (len(write.entries) + 1) // 2
        steps.append(lambda: self.entries.extend(write.entries[:half]))
        steps.append(lambda: self.entries.extend(write.entries[half:]))
        if write.hard_state is not None:
            steps.append(lambda: self._save_hard(write.hard_state))
        return steps

    def _save_snapshot(self, snapshot: Snapshot | None) -> None:
        self.snapshot = snapshot

    def _save_hard(self, hard_state: HardState | None) -> None:
        self.hard_state = hard_state or self.hard_state

    def _truncate(self, index: int | None) -> None:
        self.entries[:] = [e for e in self.entries if index is None or e.index < index]

    def _cut(self, low: int, high: int | None) -> None:
        self.entries[:] = [e for e in self.entries if not low <= e.index <= (high or 0)]
