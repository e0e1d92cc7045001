"""Is a history of one register linearizable?  (Wing and Gong's search with Lowe's cache.)

Each operation must seem to happen at one moment between its call and its return.
An operation without a known result may have happened at any moment after its
call, or never.  Histories of different keys are independent, so each is searched
on its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ood.raft.sim.registers import Operation, act


@dataclass(frozen=True)
class Call:
    """One operation as its client saw it.

    :ivar end: when the result came; None: never, it is not known what happened.
    """

    operation: Operation
    start: int
    end: int | None
    result: Any = None


def violations(calls: Iterable[Call]) -> list[str]:
    """Return the keys whose histories no order explains."""
    by_key: dict[str, list[Call]] = {}
    for call in calls:
        by_key.setdefault(call.operation.key, []).append(call)
    return [key for key, history in sorted(by_key.items()) if not linearizable(history)]


def linearizable(calls: Sequence[Call]) -> bool:
    """Whether some order of the calls explains every result."""
    useful = [call for call in calls if call.end is not None or call.operation.name != "get"]
    return _Search(sorted(useful, key=lambda call: call.start)).run()


class _Search:
    """A depth-first search over which call took effect next.

    A state is (set of calls that took effect, value); none is looked at twice.
    """

    def __init__(self, calls: list[Call]) -> None:
        self._calls = calls
        self._known = sum(1 << i for i, call in enumerate(calls) if call.end is not None)
        self._seen: set[tuple[int, str]] = set()

    def run(self) -> bool:
        stack = [(0, "")]
        while stack:
            done, value = stack.pop()
            if done & self._known == self._known:
                return True
            for state in self._next(done, value):
                if state not in self._seen:
                    self._seen.add(state)
                    stack.append(state)
        return False

    def _next(self, done: int, value: str) -> list[tuple[int, str]]:
        """Return what can follow: calls that began before every other one left returned."""
        deadline = self._deadline(done)
        states = []
        for position, call in enumerate(self._calls):
            if call.start > deadline:
                break
            if done >> position & 1:
                continue
            after, result = act(value, call.operation)
            if call.end is None or result == call.result:
                states.append((done | 1 << position, after))
        return states

    def _deadline(self, done: int) -> float:
        ends = (
            call.end
            for position, call in enumerate(self._calls)
            if call.end is not None and not done >> position & 1
        )
        return min(ends, default=float("inf"))
