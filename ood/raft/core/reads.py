"""Linearizable reads: by a round of heartbeats, or from the leader's lease."""

from __future__ import annotations

from ood.raft.core import quorum
from ood.raft.core.state import Core, Reads
from ood.raft.core.types import Heartbeat, ReadReply, ReadRequest, ReadState


def request(core: Core, context: bytes) -> None:
    """Begin a read on this node; a follower asks its leader."""
    if core.leading:
        core.reads.waiting.append((context, None))
        core.dirty = True
    elif core.leader:
        core.reads.forwarded[context] = None
        core.send(ReadRequest(core.id, core.leader, core.term, context))
    else:
        core.read_states.append(ReadState(context, None))


def drop(core: Core) -> None:
    """Give every read of this node back, because its leader is gone."""
    old, core.reads = core.reads, Reads()
    groups = [old.waiting, *(asked for _, _, asked in old.pending)]
    lost = [context for asked in groups for context, source in asked if source is None]
    core.read_states.extend(ReadState(context, None) for context in [*lost, *old.forwarded])


def on_request(core: Core, message: ReadRequest) -> None:
    """Take a follower's read; one that does not lead stays silent, it has failed it already."""
    if core.leading:
        core.reads.waiting.append((message.context, message.source))
        core.dirty = True


def on_reply(core: Core, message: ReadReply) -> None:
    """Take the leader's answer, once."""
    if message.context in core.reads.forwarded:
        del core.reads.forwarded[message.context]
        core.read_states.append(ReadState(message.context, message.index))


def settle(core: Core) -> None:
    """Answer what can be answered and begin a round for the rest.

    A new leader waits: before it has committed in its own term it may not know
    of everything that was committed before.
    """
    reads = core.reads
    if reads.waiting and core.committed_in_term:
        if lease_valid(core):
            _answer(core, core.log.committed, reads.waiting)
        else:
            begin_round(core)
            reads.pending.append((core.round, core.log.committed, reads.waiting))
        reads.waiting = []
    if reads.pending or reads.sent:
        _finish(core)


def begin_round(core: Core) -> None:
    """Send a heartbeat to everybody: the answers prove who leads at this moment."""
    core.round += 1
    core.reads.sent.append((core.round, core.now))
    committed = core.log.committed
    for name, progress in core.progress.items():
        if name == core.id:
            progress.round = core.round
            continue
        progress.told = min(progress.match, committed)
        core.send(Heartbeat(core.id, name, core.term, progress.told, core.round))


def _finish(core: Core) -> None:
    progress, reads = core.progress, core.reads
    confirmed = quorum.reached(
        core.configuration, lambda name: progress[name].round if name in progress else 0
    )
    while reads.sent and reads.sent[0][0] <= confirmed:
        reads.lease_start = reads.sent.popleft()[1]
    while reads.pending and reads.pending[0][0] <= confirmed:
        _, index, asked = reads.pending.popleft()
        _answer(core, index, asked)


def _answer(core: Core, index: int, asked: list[tuple[bytes, str | None]]) -> None:
    for context, source in asked:
        if source is None:
            core.read_states.append(ReadState(context, index))
        else:
            core.send(ReadReply(core.id, source, core.term, context, index))


def lease_valid(core: Core) -> bool:
    """Whether no other node can lead yet.

    A majority promised, when it answered a round, to elect nobody for one
    election time-out.  Handing over leadership breaks the promise, for good.
    """
    options, start = core.options, core.reads.lease_start
    if not options.lease_reads or start is None or core.handed_over:
        return False
    return core.now < start + options.election_ticks - options.lease_margin_ticks
