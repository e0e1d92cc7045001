"""Bugs 9 to 16 of the list: conflicts, snapshots, disks."""

from __future__ import annotations

from tests.raft.mutations.model import Mutation

LOGS = (
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
        "14 leaves a log that a snapshot replaced on the disk",
        "log.py",
        "            log._truncate = stored.entries[0].index",
        "            pass",
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
)
