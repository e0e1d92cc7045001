"""Raft's promises, checked at every step of every simulated node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ood.raft.core.types import (
    Append,
    AppendReply,
    Entry,
    Heartbeat,
    Message,
    Ready,
    Role,
    SnapshotChunk,
    VoteReply,
    VoteRequest,
)

if TYPE_CHECKING:
    from ood.raft.sim.disk import Write
    from ood.raft.sim.member import Member
    from ood.raft.sim.trace import Tracer


class BrokenPromiseError(AssertionError):
    """A promise of Raft was broken; the message names it."""


def _must(holds: bool, promise: str, detail: str) -> None:
    if not holds:
        raise BrokenPromiseError(f"{promise}: {detail}")


class Monitors:
    """What was seen anywhere in the cluster, ever.

    :ivar tracer: who writes it all down for TLC, if anybody does.
    """

    def __init__(self) -> None:
        self.tracer: Tracer | None = None
        self._leaders: dict[int, str] = {}
        self._votes: dict[tuple[str, int], str] = {}
        self._entries: dict[tuple[int, int], tuple[int, Entry]] = {}
        self._committed: dict[int, Entry] = {}
        self._committed_by_term: dict[int, int] = {}

    @property
    def leaders(self) -> dict[int, str]:
        """Who led which term."""
        return self._leaders

    @property
    def committed(self) -> dict[int, Entry]:
        """Every entry that was committed anywhere."""
        return self._committed

    def sent(self, member: Member, message: Message) -> None:
        """Check a message that leaves: nothing is promised before it is on disk."""
        if self.tracer is not None:
            self.tracer.looked(member)
        disk = member.disk
        if isinstance(message, AppendReply) and not message.rejected:
            _must(
                disk.last_index >= message.index,
                "no reply before its save",
                f"{member.id} acknowledges {message.index}, its disk has {disk.last_index}",
            )
        elif isinstance(message, Append | Heartbeat | SnapshotChunk):
            _must(
                disk.hard_state.term >= message.term,
                "no message before its term is saved",
                f"{member.id} leads {message.term}: {disk.hard_state}",
            )
        elif isinstance(message, VoteReply) and message.granted and not message.pre:
            self._vote(member, message.target, message.term)
        elif isinstance(message, VoteRequest) and not message.pre:
            self._vote(member, member.id, message.term)

    def _vote(self, member: Member, candidate: str, term: int) -> None:
        hard = member.disk.hard_state
        durable = hard.term > term or (hard.term, hard.vote) == (term, candidate)
        _must(durable, "no reply before its save", f"vote of {member.id} in {term}: {hard}")
        known = self._votes.setdefault((member.key, term), candidate)
        _must(known == candidate, "one vote per term", f"{member.id} {term}: {known}, {candidate}")

    def taken(self, member: Member, ready: Ready) -> None:
        """Check what a node wants saved: equal (index, term) means equal logs up to there."""
        log = member.core.log
        for entry in ready.entries:
            before = log.term(entry.index - 1) if entry.index >= log.first_index else None
            if before is None:
                continue
            known = self._entries.setdefault((entry.index, entry.term), (before, entry))
            _must(known == (before, entry), "log matching", f"{member.id}: {known} and {entry}")

    def issued(self, member: Member, write: Write) -> None:
        """Note that a save begins."""
        if self.tracer is not None:
            self.tracer.issued(member, write)

    def saved(self, member: Member, write: Write) -> None:
        """Note that a save is durable."""
        if self.tracer is not None:
            self.tracer.saved(member, write)

    def crashed(self, member: Member) -> None:
        """Forget the terms that a node led in memory only: they have never been.

        An only voter leads at once, with its vote and entries still on their way to
        its disk.  Nothing of such a term leaves the node (:meth:`sent` sees to that),
        so that its next life, or another node with its vote, may lead it anew.
        """
        durable = member.disk.last_term
        lost = {t for t, key in self._leaders.items() if key == member.key and t > durable}
        for term in lost:
            del self._leaders[term]
        if lost:
            self._entries = {at: e for at, e in self._entries.items() if at[1] not in lost}

    def restarted(self, member: Member) -> None:
        """Note that a node has started, before it does anything."""
        if self.tracer is not None:
            self.tracer.restarted(member)

    def looked(self, member: Member) -> None:
        """Check a node between two steps."""
        if self.tracer is not None:
            self.tracer.looked(member)
        core = member.core
        if core.role is Role.LEADER and self._leaders.get(core.term) != member.key:
            self._lead(member)
        _must(core.term >= member.seen_term, "terms grow", member.id)
        _must(core.log.committed >= member.seen_commit, "commit grows", member.id)
        member.seen_term = core.term
        if core.log.committed > member.seen_commit:
            self._commit(member)

    def _lead(self, member: Member) -> None:
        core = member.core
        known = self._leaders.setdefault(core.term, member.key)
        _must(known == member.key, "one leader per term", f"{known}, {member.key} in {core.term}")
        done = [index for term, index in self._committed_by_term.items() if term < core.term]
        for index in done:
            term = core.log.term(index)
            held = index < core.log.first_index or term == self._committed[index].term
            _must(held, "leader completeness", f"{member.id} leads {core.term} without {index}")

    def _commit(self, member: Member) -> None:
        log = member.core.log
        first = max(member.seen_commit + 1, log.first_index)
        news = log.committed not in self._committed
        for entry in log.slice(first, log.committed):
            known = self._committed.setdefault(entry.index, entry)
            _must(known == entry, "committed prefixes agree", f"{member.id}: {known}, {entry}")
        member.seen_commit = log.committed
        if member.core.role is Role.LEADER and log.committed in self._committed:
            term = member.core.term
            self._committed_by_term[term] = log.committed
            if news:  # else those who acknowledged it may have lost their disks since
                self._majority(member)

    def _majority(self, leader: Member) -> None:
        """Check that what a leader commits is on a majority of disks."""
        index = leader.core.log.committed
        term = self._committed[index].term
        cluster = leader.cluster
        holders = {m.id for m in cluster.members.values() if m.holds(index, term)} | cluster.wiped
        configuration = leader.core.configuration
        for half in (configuration.voters, configuration.voters_outgoing):
            enough = not half or len(half & holders) * 2 > len(half)
            _must(enough, "commit needs a majority", f"{index} is only on {sorted(holders)}")
