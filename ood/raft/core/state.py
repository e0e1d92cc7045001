"""What one node knows: the values all parts of the core work on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ood.raft.core.configuration import History
from ood.raft.core.log import Log
from ood.raft.core.progress import Progress
from ood.raft.core.types import (
    AppendReply,
    Configuration,
    Entry,
    HardState,
    Identity,
    Message,
    Options,
    ReadState,
    Role,
    Snapshot,
    SnapshotMetadata,
)


@dataclass
class Incoming:
    """A snapshot on its way in."""

    metadata: SnapshotMetadata
    data: bytearray = field(default_factory=bytearray)


@dataclass
class Reads:
    """Linearizable reads under way.

    :ivar waiting: (context, who asked; None: this node) not yet in a round.
    :ivar pending: (round, read index, those who wait for that round).
    :ivar forwarded: contexts this node has asked its leader about.
    :ivar sent: (round, tick at which it was sent), for the lease.
    """

    waiting: list[tuple[bytes, str | None]] = field(default_factory=list)
    pending: deque[tuple[int, int, list[tuple[bytes, str | None]]]] = field(default_factory=deque)
    forwarded: dict[bytes, None] = field(default_factory=dict)
    sent: deque[tuple[int, int]] = field(default_factory=deque)
    lease_start: int | None = None


@dataclass
class Core:
    """One node's state.

    :ivar now: ticks since the start.
    :ivar quiet_until: no vote is given before this tick (a lease may stand
        that this node promised before it was restarted).
    :ivar dirty: something happened that may let a leader commit or send.
    :ivar durable_term: the term that is on disk, with its vote.
    """

    identity: Identity
    options: Options
    jitter: Callable[[int], int]
    log: Log
    history: History
    hard: HardState = field(default_factory=HardState)
    term: int = 0
    vote: str | None = None
    role: Role = Role.FOLLOWER
    leader: str | None = None
    now: int = 0
    quiet_until: int = 0
    election_elapsed: int = 0
    heartbeat_elapsed: int = 0
    timeout: int = 0
    votes: dict[str, bool] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    round: int = 0
    reads: Reads = field(default_factory=Reads)
    transferee: str | None = None
    transfer_elapsed: int = 0
    handed_over: bool = False
    snapshot: Snapshot | None = None
    incoming: Incoming | None = None
    restored: Snapshot | None = None
    incarnations: dict[str, str] = field(default_factory=dict)
    dirty: bool = False
    durable_term: int = 0
    term_writes: deque[tuple[int, int]] = field(default_factory=deque)
    now_box: list[Message] = field(default_factory=list)
    after_box: list[Message] = field(default_factory=list)
    read_states: list[ReadState] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.id = self.identity.id

    @property
    def configuration(self) -> Configuration:
        """The configuration in force."""
        return self.history.current

    @property
    def leading(self) -> bool:
        """Whether this node leads."""
        return self.role is Role.LEADER

    @property
    def promotable(self) -> bool:
        """Whether this node may campaign.

        While the configuration that leaves it out is not committed, the others may
        need its longer log to go on (thesis, 4.2.2); its own vote does not count then.
        """
        known, own = self.configuration.incarnations.get(self.id), self.identity.incarnation
        if known and own and known != own:
            return False  # this disk is not the one the cluster relies on
        if self.id in self.configuration.all_voters:
            return True
        committed = self.log.committed
        return self.history.index > committed and self.id in self.history.at(committed).all_voters

    @property
    def committed_in_term(self) -> bool:
        """Whether an entry of the current term is committed.

        Until then a leader does not know what is committed: it must neither
        serve reads nor change the configuration.
        """
        return self.log.term(self.log.committed) == self.term

    def send(self, message: Message) -> None:
        """Send what does not depend on this node's disk."""
        self.now_box.append(message)

    def send_after(self, message: Message) -> None:
        """Send once everything known now is durable."""
        self.after_box.append(message)

    def acknowledge(self, target: str, index: int) -> None:
        """Tell the leader up to where this log is verified; one answer for many messages."""
        box = self.after_box
        last = box[-1] if box else None
        known = (target, self.term, False)
        if isinstance(last, AppendReply) and (last.target, last.term, last.rejected) == known:
            index = max(index, last.index)
            box.pop()
        box.append(AppendReply(self.id, target, self.term, index))

    def append_own(self, entry: Entry) -> None:
        """Add an entry of this leader's term."""
        self.log.append((entry,))
        self.dirty = True
