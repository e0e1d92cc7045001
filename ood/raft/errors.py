"""What can go wrong with a replicated log, for the caller to act on.

The one distinction that matters to a client is between *refused* (nothing
happened, try elsewhere) and *unknown* (it may yet be committed).
"""

from __future__ import annotations

from ood.errors import OodError


class RaftError(OodError):
    """Base of everything this library raises."""

    code = "raft"


class NotLeaderError(RaftError):
    """This node does not lead, so it did nothing: ask the leader.

    :ivar leader: the leader's id as this node knows it, or ``None``.
    :ivar address: how to connect to it (the transport's options), or ``None``.
    """

    code = "not_leader"
    http_status = 421

    def __init__(self, leader: str | None, address: object = None) -> None:
        known = f"{leader} leads" if leader else "no leader is known"
        hint = "send it there" if leader else "try again after an election time-out"
        super().__init__(f"this node does not lead: {known}", hint)
        self.leader = leader
        self.address = address


class OutcomeUnknownError(RaftError):
    """The command may or may not be committed, now or later.

    Sending it again is safe only with the same session and sequence.
    """

    code = "outcome_unknown"
    http_status = 504

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the outcome is unknown: {reason}",
            "repeat it with the same session and sequence, or read what came of it",
        )


class BusyError(RaftError):
    """Too much is waiting already; nothing was done."""

    code = "busy"
    http_status = 503


class StoppedError(RaftError):
    """The node is stopped; nothing was done."""

    code = "stopped"
    http_status = 503

    def __init__(self, reason: str = "") -> None:
        super().__init__("the node is stopped" + (f": {reason}" if reason else ""))


class MembershipError(RaftError):
    """The change of members was refused; the members are as before."""

    code = "membership"
    http_status = 409


class ConnectionClosedError(RaftError):
    """The connection to the peer is gone; a pending call's outcome is unknown."""

    code = "connection_closed"
    http_status = 502


class RemoteError(RaftError):
    """The peer answered a call with an error."""

    code = "remote"
    http_status = 502


class HandshakeError(RaftError):
    """The peer is not who it should be, or of another cluster or version."""

    code = "handshake"
    http_status = 403


class FrameError(RaftError):
    """What arrived is no frame of this protocol; the connection is closed."""

    code = "frame"
    http_status = 400


class StorageError(RaftError):
    """The disk failed; the node stops, for what the kernel dropped is gone."""

    code = "storage"


class DamagedLogError(StorageError):
    """Something that was acknowledged can't be read any more.

    The files are left as they are and marked, so that the node does not come
    up with a hole in its memory and vote against what it once promised.
    """

    code = "damaged_log"

    def __init__(self, where: str, what: str) -> None:
        super().__init__(
            f"{where}: {what}",
            "remove this member through the leader, move its directory away "
            "and join it again under a new id; the other members hold the data",
        )
