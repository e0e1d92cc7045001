"""Snapshots in chunks, from a leader to a follower whose entries are gone."""

from __future__ import annotations

from ood.raft.core import follower
from ood.raft.core.configuration import History
from ood.raft.core.progress import Progress
from ood.raft.core.state import Core, Incoming
from ood.raft.core.types import Snapshot, SnapshotChunk, SnapshotReply


def begin(core: Core, progress: Progress) -> None:
    """Turn to the newest snapshot for a follower."""
    if core.snapshot is not None:
        progress.send_snapshot(core.snapshot)


def feed(core: Core, name: str, progress: Progress) -> None:
    """Send the next chunk unless one is under way."""
    snapshot = progress.snapshot
    if snapshot is None or progress.paused:
        return
    offset, size = progress.offset, core.options.chunk_bytes
    core.send(
        SnapshotChunk(
            core.id,
            name,
            core.term,
            snapshot.metadata,
            offset,
            len(snapshot.data),
            snapshot.data[offset : offset + size],
        )
    )
    progress.paused = True


def on_reply(core: Core, message: SnapshotReply) -> None:
    """Go on where the follower wants to."""
    progress = core.progress.get(message.source)
    if not core.leading or progress is None:
        return
    progress.active = True
    snapshot = progress.snapshot
    if snapshot is None or snapshot.metadata.index != message.index:
        return
    if message.offset > progress.offset or message.offset == 0:  # 0: it lost what it had
        progress.offset, progress.paused = message.offset, False
        core.dirty = True


def arrived(core: Core, progress: Progress, index: int) -> None:
    """Feed entries again once the follower holds the snapshot, or enough without it.

    If the log was compacted further meanwhile, feeding begins the newer snapshot.
    """
    snapshot = progress.snapshot
    if snapshot is None or index >= min(snapshot.metadata.index, core.log.first_index - 1):
        progress.replicate(max(index, progress.match))


def on_chunk(core: Core, message: SnapshotChunk) -> None:
    """Take a chunk; the last one replaces log and state machine.

    A snapshot of what is known to be committed already changes nothing, nor does
    one that the log agrees with: entries behind it stay.
    """
    follower.hear(core, message)
    log, metadata = core.log, message.metadata
    if metadata.index > log.committed and log.term(metadata.index) == metadata.term:
        log.commit_to(metadata.index)
    if metadata.index <= log.committed:
        core.incoming = None
        core.acknowledge(message.source, log.committed)
    else:
        _gather(core, message)


def _gather(core: Core, message: SnapshotChunk) -> None:
    incoming = core.incoming
    if incoming is None or incoming.metadata != message.metadata:
        incoming = core.incoming = Incoming(message.metadata)
    if message.offset == len(incoming.data):
        incoming.data += message.data
    if len(incoming.data) == message.total and message.offset + len(message.data) == message.total:
        _restore(core, Snapshot(message.metadata, bytes(incoming.data)))
        core.acknowledge(message.source, message.metadata.index)
        return
    wanted = len(incoming.data)
    core.send(SnapshotReply(core.id, message.source, core.term, message.metadata.index, wanted))


def _restore(core: Core, snapshot: Snapshot) -> None:
    metadata = snapshot.metadata
    core.incoming = None
    core.log.restore(metadata.index, metadata.term)
    core.history = History(metadata.index, metadata.configuration)
    core.snapshot = core.restored = snapshot


def _awaited(core: Core) -> int:
    """Return the last entry that no living follower will need behind its snapshot.

    Without this, a busy leader could compact faster than a follower can take
    snapshots, which would never catch up.
    """
    fed = [
        progress.snapshot.metadata.index
        for progress in core.progress.values()
        if progress.snapshot is not None and progress.active
    ]
    return min(fed, default=core.log.applied)


def record(core: Core, snapshot: Snapshot, keep: int) -> int:
    """Take the own state machine's snapshot; never an older one than is known."""
    index = snapshot.metadata.index
    if core.snapshot is None or index > core.snapshot.metadata.index:
        core.snapshot = snapshot
    compact = min(index - keep, core.snapshot.metadata.index, _awaited(core))
    if compact >= core.log.first_index:
        core.log.compact(compact)
        core.history.compact(compact)
    return core.log.first_index
