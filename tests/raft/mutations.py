"""Bugs to be planted in the core, one at a time: the suite must notice every one.

``scripts/raft-mutations`` plants them.  A number is that of the bug in the design's
list of what went wrong elsewhere.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """One bug: in ``file`` of the core, ``old`` (which occurs once) becomes ``new``."""

    name: str
    file: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "01 commits an entry of an older term by counting",
        "replication.py",
        "if index > log.committed and log.term(index) == core.term:",
        "if index > log.committed:",
    ),
    Mutation(
        "02 changes members before an entry of its own term is committed",
        "membership.py",
        "    if not core.committed_in_term:\n        raise",
        "    if False:\n        raise",
    ),
    Mutation(
        "03 campaigns with the committed configuration only",
        "election.py",
        "    result = quorum.tally(core.configuration, core.votes)\n",
        "    result = quorum.tally(core.history.at(core.log.committed), core.votes)\n",
    ),
    Mutation(
        "03 keeps a configuration whose entry was cut off",
        "follower.py",
        "        core.history.cut(cut)\n",
        "        pass\n",
    ),
    Mutation(
        "04 leaves a joint configuration whenever something commits",
        "membership.py",
        "    if core.history.index > core.log.committed or not core.committed_in_term:\n"
        "        return\n    current = core.configuration\n",
        "    current = core.history.at(core.log.committed)\n",
    ),
    Mutation(
        "05 takes a change while another is not committed",
        "membership.py",
        "    if core.history.index > core.log.committed:\n        raise",
        "    if False:\n        raise",
    ),
    Mutation(
        "05 takes a change while joint",
        "configuration.py",
        "    if current.joint:\n        raise",
        "    if False:\n        raise",
    ),
    Mutation(
        "05 lets one half of a joint configuration commit",
        "quorum.py",
        "low = min(low, _half_reached(configuration.voters_outgoing, value))",
        "low = max(low, _half_reached(configuration.voters_outgoing, value))",
    ),
    Mutation(
        "05 lets one half of a joint configuration elect",
        "quorum.py",
        "    if not configuration.voters_outgoing:\n        return result\n",
        "    if result is not Tally.PENDING:\n        return result\n",
    ),
    Mutation(
        "05 changes several voters without a joint configuration",
        "configuration.py",
        "joint = len(wanted ^ current.voters) > 1",
        "joint = len(wanted ^ current.voters) > 9",
    ),
    Mutation(
        "06 a node that knows itself as a learner does not vote",
        "election.py",
        "    if message.pre and message.term > core.term:\n        return True\n",
        "    if core.id in core.configuration.learners:\n        return False\n"
        "    if message.pre and message.term > core.term:\n        return True\n",
    ),
    Mutation(
        "06 promotes a learner that has not caught up",
        "membership.py",
        "    return near and progress.active and progress.flow is Flow.REPLICATE",
        "    return near or progress.active",
    ),
    Mutation(
        "07 answers a request for votes before the disk has the vote",
        "election.py",
        "    core.send_after(VoteReply(",
        "    core.send(VoteReply(",
    ),
    Mutation(
        "07 lets messages leave in a term that is not durable",
        "node.py",
        "        if core.durable_term != core.term:\n            return (), (*early, *late)\n",
        "",
    ),
    Mutation(
        "07 acknowledges entries before the disk has them",
        "node.py",
        "        return tuple(early), tuple(late)\n",
        "        return (*early, *late), ()\n",
    ),
    Mutation(
        "07 acknowledges what an earlier save under way contains",
        "node.py",
        "        if token is None and not core.log.saving:\n",
        "        if token is None:\n",
    ),
    Mutation(
        "07 does not save a vote",
        "node.py",
        "        changed = (core.term, core.vote) != (core.hard.term, core.hard.vote)\n"
        "        if not (changed or",
        "        changed = core.term != core.hard.term\n        if not (changed or",
    ),
    Mutation(
        "07 votes twice in a term",
        "election.py",
        "    return core.vote == message.source or (core.vote is None and core.leader is None)",
        "    return core.leader is None",
    ),
    Mutation(
        "08 clears the vote when it steps down within a term",
        "roles.py",
        "    if term != core.term:\n        core.term, core.vote = term, None\n",
        "    core.term, core.vote = term, None\n",
    ),
    Mutation(
        "09 cuts entries that do not conflict",
        "log.py",
        "            if self.term(entry.index) != entry.term and entry.index >= self.first_index:\n"
        "                return position\n        return len(entries)\n",
        "            if entry.index > self.committed:\n"
        "                return position\n        return len(entries)\n",
    ),
    Mutation(
        "09 cuts what is behind a shorter message",
        "log.py",
        "        new = self._first_new(previous_index, entries)\n",
        "        new = self._first_new(previous_index, entries)\n"
        "        if new == len(entries) and previous_index + new < self.last_index:\n"
        "            self._cut(max(previous_index + new, self.committed) + 1)\n",
    ),
    Mutation(
        "10 leaves the tail behind a conflict",
        "log.py",
        "        del self._entries[position:], self._ends[position:]\n        self._bytes = ",
        "        del self._entries[position : position + 1], self._ends[position : position + 1]\n"
        "        self._bytes = ",
    ),
    Mutation(
        "11 commits beyond the verified entry on an append",
        "follower.py",
        "    log.commit_to(min(message.commit, verified))\n",
        "    log.commit_to(min(message.commit, log.last_index))\n",
    ),
    Mutation(
        "11 tells a follower to commit what it may not have",
        "reads.py",
        "        progress.told = min(progress.match, committed)\n",
        "        progress.told = committed\n",
    ),
    Mutation(
        "11 acknowledges its whole log instead of what was compared",
        "follower.py",
        "    core.acknowledge(message.source, verified)\n",
        "    core.acknowledge(message.source, log.last_index)\n",
    ),
    Mutation(
        "12 takes a compacted previous entry for a conflict",
        "follower.py",
        "    if previous < log.committed:\n",
        "    if log.first_index <= previous + 1 and previous < log.committed:\n",
    ),
    Mutation(
        "13 takes the index of a rejection for a match",
        "progress.py",
        "            if index <= self.match:\n                return False\n"
        "            self.probe(self.match + 1)\n",
        "            self.match = index\n            self.probe(self.match + 1)\n",
    ),
    Mutation(
        "14 lets a stale snapshot replace a newer log",
        "snapshots.py",
        "    if metadata.index <= log.committed:\n",
        "    if metadata.index < log.first_index:\n",
    ),
    Mutation(
        "14 keeps entries that contradict a snapshot",
        "log.py",
        "        self._entries.clear()\n        self._ends.clear()\n",
        "        kept = max(0, index - self.first_index + 1)\n"
        "        del self._entries[:kept], self._ends[:kept]\n",
    ),
    Mutation(
        "14 believes old entries behind a snapshot after a crash",
        "log.py",
        "return entries[position + 1 :] if entry.term == term else ()",
        "return entries[position + 1 :]",
    ),
    Mutation(
        "14 lets the snapshot go back",
        "snapshots.py",
        "    if core.snapshot is None or index > core.snapshot.metadata.index:\n",
        "    if True:\n",
    ),
    Mutation(
        "14 mixes the chunks of two snapshots",
        "roles.py",
        "    core.incoming = None\n",
        "",
    ),
    Mutation(
        "15 believes the token of a save that was overwritten",
        "log.py",
        "            self.stable = max(self.stable, self._writes.popleft()[1])\n",
        "            self._writes.popleft()\n"
        "            if self.term(token.index) == token.term:\n"
        "                self.stable = max(self.stable, token.index)\n",
    ),
    Mutation(
        "16 counts its own entry before its disk has it",
        "replication.py",
        "        progress[core.id].match = log.stable\n",
        "        progress[core.id].match = log.last_index\n",
    ),
    Mutation(
        "17 counts a lease from its answer, not from its question",
        "reads.py",
        "        reads.lease_start = reads.sent.popleft()[1]\n",
        "        reads.sent.popleft()\n        reads.lease_start = core.now\n",
    ),
    Mutation(
        "17 trusts its lease as long as it leads",
        "reads.py",
        "    return core.now < start + options.election_ticks - options.lease_margin_ticks\n",
        "    return True\n",
    ),
    Mutation(
        "17 trusts its lease after it handed leadership over",
        "reads.py",
        "start is None or core.handed_over:",
        "start is None:",
    ),
    Mutation(
        "17 forgets its promise in a restart",
        "start.py",
        "        core.quiet_until = options.election_ticks\n",
        "        core.quiet_until = 0\n",
    ),
    Mutation(
        "17 elects somebody while a lease stands",
        "dispatch.py",
        "        if election.in_lease(core) and not message.transfer:\n            return False\n",
        "",
    ),
    Mutation(
        "18 answers reads before it committed in its own term",
        "reads.py",
        "    if reads.waiting and core.committed_in_term:\n",
        "    if reads.waiting:\n",
    ),
    Mutation(
        "19 campaigns without asking first",
        "election.py",
        "    roles.become_pre_candidate(core)\n",
        "    campaign_for_real(core)\n    return\n",
    ),
    Mutation(
        "20 listens to any candidate with a newer term",
        "election.py",
        "    return recent or core.now < core.quiet_until\n",
        "    return core.now < core.quiet_until\n",
    ),
    Mutation(
        "21 never leaves an outdated snapshot",
        "snapshots.py",
        "index >= min(snapshot.metadata.index, core.log.first_index - 1)",
        "index >= core.log.first_index - 1",
    ),
    Mutation(
        "21 never finds out that the entry before its probe is compacted away",
        "replication.py",
        "            snapshots.begin(core, progress)\n",
        "            progress.paused = True\n",
    ),
    Mutation(
        "22 restores the state without its index",
        "machine.py",
        "        self.index = image.index\n",
        "",
    ),
    Mutation(
        "22 applies what its snapshot holds again",
        "log.py",
        "log.applying = log.applied = max(base[0], min(applied, log.committed))",
        "log.applying = log.applied = 0",
    ),
    Mutation(
        "23 applies a retried command again",
        "sessions.py",
        "        if sequence in known.results:\n",
        "        if False:\n",
    ),
    Mutation(
        "23 forgets the sessions in a snapshot",
        "machine.py",
        "_Image(self.index, self.sessions.dump(), ",
        "_Image(self.index, SessionTable().dump(), ",
    ),
    Mutation(
        "23 applies commands of sessions nobody opened",
        "sessions.py",
        "            return Outcome.UNKNOWN_SESSION, None\n",
        "            known = Session()\n",
    ),
    Mutation(
        "24 answers reads without asking whether it still leads",
        "reads.py",
        "    if not options.lease_reads or start is None",
        "    if start is None",
    ),
    Mutation(
        "24 answers a read with an older round",
        "reads.py",
        "    while reads.pending and reads.pending[0][0] <= confirmed:\n",
        "    while reads.pending and reads.pending[0][0] <= confirmed + 1:\n",
    ),
    Mutation(
        "24 serves reads before what they must see is applied",
        "reads.py",
        "            reads.pending.append((core.round, core.log.committed, reads.waiting))\n",
        "            reads.pending.append((core.round, 0, reads.waiting))\n",
    ),
    Mutation(
        "25 goes back to an older term than its entries have",
        "start.py",
        "    if last_term > hard.term:\n",
        "    if False:\n",
    ),
    Mutation(
        "25 keeps a torn log's commit mark",
        "log.py",
        "min(stored.hard_state.commit, log.last_index)",
        "stored.hard_state.commit",
    ),
    Mutation(
        "26 listens to a member that lost its disk",
        "dispatch.py",
        "    return core.configuration.incarnations.get(sender.id) in (None, sender.incarnation)\n",
        "    return True\n",
    ),
    Mutation(
        "26 campaigns after it lost its disk",
        "state.py",
        "        if known and own and known != own:\n",
        "        if False:\n",
    ),
    Mutation(
        "27 listens to another cluster",
        "dispatch.py",
        "    if sender.cluster != core.identity.cluster or sender.id != message.source:\n",
        "    if sender.id != message.source:\n",
    ),
    Mutation(
        "votes for a candidate with a shorter log",
        "log.py",
        "        return (last_term, last_index) >= (self.last_term, self.last_index)\n",
        "        return last_term >= self.last_term\n",
    ),
    Mutation(
        "votes for a candidate with an older log",
        "log.py",
        "        return (last_term, last_index) >= (self.last_term, self.last_index)\n",
        "        return last_index >= self.last_index\n",
    ),
    Mutation(
        "does not compare the previous entry",
        "follower.py",
        "    elif log.term(previous) == message.previous_term:\n",
        "    elif log.term(previous) is not None:\n",
    ),
    Mutation(
        "half of an even cluster is a majority",
        "quorum.py",
        "    return values[len(values) // 2]\n",
        "    return values[(len(values) - 1) // 2]\n",
    ),
    Mutation(
        "half of an even cluster elects",
        "quorum.py",
        "    return count // 2 + 1\n",
        "    return (count + 1) // 2\n",
    ),
    Mutation(
        "counts answers to an older campaign",
        "dispatch.py",
        "    if message.term < core.term and not _is_pre_vote(message):\n",
        "    if isinstance(message, Append) and message.term < core.term:\n",
    ),
    Mutation(
        "does not step down without a majority",
        "election.py",
        "    if quorum.tally(core.configuration, votes) is not Tally.WON:\n",
        "    if False:\n",
    ),
    Mutation(
        "a removed leader leads on",
        "membership.py",
        "        roles.become_follower(core, core.term, None)\n",
        "        pass\n",
    ),
    Mutation(
        "a removed leader counts itself",
        "quorum.py",
        "    values = sorted(map(value, voters), reverse=True)\n",
        "    values = sorted([*map(value, voters), 1 << 60], reverse=True)[: len(voters)]\n",
    ),
    Mutation(
        "forgets that messages may be lost",
        "replication.py",
        "        _nudge(core, message.source, progress)\n",
        "        pass\n",
    ),
    Mutation(
        "sends as many messages as it likes",
        "progress.py",
        "            len(self._in_flight) < options.in_flight_messages\n            and ",
        "            ",
    ),
    Mutation(
        "sends as many bytes as it likes",
        "progress.py",
        "            and self._bytes < options.in_flight_bytes\n",
        "",
    ),
    Mutation(
        "takes commands while it hands over",
        "node.py",
        "        if core.transferee is not None:\n",
        "        if False:\n",
    ),
    Mutation(
        "never gives a transfer up",
        "transfer.py",
        "    if core.transfer_elapsed >= core.options.transfer_ticks:\n",
        "    if False:\n",
    ),
    Mutation(
        "who is left out by an uncommitted change never leads",
        "state.py",
        "        return self.history.index > committed and self.id in",
        "        return False and self.id in",
    ),
    Mutation(
        "a node that may not campaign remembers a dead leader",
        "election.py",
        "        core.leader = None\n        campaign(core)\n",
        "        campaign(core)\n",
    ),
    Mutation(
        "compacts what a follower needs behind its snapshot",
        "snapshots.py",
        "core.snapshot.metadata.index, _awaited(core))",
        "core.snapshot.metadata.index)",
    ),
)
