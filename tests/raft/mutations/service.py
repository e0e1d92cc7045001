"""Bugs 17 to 27 of the list: leases, reads, partitions, sessions, strangers."""

from __future__ import annotations

from tests.raft.mutations.model import Mutation

SERVICE = (
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
)
