"""The values that cross the border of the core, and the order they demand.

A driver owns one :class:`ood.raft.core.node.RawNode` and repeats::

    node.step(message, sender) / node.tick() / node.propose(...)   # what happened
    if node.has_ready():
        ready = node.ready()
        node.advance()           # "I have taken it": the next Ready may form
        send(ready.messages)     # these never depend on this node's disk
        save(ready.truncate, ready.entries, ready.hard_state, ready.snapshot)
        ... when durable (in the order the Readies came):
        node.persisted(ready.token)
        send(ready.messages_after)
        ... in order, at any time after ready() returned:
        restore(ready.snapshot), apply(ready.committed)
        node.applied(index)

Rules:

* Save before you send: ``messages_after`` leave only when everything that this
  *and every earlier* Ready wanted saved is durable.  ``messages`` leave at once.
* Saves happen in the order of the Readies; several may be under way, and
  neighbours may be gathered into one write and one sync.  Within one Ready:
  snapshot, then truncation, then entries, then hard state.  ``must_sync`` false
  means the write may wait for the next one that syncs (``token`` is then None).
* A save that fails stops the node for good; it is never retried.
* Apply in order, each entry once.  ``committed`` holds durable entries only,
  so a state machine never runs ahead of its own log.  A snapshot is restored
  before the entries that come with it are applied.
* A client is answered only after its entry was applied at the index and in the
  term that ``propose`` returned; another term there means the command is lost.
"""

from __future__ import annotations

import enum
from typing import Union

import msgspec


class EntryKind(enum.IntEnum):
    """What an entry of the log is for."""

    COMMAND = 0
    CONFIGURATION = 1
    NOOP = 2


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry of the log; (index, term) names it for ever.

    :ivar data: the command, or an encoded :class:`Configuration`.
    :ivar session: the client's session, for commands that are applied once.
    :ivar sequence: the command's number in its session; 0 opens the session.
    """

    index: int
    term: int
    kind: EntryKind = EntryKind.COMMAND
    data: bytes = b""
    session: str | None = None
    sequence: int = 0


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What must survive a crash besides the log."""

    term: int = 0
    vote: str | None = None
    commit: int = 0


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """Who takes part, and how.

    :ivar voters: the members that vote (the incoming half while joint).
    :ivar voters_outgoing: the outgoing half; not empty means joint.
    :ivar learners: members that are replicated to, but don't vote.
    :ivar learners_next: voters of the outgoing half that become learners
        as soon as the joint configuration is left.
    :ivar promote: learners that become voters once they have caught up.
    :ivar incarnations: for a member the name of its disk's life; a member that
        lost its disk has another one and is not let in under its old id.
    """

    voters: frozenset[str] = frozenset()
    voters_outgoing: frozenset[str] = frozenset()
    learners: frozenset[str] = frozenset()
    learners_next: frozenset[str] = frozenset()
    promote: frozenset[str] = frozenset()
    incarnations: dict[str, str] = {}

    @property
    def joint(self) -> bool:
        """Whether decisions need two majorities at the moment."""
        return bool(self.voters_outgoing)

    @property
    def all_voters(self) -> frozenset[str]:
        """The voters of both halves."""
        return self.voters | self.voters_outgoing if self.voters_outgoing else self.voters

    @property
    def members(self) -> frozenset[str]:
        """Everybody who is replicated to."""
        return self.voters | self.voters_outgoing | self.learners | self.learners_next


class SnapshotMetadata(msgspec.Struct, frozen=True, array_like=True):
    """The last entry a snapshot covers, and the configuration at that point."""

    index: int = 0
    term: int = 0
    configuration: Configuration = Configuration()


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """A state machine's whole state (sessions included) up to one entry."""

    metadata: SnapshotMetadata
    data: bytes = b""


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """What a disk gives back when a node starts.

    :ivar entries: in order, without holes; they may overlap or contradict the
        snapshot (a crash between saving it and dropping the log): the core sorts
        it out, and its first Ready truncates what is of no use.
    """

    hard_state: HardState = HardState()
    snapshot: Snapshot | None = None
    entries: list[Entry] = []


class Identity(msgspec.Struct, frozen=True, array_like=True):
    """Who speaks on a connection, as its handshake said.

    :ivar incarnation: the name of the life of the peer's disk, made on its
        first start and kept with its log; "" leaves it unchecked.
    """

    cluster: str
    id: str
    incarnation: str = ""


# Messages.  Tagged arrays: ``msgspec.msgpack.Decoder(Message)`` reads any of them.


