"""What can go wrong with a replicated log, for the caller to act on.

The one distinction that matters to a client is between *refused* (nothing
happened, try elsewhere) and *unknown* (it may yet be committed).
"""

from __future__ import annotations

from ood.raft.core.errors import (
    BusyError,
    ChangeError,
    CorruptLogError,
    NotLeaderError,
    RaftError,
    SafetyError,
)

__all__ = [
    "BusyError",
    "ChangeError",
    "ConnectionClosedError",
    "CorruptLogError",
    "DamagedLogError",
    "FrameError",
    "HandshakeError",
    "NotLeaderError",
    "OutcomeUnknownError",
    "RaftError",
    "RedirectError",
    "RemoteError",
    "SafetyError",
    "StoppedError",
    "StorageError",
]


class RedirectError(NotLeaderError):
    """This node does not lead and was told not to forward, or can't.

    :ivar address: how to connect to the leader (the transport's options), if known.
    """

    def __init__(self, node: str, leader: str | None, address: object = None) -> None:
        super().__init__(node, leader)
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


class StoppedError(RaftError):
    """The node is stopped; nothing was done."""

    code = "stopped"
    http_status = 503

    def __init__(self, reason: str = "") -> None:
        super().__init__("the node is stopped" + (f": {reason}" if reason else ""))


class ConnectionClosedError(RaftError):
    """The connection to the peer is gone; a pending call's outcome is unknown."""

    code = "connection_closed"
    http_status = 502


class RemoteError(RaftError):
    """The peer answered a call with an error.

    :ivar remote_code: the error's ``code`` at the peer.
    """

    code = "remote"
    http_status = 502

    def __init__(self, message: str, remote_code: str = "") -> None:
        super().__init__(message)
        self.remote_code = remote_code


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
