"""Which message does what, and what its term means first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ood.raft.core import election, follower, reads, replication, roles, snapshots
from ood.raft.core.state import Core
from ood.raft.core.types import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Identity,
    Message,
    ReadReply,
    ReadRequest,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)

_FROM_LEADER = (Append, Heartbeat, SnapshotChunk)
_ANSWERS = (VoteReply, AppendReply, HeartbeatReply, SnapshotReply)


def _on_timeout_now(core: Core, message: TimeoutNow) -> None:
    if core.leader == message.source and core.promotable:
        election.campaign_for_real(core, transfer=True)


_HANDLERS: dict[type, Callable[[Core, Any], None]] = {
    VoteRequest: election.on_request,
    VoteReply: election.on_reply,
    Append: follower.on_append,
    AppendReply: replication.on_reply,
    Heartbeat: follower.on_heartbeat,
    HeartbeatReply: replication.on_heartbeat_reply,
    SnapshotChunk: snapshots.on_chunk,
    SnapshotReply: snapshots.on_reply,
    TimeoutNow: _on_timeout_now,
    ReadRequest: reads.on_request,
    ReadReply: reads.on_reply,
}


def step(core: Core, message: Message, sender: Identity | None) -> None:
    """Take one message, unless it is not for this node, or from a stranger or the past."""
    if message.target != core.id or not _known(core, message, sender):
        return
    if message.term > core.term and not _adopt(core, message):
        return
    if message.term < core.term and not _is_pre_vote(message):
        _answer_past(core, message)
        return
    _HANDLERS[type(message)](core, message)


def _known(core: Core, message: Message, sender: Identity | None) -> bool:
    """Whether the sender is who it should be: its cluster, its id, its disk's life.

    A member that lost its disk forgot its votes and what it acknowledged, so under
    its old id its answers do not count (and it does not campaign).  What a leader
    says is heard from any life: this log may be older than the leader's new disk.
    """
    if sender is None:
        return True
    if sender.cluster != core.identity.cluster or sender.id != message.source:
        return False
    if not sender.incarnation or not isinstance(message, _ANSWERS):
        return True
    core.incarnations[sender.id] = sender.incarnation
    return core.configuration.incarnations.get(sender.id) in (None, sender.incarnation)


def _is_pre_vote(message: Message) -> bool:
    return isinstance(message, VoteRequest) and message.pre


def _adopt(core: Core, message: Message) -> bool:
    """Enter a newer term where the message means one; tell whether to go on."""
    if isinstance(message, VoteRequest):
        if election.in_lease(core) and not message.transfer:
            return False
        if message.pre:
            return True
    if isinstance(message, VoteReply) and message.pre and message.granted:
        return True
    leader = message.source if isinstance(message, _FROM_LEADER) else None
    roles.become_follower(core, message.term, leader)
    return True


def _answer_past(core: Core, message: Message) -> None:
    """Tell a deposed leader about the newer term."""
    if isinstance(message, _FROM_LEADER):
        core.send(HeartbeatReply(core.id, message.source, core.term))
