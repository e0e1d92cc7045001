"""The leader's side of replication: feeding followers and committing."""

from __future__ import annotations

from ood.raft.core import membership, quorum, snapshots, transfer
from ood.raft.core.progress import Flow, Progress
from ood.raft.core.state import Core
from ood.raft.core.types import Append, AppendReply, Entry, Heartbeat, HeartbeatReply


def settle(core: Core) -> None:
    """Commit what can be committed, then send everybody what there is."""
    commit(core)
    if core.leading:
        for name, progress in core.progress.items():
            if name != core.id:
                feed(core, name, progress)


def commit(core: Core) -> None:
    """Commit what a majority has on disk.

    Only an entry of the current term is counted (older ones follow from it): an
    older entry on a majority can still be overwritten (paper, 5.4.2).
    """
    progress, log = core.progress, core.log
    if core.id in progress:
        progress[core.id].match = log.stable
    index = quorum.reached(
        core.configuration, lambda name: progress[name].match if name in progress else 0
    )
    if index > log.committed and log.term(index) == core.term:
        log.commit_to(index)
    membership.after_commit(core)


def feed(core: Core, name: str, progress: Progress) -> None:
    """Send entries as long as there are any and the follower has room."""
    log, options = core.log, core.options
    while progress.flow is not Flow.SNAPSHOT and progress.room(options):
        previous_term = log.term(progress.next - 1)
        if previous_term is None:
            snapshots.begin(core, progress)
            break
        entries, size = log.batch(progress.next, options.batch_bytes)
        if not entries and progress.flow is Flow.REPLICATE:
            break
        _append(core, name, progress, previous_term, entries)
        progress.sent(progress.next - 1 + len(entries), size)
    if progress.flow is Flow.SNAPSHOT:
        snapshots.feed(core, name, progress)
    _tell_commit(core, name, progress)


def _append(
    core: Core, name: str, progress: Progress, previous_term: int, entries: tuple[Entry, ...]
) -> None:
    previous, committed = progress.next - 1, core.log.committed
    progress.told = min(committed, previous + len(entries))
    core.send(Append(core.id, name, core.term, previous, previous_term, committed, entries))


def _tell_commit(core: Core, name: str, progress: Progress) -> None:
    """Tell an idle follower what is committed; a busy one learns it with its next entries."""
    known = min(progress.match, core.log.committed)
    if known > progress.told and not progress.in_flight:
        progress.told = known
        core.send(Heartbeat(core.id, name, core.term, known))


def on_reply(core: Core, message: AppendReply) -> None:
    """Move a follower's marks, forward or back."""
    progress = core.progress.get(message.source)
    if not core.leading or progress is None:
        return
    progress.active = True
    core.dirty = True
    if message.rejected:
        hint = core.log.at_or_below(message.hint_index, message.hint_term)
        progress.rejected(message.index, hint)
        return
    if progress.flow is Flow.SNAPSHOT:
        snapshots.arrived(core, progress, message.index)
    progress.accepted(message.index)
    transfer.proceed(core)


def on_heartbeat_reply(core: Core, message: HeartbeatReply) -> None:
    """Note a living follower; what it still lacks may have been lost on the way."""
    progress = core.progress.get(message.source)
    if not core.leading or progress is None:
        return
    progress.active = True
    core.dirty = True
    progress.round = max(progress.round, message.round)
    progress.alive()
    if progress.flow is Flow.REPLICATE and progress.match < core.log.last_index:
        _nudge(core, message.source, progress)


def _nudge(core: Core, name: str, progress: Progress) -> None:
    """Ask with an empty append whether what was sent has arrived."""
    previous_term = core.log.term(progress.next - 1)
    if previous_term is not None:
        _append(core, name, progress, previous_term, ())


def unreachable(core: Core, name: str) -> None:
    """Probe a follower whose messages got lost."""
    progress = core.progress.get(name)
    if progress is not None and progress.flow is Flow.REPLICATE:
        progress.probe(progress.match + 1)
        core.dirty = True
