"""Runs a core: gathers a turn of the reactor, saves, sends and applies in order.

Whatever happens in one turn makes one :class:`~ood.raft.core.types.Ready`.
Messages that may leave before the disk leave at once; the rest waits for its
save.  Saves may be under way while heartbeats and further turns go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ood.raft.core.errors import RaftError
from ood.raft.core.machine import SessionMachine
from ood.raft.core.node import RawNode
from ood.raft.core.types import (
    Entry,
    EntryKind,
    Identity,
    Message,
    Ready,
    Snapshot,
    SoftState,
    WriteToken,
)
from ood.raft.errors import StoppedError, StorageError
from ood.raft.events import (
    Committed,
    Events,
    LeaderChanged,
    MembershipChanged,
    RoleChanged,
    SnapshotSaved,
)
from ood.raft.interfaces import ILogPersistence
from ood.raft.outbox import Outbox
from ood.raft.pending import PendingCommands, PendingReads


@dataclass(frozen=True)
class Policy:
    """When things happen.

    :ivar tick_seconds: one tick of the core: the time between two heartbeats.
    :ivar snapshot_entries: take a snapshot after so many applied entries.
    :ivar snapshot_bytes: or after so many bytes of commands.
    :ivar keep_entries: what stays in memory behind a snapshot for slow followers.
    """

    tick_seconds: float = 0.05
    snapshot_entries: int = 100_000
    snapshot_bytes: int = 64 * 1024 * 1024
    keep_entries: int = 5_000


@dataclass
class Counters:
    """What happened since the start, for metrics."""

    saves: int = 0
    save_seconds: float = 0.0
    entries_saved: int = 0
    entries_applied: int = 0
    messages_received: int = 0
    snapshots: int = 0
    elections: int = 0


@dataclass
class _Save:
    """A save under way and what leaves after it."""

    token: WriteToken | None
    messages: list[Message] = field(default_factory=list)
    began: float = 0.0


class Driver:
    """One running core.

    :param send: sends messages to members.
    :param members_changed: called when other members are to be reached.
    :param failed: called once when the disk or the machine failed.
    """

    log = Logger()

    def __init__(
        self,
        raw: RawNode,
        *,
        identity: Identity,
        persistence: ILogPersistence,
        machine: SessionMachine,
        clock: IReactorTime,
        events: Events,
        send: Callable[[Sequence[Message]], object],
        members_changed: Callable[[], object],
        failed: Callable[[Exception], object],
        policy: Policy,
    ) -> None:
        self.raw = raw
        self.commands = PendingCommands(identity.id)
        self.reads = PendingReads()
        self.counters = Counters()
        self.leader: str | None = None
        self.leading = False
        self._identity = identity
        self._persistence = persistence
        self._machine = machine
        self._clock = clock
        self._events = events
        self.outbox = Outbox(clock, send)
        self._members_changed = members_changed
        self._failed = failed
        self._policy = policy
        self._saving: deque[_Save] = deque()
        self._turn: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None
        self._ticked = clock.seconds()
        self._promise: tuple[int, str | None] | None = None  # the term and vote saved last
        self._in_force = raw.configuration
        self.committed_configuration = raw.configuration
        self._snapshot_index = machine.index
        self._bytes_applied = 0
        self._snapshotting = False
        self._retry_reads = False
        self._running = False

    # Life

    def start(self) -> None:
        """Begin to tick."""
        self._running = True
        self._ticked = self._clock.seconds()
        self._schedule_tick()
        self.wake()

    def stop(self) -> None:
        """End; whoever waits is told that nobody knows."""
        self._running = False
        for call in (self._turn, self._timer):
            if call is not None and call.active():
                call.cancel()
        self._turn = self._timer = None
        self.outbox.stop()
        self.commands.fail_all(StoppedError("the command's outcome is unknown"))
        self.reads.expire(float("inf"), StoppedError())

    def wake(self) -> None:
        """Something happened: look at the core when this turn is over."""
        if self._turn is None and self._running:
            self._turn = self._clock.callLater(0, self._pump)

    def _schedule_tick(self) -> None:
        self._timer = self._clock.callLater(self._policy.tick_seconds, self._tick)

    def _tick(self) -> None:
        now = self._clock.seconds()
        self._schedule_tick()
        self._catch_up(now)
        self.commands.expire(now)
        self.reads.expire(now, StoppedError("no leader confirmed the read in time"))
        self._retry_reads = False
        self.wake()

    def _catch_up(self, now: float) -> None:
        """Tell the core how much time has passed.

        After a pause (SIGSTOP, a busy machine) all that was missed counts.
        """
        count = int((now - self._ticked) / self._policy.tick_seconds + 1e-6)
        self._ticked += count * self._policy.tick_seconds
        if count:
            self.raw.tick(count)

    # What others want

    def propose(
        self, data: bytes, session: str | None, sequence: int, deadline: float
    ) -> Deferred[Any]:
        """Propose a command; fire with its result.

        :raises NotLeaderError: at once, nothing was done.
        """
        index, term = self.raw.propose(data, session=session, sequence=sequence)
        self.wake()
        return self.commands.add(index, term, deadline)

    def read(self, deadline: float) -> Deferred[int]:
        """Fire when the machine holds all that was committed before the call."""
        self.wake()
        return self.reads.add(deadline)

    def step(self, messages: Sequence[Message], sender: Identity) -> None:
        """Take a member's messages."""
        if not self._running:
            return
        self.counters.messages_received += len(messages)
        for message in messages:
            self.raw.step(message, sender)
        self.wake()

    def lost(self, member: str) -> None:
        """Messages to a member got lost."""
        if self._running and self.leading:
            self.raw.report_unreachable(member)

    # A turn

    def _pump(self) -> None:
        self._turn = None
        try:
            if not self._retry_reads and (context := self.reads.take()) is not None:
                self._catch_up(self._clock.seconds())  # or a lease outlives a pause
                self.raw.read_index(context)
            while self._running and self.raw.has_ready():
                ready = self.raw.ready()
                self.raw.advance()
                self._handle(ready)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._running:
            self._failed(error)

    def _handle(self, ready: Ready) -> None:
        self._look_at_members()
        if ready.token is None:
            # Nothing to save, so the messages only say what is committed:
            # whoever waits here goes first.
            self._look_at_machine(ready)
            self.outbox.send(ready.messages)
            self._save(ready)
        else:
            self.outbox.send(ready.messages)
            self._save(ready)
            self._look_at_machine(ready)

    def _look_at_machine(self, ready: Ready) -> None:
        if ready.soft_state is not None:
            self._soft_state_changed(ready.soft_state)
        if ready.snapshot is not None:
            self._restore(ready.snapshot)
        if ready.committed:
            self._apply(ready.committed)
        for state in ready.read_states:
            if self.reads.answered(state.context, state.index):
                self._retry_reads = True
        self.reads.applied(self._machine.index)

    def _save(self, ready: Ready) -> None:
        after = list(ready.messages_after)
        saves = self._saves(ready)
        if saves:
            save = _Save(ready.token, after, self._clock.seconds())
            self._saving.append(save)
            for early in saves[:-1]:
                _ = early.addErrback(self._save_failed)
            _ = saves[-1].addCallbacks(self._saved, self._save_failed)
            _ = saves[-1].addErrback(self._save_failed)
        elif self._saving:
            # Nothing to save, but what was said before is not durable yet.
            self._saving[-1].messages += after
        else:
            self.outbox.send(after)

    def _saves(self, ready: Ready) -> list[Deferred[None]]:
        if ready.token is None:
            return []  # a commit index alone; it goes with the next save
        store = self._persistence
        saves: list[Deferred[None]] = []
        if ready.snapshot is not None:
            saves.append(store.snapshot(ready.snapshot, True))
        if ready.truncate is not None:
            saves.append(store.truncate(ready.truncate))
        if ready.entries:
            self.counters.entries_saved += len(ready.entries)
            saves.append(store.append(ready.entries))
        state = ready.hard_state
        if state is not None and (state.term, state.vote) != self._promise:
            # A new commit index alone is not worth a save: it is found again.
            self._promise = (state.term, state.vote)
            saves.append(store.save_meta(self._identity, state))
        return saves or [store.append(())]

    def _saved(self, _: object) -> None:
        if not self._running:
            return
        save = self._saving.popleft()
        self.counters.saves += 1
        self.counters.save_seconds += self._clock.seconds() - save.began
        if save.token is not None:
            self.raw.persisted(save.token)
        self.outbox.send(save.messages)
        self.wake()

    def _save_failed(self, failure: Failure) -> None:
        """A save is never tried again: what the kernel holds is not what it says."""
        error = failure.value
        self._fail(error if isinstance(error, RaftError) else StorageError(str(error)))

    # The machine

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            result = self._machine.apply(entry)
            self._bytes_applied += len(entry.data)
            self.commands.applied(entry, result)
            if entry.kind is EntryKind.CONFIGURATION:
                self._members_committed(entry.index)
        last = entries[-1].index
        self.counters.entries_applied += len(entries)
        self.raw.applied(last)
        self._events.emit(Committed(last))
        self._consider_snapshot()

    def _restore(self, snapshot: Snapshot) -> None:
        index = snapshot.metadata.index
        self._machine.restore(snapshot.data)
        self._snapshot_index, self._bytes_applied = index, 0
        self.raw.applied(index)
        self.commands.restored(index)
        self._events.emit(SnapshotSaved(index, received=True))
        self._members_committed(index)

    def _members_committed(self, index: int) -> None:
        self.committed_configuration = self.raw.snapshot_metadata(index).configuration
        self._events.emit(MembershipChanged(self.committed_configuration))

    def _look_at_members(self) -> None:
        """A configuration is in force, and its members need links, before it is committed."""
        if self.raw.configuration is not self._in_force:
            self._in_force = self.raw.configuration
            self._members_changed()

    def _consider_snapshot(self) -> None:
        policy = self._policy
        due = (
            self._machine.index - self._snapshot_index >= policy.snapshot_entries
            or self._bytes_applied >= policy.snapshot_bytes
        )
        if due and not self._snapshotting:
            _ = self.take_snapshot().addErrback(self._snapshot_failed)

    def take_snapshot(self) -> Deferred[int]:
        """Save the machine's state and drop the log before it; fire with the index."""
        self._snapshotting = True
        index = self._machine.index
        metadata = self.raw.snapshot_metadata(index)
        snapshot = Snapshot(metadata, self._machine.snapshot())
        self._snapshot_index, self._bytes_applied = index, 0
        saved = self._persistence.snapshot(snapshot)
        return saved.addBoth(self._snapshot_ended).addCallback(self._snapshot_saved, snapshot)

    def _snapshot_ended(self, result: Any) -> Any:
        self._snapshotting = False
        return result

    def _snapshot_saved(self, _: object, snapshot: Snapshot) -> int:
        if not self._running:
            return snapshot.metadata.index
        self.counters.snapshots += 1
        self.raw.snapshot_taken(snapshot, self._policy.keep_entries)
        self._events.emit(SnapshotSaved(snapshot.metadata.index, received=False))
        return snapshot.metadata.index

    def _snapshot_failed(self, failure: Failure) -> None:
        """Without it the log just stays longer; it is due again later."""
        self.log.error("no snapshot could be saved: {error}", error=failure.value)

    def _soft_state_changed(self, soft: SoftState) -> None:
        leading = soft.role.value == "leader"
        if soft.role.value == "candidate":
            self.counters.elections += 1
        leader, self.leader = self.leader, soft.leader
        self.leading = leading
        if leader != soft.leader:
            self._members_changed()
        self._events.emit(RoleChanged(soft.role, soft.term))
        if leader != soft.leader:
            self._events.emit(LeaderChanged(soft.leader, soft.term))