class VoteRequest(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Asks for a vote, or with ``pre`` whether one would be given.

    :ivar transfer: the leader itself asked the candidate to take over.
    """

    source: str
    target: str
    term: int
    last_index: int
    last_term: int
    pre: bool = False
    transfer: bool = False


class VoteReply(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Answers a :class:`VoteRequest`."""

    source: str
    target: str
    term: int
    granted: bool
    pre: bool = False


class Append(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Entries that follow (previous_index, previous_term)."""

    source: str
    target: str
    term: int
    previous_index: int
    previous_term: int
    commit: int
    entries: tuple[Entry, ...] = ()


class AppendReply(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Accepted up to ``index``, or rejected.

    :ivar index: the last verified entry; if rejected, the ``previous_index``
        that did not match.
    :ivar hint_index: if rejected: where the follower believes logs may match.
    :ivar hint_term: the follower's term at ``hint_index``.
    """

    source: str
    target: str
    term: int
    index: int
    rejected: bool = False
    hint_index: int = 0
    hint_term: int = 0


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """The leader lives.

    :ivar commit: never beyond what this follower is known to have.
    :ivar round: counts the leader's rounds: an answer confirms that it led then.
    """

    source: str
    target: str
    term: int
    commit: int
    round: int = 0


class HeartbeatReply(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Answers a :class:`Heartbeat` of that round."""

    source: str
    target: str
    term: int
    round: int = 0


class SnapshotChunk(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """A piece of a snapshot, for a follower whose entries are compacted away."""

    source: str
    target: str
    term: int
    metadata: SnapshotMetadata
    offset: int
    total: int
    data: bytes


class SnapshotReply(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """How far the snapshot ``index`` has arrived: ``offset`` is wanted next."""

    source: str
    target: str
    term: int
    index: int
    offset: int


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """The leader asks the target to campaign at once."""

    source: str
    target: str
    term: int


class ReadRequest(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """A follower asks the leader for a read index."""

    source: str
    target: str
    term: int
    context: bytes


class ReadReply(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """The read index for ``context``."""

    source: str
    target: str
    term: int
    context: bytes
    index: int


Message = Union[  # noqa: UP007  msgspec reads this as a value, also on Python 3.10
    VoteRequest,
    VoteReply,
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
    ReadRequest,
    ReadReply,
]


class Role(enum.Enum):
    """What a node is at the moment."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class SoftState(msgspec.Struct, frozen=True):
    """Who leads, as far as this node knows; never saved."""

    role: Role
    leader: str | None
    term: int


class ReadState(msgspec.Struct, frozen=True, gc=False):
    """A read may be served once ``index`` is applied.

    :ivar index: None: the node lost its leader and the read must be retried.
    """

    context: bytes
    index: int | None


class WriteToken(msgspec.Struct, frozen=True, gc=False):
    """Names one save; its entries end at (index, term).

    :ivar sequence: saves are numbered, because a log may be overwritten and
        hold (index, term) again while an older save is still under way.
    """

    sequence: int
    term: int
    index: int


class Ready(msgspec.Struct, frozen=True):
    """What a driver has to do now; see the module for the order.

    :ivar hard_state: to save, if it changed.
    :ivar truncate: the first index to cut off before ``entries`` are appended.
    :ivar snapshot: received from the leader: save it, drop the whole log
        (``entries`` start anew after it), restore the state machine from it.
    :ivar messages: may leave before the disk.
    :ivar messages_after: may not.
    :ivar token: give it to ``persisted`` when this save is durable; None when
        nothing waits for it.
    """

    hard_state: HardState | None = None
    truncate: int | None = None
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None
    messages: tuple[Message, ...] = ()
    messages_after: tuple[Message, ...] = ()
    committed: tuple[Entry, ...] = ()
    read_states: tuple[ReadState, ...] = ()
    soft_state: SoftState | None = None
    must_sync: bool = False
    token: WriteToken | None = None


class ProgressStatus(msgspec.Struct, frozen=True):
    """How far one member is, as its leader sees it."""

    match: int
    next: int
    state: str
    active: bool
    in_flight: int


class Status(msgspec.Struct, frozen=True):
    """A node's view of the world, for people and metrics."""

    id: str
    term: int
    vote: str | None
    role: Role
    leader: str | None
    commit: int
    applied: int
    stable: int
    first_index: int
    last_index: int
    configuration: Configuration
    progress: dict[str, ProgressStatus] = {}
    transferring_to: str | None = None


class Options(msgspec.Struct, frozen=True):
    """The limits of one node; ticks are whatever the driver makes of them.

    :ivar election_ticks: a follower campaigns after this many silent ticks, plus
        a random number below the same.
    :ivar batch_bytes: entries in one message (a larger entry goes alone).
    :ivar in_flight_messages: unanswered appends to one follower.
    :ivar in_flight_bytes: bytes of entries in them.
    :ivar chunk_bytes: one piece of a snapshot.
    :ivar uncommitted_bytes: proposals beyond this are refused: the cluster can't keep up.
    :ivar promotion_lag: a learner this close to the leader's commit index has caught up.
    :ivar transfer_ticks: a leadership transfer is given up after this many.
    :ivar lease_reads: serve reads from the leader's lease; needs ``tick`` to tell
        the truth about time (call ``tick(n)`` for all that passed before a read).
    :ivar lease_margin_ticks: how much earlier a lease ends, for clocks that drift.
    """

    election_ticks: int = 10
    heartbeat_ticks: int = 1
    batch_bytes: int = 1 << 20
    in_flight_messages: int = 128
    in_flight_bytes: int = 16 << 20
    chunk_bytes: int = 256 << 10
    uncommitted_bytes: int = 64 << 20
    promotion_lag: int = 16
    transfer_ticks: int = 10
    lease_reads: bool = False
    lease_margin_ticks: int = 2
