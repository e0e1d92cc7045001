"""Bugs beside the list: the promises of the paper, and of limits."""

from __future__ import annotations

from tests.raft.mutations.model import Mutation

PROMISES = (
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
