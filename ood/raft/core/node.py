"""The one class of the core that a driver uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ood.raft.core import (
    dispatch,
    election,
    membership,
    reads,
    replication,
    snapshots,
    start,
    transfer,
)
from ood.raft.core.errors import BusyError, ChangeError, NotLeaderError
from ood.raft.core.types import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Identity,
    Message,
    Options,
    Ready,
    Snapshot,
    SnapshotMetadata,
    SoftState,
    Status,
    Stored,
    WriteToken,
)


class RawNode:
    """One member of a cluster, without I/O; :mod:`ood.raft.core.types` tells the order.

    :param identity: cluster, id and incarnation of this node.
    :param bootstrap: the first configuration, the same on every first member; used
        only if ``stored`` is empty.  None: this node waits to be added by a leader.
    :param stored: what the disk gave back.
    :param applied: the last entry the state machine holds already (its own
        snapshot's index if it was restored from one).
    :param jitter: ``jitter(n)`` returns a number from 0 to n - 1 (``random.randrange``).
    """

    def __init__(
        self,
        identity: Identity,
        *,
        bootstrap: Configuration | None,
        stored: Stored,
        jitter: Callable[[int], int],
        options: Options | None = None,
        applied: int = 0,
    ) -> None:
        self._core = start.load(
            identity,
            bootstrap=bootstrap,
            stored=stored,
            jitter=jitter,
            options=options or Options(),
            applied=applied,
        )
        self._ready: Ready | None = None
        self._soft: SoftState | None = None

    # What happens

    def step(self, message: Message, sender: Identity | None = None) -> None:
        """Take a message; ``sender`` is what the handshake of its connection said."""
        dispatch.step(self._core, message, sender)

    def tick(self, count: int = 1) -> None:
        """Let time pass.  After a pause pass all the ticks that were missed."""
        core = self._core
        core.now += count
        core.election_elapsed += count
        if core.leading:
            self._lead(count)
        else:
            election.on_timeout(core)

    def _lead(self, count: int) -> None:
        core = self._core
        transfer.tick(core, count)
        if core.election_elapsed >= core.options.election_ticks:
            core.election_elapsed = 0
            election.check_quorum(core)
        core.heartbeat_elapsed += count
        if core.leading and core.heartbeat_elapsed >= core.options.heartbeat_ticks:
            core.heartbeat_elapsed = 0
            membership.tend(core)
            reads.begin_round(core)
            core.dirty = True

    def campaign(self) -> None:
        """Try to become the leader now (pre-vote first)."""
        election.campaign(self._core)

    def propose(
        self, data: bytes, *, session: str | None = None, sequence: int = 0
    ) -> tuple[int, int]:
        """Append a command; return the (index, term) it will have if it commits.

        :raises NotLeaderError: with the leader's id, if known.
        :raises BusyError: too much is uncommitted, or leadership is being transferred.
        """
        self._may_propose()
        core = self._core
        log = core.log
        if log.bytes_after(log.committed) > core.options.uncommitted_bytes:
            raise BusyError("too many commands wait for a majority", "slow down and retry")
        index = log.last_index + 1
        core.append_own(Entry(index, core.term, EntryKind.COMMAND, data, session, sequence))
        return index, core.term

    def _may_propose(self) -> None:
        core = self._core
        if not core.leading:
            raise NotLeaderError(core.id, core.leader)
        if core.transferee is not None:
            raise BusyError("leadership is being handed over", "retry in a moment")

    def propose_configuration(
        self,
        *,
        voters: Iterable[str] | None = None,
        learners: Iterable[str] | None = None,
        promote: Iterable[str] | None = None,
        incarnations: dict[str, str] | None = None,
    ) -> tuple[int, int]:
        """Change to these voters and learners, through a joint configuration if need be.

        ``promote`` names learners to be made voters once caught up.  The change is
        done when an entry with ``voters_outgoing`` empty was applied.

        :raises ChangeError: a change is under way, or the result makes no sense.
        """
        self._may_propose()
        return membership.propose(
            self._core,
            voters=voters,
            learners=learners,
            promote=promote,
            incarnations=incarnations,
        )

    def add_member(self, member: str, incarnation: str = "") -> tuple[int, int]:
        """Add a learner that becomes a voter by itself once it has caught up."""
        current = self.configuration
        if member in current.members:
            raise ChangeError(f"{member} is a member already", "remove it first to replace it")
        return self.propose_configuration(
            learners=current.learners | {member},
            promote=current.promote | {member},
            incarnations={member: incarnation} if incarnation else None,
        )

    def remove_member(self, member: str) -> tuple[int, int]:
        """Remove a voter or learner."""
        current = self.configuration
        if member not in current.members:
            raise ChangeError(f"{member} is not a member")
        return self.propose_configuration(
            voters=current.voters - {member}, learners=current.learners - {member}
        )

    def read_index(self, context: bytes) -> None:
        """Ask for a linearizable read: ``Ready.read_states`` answers with ``context``.

        Works on the leader and, through it, on followers; answers with index None
        when the leader changes first (or none is known): retry.  ``context`` must
        be different for reads under way at the same time.
        """
        reads.request(self._core, context)

    def transfer_leadership(self, member: str) -> None:
        """Hand leadership to a voter; proposals are refused meanwhile."""
        self._may_propose()
        transfer.begin(self._core, member)

    def report_unreachable(self, member: str) -> None:
        """Say that messages to a member got lost: go back to probing it."""
        replication.unreachable(self._core, member)

    # Snapshots

    def snapshot_metadata(self, index: int) -> SnapshotMetadata:
        """Return the metadata for a snapshot of the state machine at an applied index."""
        core = self._core
        return SnapshotMetadata(index, core.log.term(index) or 0, core.history.at(index))

    def snapshot_taken(self, snapshot: Snapshot, keep: int = 0) -> int:
        """Record the state machine's snapshot and compact the log up to it.

        Call when the snapshot is durable.  ``keep`` entries before it stay for
        followers that are a little behind.  Return the new first index of the log.
        """
        return snapshots.record(self._core, snapshot, keep)

    # What is to be done

    def has_ready(self) -> bool:
        """Whether ``ready`` may have something to do."""
        core = self._core
        return bool(
            core.dirty
            or core.now_box
            or core.after_box
            or core.log.unsaved
            or core.log.unapplied
            or core.restored
            or core.read_states
            or (core.term, core.vote) != (core.hard.term, core.hard.vote)
            or self._soft_state() != self._soft
        )

    def ready(self) -> Ready:
        """Everything to do now; call once per turn, so that one turn makes one batch."""
        if self._ready is None:
            self._settle()
            self._ready = self._collect()
        return self._ready

    def advance(self) -> None:
        """Say that the last Ready was taken."""
        self._ready = None

    def _settle(self) -> None:
        core = self._core
        if core.dirty and core.leading:
            core.dirty = False
            replication.settle(core)
            if core.leading:
                reads.settle(core)
        else:
            core.dirty = False

    def _collect(self) -> Ready:
        core = self._core
        hard, truncate, entries, token = self._take_writes()
        restored, core.restored = core.restored, None
        early, late = self._take_messages(token)
        states, core.read_states = tuple(core.read_states), []
        soft = self._soft_state()
        changed, self._soft = (soft if soft != self._soft else None), soft
        return Ready(
            hard_state=hard,
            truncate=truncate,
            entries=entries,
            snapshot=restored,
            messages=early,
            messages_after=late,
            committed=core.log.take_committed(),
            read_states=states,
            soft_state=changed,
            must_sync=token is not None,
            token=token,
        )

    def _take_writes(
        self,
    ) -> tuple[HardState | None, int | None, tuple[Entry, ...], WriteToken | None]:
        core = self._core
        log = core.log
        changed = (core.term, core.vote) != (core.hard.term, core.hard.vote)
        if not (changed or log.unsaved or core.restored):
            return None, None, (), None
        truncate, entries = log.take_unsaved()
        token = log.write_token()
        hard = HardState(core.term, core.vote, log.committed)
        news = hard if hard != core.hard else None
        core.hard = hard
        core.term_writes.append((token.sequence, core.term))
        return news, truncate, entries, token

    def _take_messages(
        self, token: WriteToken | None
    ) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
        """Sort the messages: what a term or vote stands behind waits until that is durable."""
        core = self._core
        early, late = core.now_box, core.after_box
        core.now_box, core.after_box = [], []
        if token is None and not core.log.saving:
            return (*early, *late), ()
        if core.durable_term != core.term:
            return (), (*early, *late)
        return tuple(early), tuple(late)

    def persisted(self, token: WriteToken) -> None:
        """Say that a save (and all before it) is durable."""
        core = self._core
        core.log.persisted(token)
        while core.term_writes and core.term_writes[0][0] <= token.sequence:
            core.durable_term = core.term_writes.popleft()[1]
        core.dirty = core.dirty or core.leading

    def applied(self, index: int) -> None:
        """Say that the state machine holds everything up to ``index``."""
        log = self._core.log
        log.applied = max(log.applied, index)

    # Looking

    def _soft_state(self) -> SoftState:
        core = self._core
        return SoftState(core.role, core.leader, core.term)

    def status(self) -> Status:
        """Return this node's view of the world."""
        core = self._core
        log = core.log
        return Status(
            id=core.id,
            term=core.term,
            vote=core.vote,
            role=core.role,
            leader=core.leader,
            commit=log.committed,
            applied=log.applied,
            stable=log.stable,
            first_index=log.first_index,
            last_index=log.last_index,
            configuration=core.configuration,
            progress={name: p.status() for name, p in core.progress.items()},
            transferring_to=core.transferee,
        )

    @property
    def configuration(self) -> Configuration:
        """The configuration in force."""
        return self._core.configuration
