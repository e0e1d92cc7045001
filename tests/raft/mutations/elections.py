"""Bugs 1 to 8 of the list: commits, membership changes, votes."""

from __future__ import annotations

from tests.raft.mutations.model import Mutation

ELECTIONS = (
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
)
