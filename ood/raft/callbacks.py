"""Deferreds first, ``callback(err, result)`` where somebody prefers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ood.raft.interfaces import Callback

T = TypeVar("T")


def with_callback(deferred: Deferred[T], callback: Callback | None) -> Deferred[T]:
    """Have ``callback(err, result)`` called too, if there is one.

    The error then counts as handled: a caller with a callback drops the Deferred.
    """
    if callback is None:
        return deferred

    def report(result: Any) -> Any:
        if isinstance(result, Failure):
            callback(result.value, None)
            return None
        callback(None, result)
        return result

    return deferred.addBoth(report)


async def resolved(result: Any) -> Any:
    """Return what a call of foreign code gave, now or by a Deferred."""
    return await result if isinstance(result, Awaitable) else result


def waiter_for(deferred: Deferred[Any]) -> Deferred[None]:
    """Return a Deferred that fires when the other one has, whatever its result."""
    waiter: Deferred[None] = Deferred()

    def settle(result: Any) -> Any:
        waiter.callback(None)
        return result

    _ = deferred.addBoth(settle)
    return waiter


Thunk = Callable[[], object]


class Closing:
    """Functions to call once, when something is gone."""

    def __init__(self) -> None:
        self._waiting: list[Thunk] | None = []

    @property
    def done(self) -> bool:
        """Whether it is gone."""
        return self._waiting is None

    def add(self, callback: Thunk) -> None:
        """Have ``callback`` called then, or now if that is past."""
        if self._waiting is None:
            callback()
        else:
            self._waiting.append(callback)

    def fire(self) -> None:
        """It is gone now."""
        waiting, self._waiting = self._waiting, None
        for callback in waiting or ():
            callback()
