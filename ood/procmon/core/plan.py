"""From what is wanted and what is there to what to do: a pure function."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Launch:
    """Start a worker as number ``instance``."""

    instance: int


@dataclass(frozen=True)
class Retire:
    """Take the worker with number ``instance`` out of service, gently."""

    instance: int


Step = Launch | Retire


def plan(wanted: int, present: Collection[int]) -> tuple[Step, ...]:
    """Return the steps from ``present`` instances to numbers 0 up to ``wanted``.

    The newest go first, so that number 0, which apps make responsible for what only
    one worker may do, stays the longest.  A number that waits for its restart is
    present.
    """
    surplus = sorted((number for number in present if number >= wanted), reverse=True)
    missing = [number for number in range(wanted) if number not in present]
    return (*map(Retire, surplus), *map(Launch, missing))
