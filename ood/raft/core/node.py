"""The one class of the core that a driver uses (signatures first; the rest follows)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ood.raft.core.types import (
    Configuration,
    Identity,
    Message,
    Options,
    Ready,
    Snapshot,
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
    ) -> None: ...

    def step(self, message: Message, sender: Identity | None = None) -> None:
        """Take a message; ``sender`` is what the handshake of its connection said."""

    def tick(self, count: int = 1) -> None:
        """Let time pass.  After a pause pass all the ticks that were missed."""

    def campaign(self) -> None:
        """Try to become the leader now (pre-vote first)."""

    def propose(
        self, data: bytes, *, session: str | None = None, sequence: int = 0
    ) -> tuple[int, int]:
        """Append a command; return the (index, term) it will have if it commits.

        :raises NotLeaderError: with the leader's id, if known.
        :raises BusyError: too much is uncommitted, or leadership is being transferred.
        """
        raise AssertionError

    def propose_configuration(
        self,
        *,
        voters: Iterable[str] | None = None,
        learners: Iterable[str] | None = None,
        promote: Iterable[str] = (),
        incarnations: dict[str, str] | None = None,
    ) -> tuple[int, int]:
        """Change to these voters and learners, through a joint configuration.

        ``promote`` names learners to be made voters once caught up.  The change is
        done when an entry with ``voters_outgoing`` empty was applied.

        :raises ChangeError: a change is under way, or the result makes no sense.
        """
        raise AssertionError

    def add_member(self, member: str, incarnation: str = "") -> tuple[int, int]:
        """Add a learner that becomes a voter by itself once it has caught up."""
        raise AssertionError

    def remove_member(self, member: str) -> tuple[int, int]:
        """Remove a voter or learner."""
        raise AssertionError

    def read_index(self, context: bytes) -> None:
        """Ask for a linearizable read: ``Ready.read_states`` answers with ``context``.

        Works on the leader and, through it, on followers; answers with index None
        when the leader changes first (or none is known): retry.
        """

    def transfer_leadership(self, member: str) -> None:
        """Hand leadership to a voter; proposals are refused meanwhile."""

    def report_unreachable(self, member: str) -> None:
        """Say that messages to a member got lost: go back to probing it."""

    def snapshot_taken(self, snapshot: Snapshot, keep: int = 0) -> int:
        """Record the state machine's snapshot and compact the log up to it.

        Call when the snapshot is durable.  ``keep`` entries before it stay for
        followers that are a little behind.  Return the new first index of the log.
        """
        raise AssertionError

    def has_ready(self) -> bool:
        """Whether ``ready`` has something to do."""
        raise AssertionError

    def ready(self) -> Ready:
        """Everything to do now."""
        raise AssertionError

    def advance(self) -> None:
        """Say that the last Ready was taken."""

    def persisted(self, token: WriteToken) -> None:
        """Say that a save (and all before it) is durable."""

    def applied(self, index: int) -> None:
        """Say that the state machine holds everything up to ``index``."""

    def status(self) -> Status:
        """Return this node's view of the world."""
        raise AssertionError

    @property
    def configuration(self) -> Configuration:
        """The configuration in force."""
        raise AssertionError
