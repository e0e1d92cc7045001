"""Majorities, single and joint: pure arithmetic."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping

from ood.raft.core.types import Configuration


class Tally(enum.Enum):
    """How a vote stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def majority(count: int) -> int:
    """Return how many of ``count`` members are more than half."""
    return count // 2 + 1


def reached(configuration: Configuration, value: Callable[[str], int]) -> int:
    """Return the highest number that a majority (of each half) has reached."""
    low = _half_reached(configuration.voters, value)
    if configuration.voters_outgoing:
        low = min(low, _half_reached(configuration.voters_outgoing, value))
    return low


def _half_reached(voters: Collection[str], value: Callable[[str], int]) -> int:
    if not voters:
        return 0
    values = sorted(map(value, voters), reverse=True)
    return values[len(values) // 2]


def tally(configuration: Configuration, votes: Mapping[str, bool]) -> Tally:
    """Count votes; a joint configuration needs both halves."""
    result = _half_tally(configuration.voters, votes)
    if not configuration.voters_outgoing:
        return result
    other = _half_tally(configuration.voters_outgoing, votes)
    if Tally.LOST in (result, other):
        return Tally.LOST
    return result if result is other else Tally.PENDING


def _half_tally(voters: Collection[str], votes: Mapping[str, bool]) -> Tally:
    granted = sum(votes.get(voter, False) for voter in voters)
    refused = sum(not votes.get(voter, True) for voter in voters)
    needed = majority(len(voters))
    if granted >= needed:
        return Tally.WON
    return Tally.LOST if len(voters) - refused < needed else Tally.PENDING
