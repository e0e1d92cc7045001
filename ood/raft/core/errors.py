"""What the core refuses, in words a caller can act on."""

from __future__ import annotations

from ood.errors import OodError, UnavailableError


class RaftError(OodError):
    """The base of everything ``ood.raft`` refuses."""

    code = "raft"


class NotLeaderError(RaftError, UnavailableError):
    """Only the leader can do this.

    :ivar leader: who leads, as far as this node knows.
    """

    code = "not_leader"

    def __init__(self, node: str, leader: str | None) -> None:
        super().__init__(
            f"node {node} is not the leader",
            f"ask {leader}" if leader else "no leader is known at the moment; retry",
        )
        self.leader = leader


class BusyError(RaftError, UnavailableError):
    """The leader can't take this now; nothing was proposed."""

    code = "busy"


class ChangeError(RaftError):
    """A change of the configuration that is not possible."""

    code = "bad_change"
    http_status = 409


class CorruptLogError(RaftError):
    """What the disk gave back contradicts itself; the node must not start."""

    code = "corrupt_log"


class SafetyError(RaftError):
    """An invariant of Raft is broken: the node must stop rather than go on."""

    code = "unsafe"
