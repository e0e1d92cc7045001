"""Those who wait for the log: commands for their entry, reads for their index."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from ood.raft.core.types import Entry
from ood.raft.errors import NotLeaderError, OutcomeUnknownError, RaftError


class PendingCommands:
    """Commands by the index they were proposed at.

    :param node: this node's id, for errors.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._waiting: dict[int, tuple[int, float, Deferred[Any]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, index: int, term: int, deadline: float) -> Deferred[Any]:
        """Wait for the entry (index, term) to be applied."""
        done: Deferred[Any] = Deferred()
        replaced = self._waiting.get(index)
        self._waiting[index] = (term, deadline, done)
        if replaced is not None:
            # Gone from this log, but another member may still have and commit it.
            replaced[2].errback(OutcomeUnknownError("another leader overwrote the command"))
        return done

    def applied(self, entry: Entry, result: Any) -> None:
        """Answer whoever waits at this entry's index."""
        waiting = self._waiting.pop(entry.index, None)
        if waiting is None:
            return
        term, _, done = waiting
        if term != entry.term:
            done.errback(NotLeaderError(self._node, None))  # lost for certain
        elif isinstance(result, Exception):
            done.errback(result)
        else:
            done.callback(result)

    def restored(self, index: int) -> None:
        """A snapshot covers everything up to ``index``: nobody knows what came of it."""
        for waiting in [key for key in self._waiting if key <= index]:
            self._fail(waiting, OutcomeUnknownError("a snapshot took the place of the command"))

    def expire(self, now: float) -> None:
        """Give up those whose time is over."""
        # In the order they came, so nearly in the order of their deadlines.
        for index, (_, deadline, _) in list(self._waiting.items()):
            if deadline <= now:
                self._fail(index, OutcomeUnknownError("it took too long"))

    def fail_all(self, error: RaftError) -> None:
        """The node stops."""
        for index in list(self._waiting):
            self._fail(index, error)

    def _fail(self, index: int, error: RaftError) -> None:
        self._waiting.pop(index)[2].errback(error)


class PendingReads:
    """Reads: gathered into one request a turn, then waiting for an index."""

    def __init__(self) -> None:
        self._gathered: list[tuple[float, Deferred[int]]] = []
        self._asked: dict[bytes, list[tuple[float, Deferred[int]]]] = {}
        self._at: list[tuple[int, list[tuple[float, Deferred[int]]]]] = []
        self._last = 0

    def __len__(self) -> int:
        asked = sum(len(group) for group in self._asked.values())
        return len(self._gathered) + asked + sum(len(group) for _, group in self._at)

    def add(self, deadline: float) -> Deferred[int]:
        """Wait for a linearizable read."""
        done: Deferred[int] = Deferred()
        self._gathered.append((deadline, done))
        return done

    def take(self) -> bytes | None:
        """Return the context to ask with for what gathered, ``None`` for nothing."""
        if not self._gathered:
            return None
        self._last += 1
        context = self._last.to_bytes(8, "big")
        self._asked[context], self._gathered = self._gathered, []
        return context

    def answered(self, context: bytes, index: int | None) -> bool:
        """Take the core's answer; return whether it has to be asked again."""
        group = self._asked.pop(context, None)
        if group is None:
            return False
        if index is None:
            self._gathered = group + self._gathered
            return True
        self._at.append((index, group))
        return False

    def applied(self, index: int) -> None:
        """Serve what waits for an index up to this one."""
        if not self._at:
            return
        ready = [group for at, group in self._at if at <= index]
        self._at = [(at, group) for at, group in self._at if at > index]
        for group in ready:
            for _, done in group:
                done.callback(index)

    def expire(self, now: float, error: RaftError) -> None:
        """Give up those whose time is over."""
        late: list[Deferred[int]] = []
        self._gathered = _keep(self._gathered, now, late)
        self._asked = {context: _keep(group, now, late) for context, group in self._asked.items()}
        self._at = [(index, _keep(group, now, late)) for index, group in self._at]
        for done in late:
            done.errback(error)


def _keep(
    group: list[tuple[float, Deferred[int]]], now: float, late: list[Deferred[int]]
) -> list[tuple[float, Deferred[int]]]:
    late += [done for deadline, done in group if deadline <= now]
    return [waiting for waiting in group if waiting[0] > now]
