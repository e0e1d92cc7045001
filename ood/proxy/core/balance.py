"""Which server gets the next request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Server(Protocol):
    """What can be chosen.

    :ivar weight: its share.
    :ivar busy: requests that it is serving.
    :ivar turn: how long it has been passed over, by weight; :func:`round_robin` counts.
    """

    weight: int
    busy: int
    turn: int


S = TypeVar("S", bound=Server)


def round_robin(servers: Sequence[S]) -> S:
    """Return the server whose turn it is: each as often as its weight says, and spread out."""
    total = 0
    for one in servers:
        one.turn += one.weight
        total += one.weight
    best = max(servers, key=lambda one: one.turn)
    best.turn -= total
    return best


def least_busy(servers: Sequence[S]) -> S:
    """Return the server with the least to do for its weight; among equals whose turn it is.

    What a request adds is counted, too, but one that has nothing to do is never passed over for
    one of more weight: where requests come one by one, each server has its share of them.
    """
    load = [(one.busy + 1) / one.weight if one.busy else 0.0 for one in servers]
    least = min(load)
    equals = [one for one, found in zip(servers, load, strict=True) if found == least]
    return equals[0] if len(equals) == 1 else round_robin(equals)


def of_two(servers: Sequence[S], chance: float, second: float) -> S:
    """Return the one with less to do, for its weight, of two that chance finds by weight.

    That is nearly as good as the least busy of all, and many proxies in front of the same
    servers, which know only their own requests, do not all choose the same one.

    :param chance: a random number from 0 to 1.
    :param second: another one.
    """
    one = at_random(servers, chance)
    other = at_random([it for it in servers if it is not one], second)
    return other if other.busy * one.weight < one.busy * other.weight else one


def at_random(servers: Sequence[S], chance: float) -> S:
    """Return any server, by weight.

    :param chance: a random number from 0 to 1.
    """
    left = chance * sum(one.weight for one in servers)
    for one in servers:
        left -= one.weight
        if left < 0:
            return one
    return servers[-1]
