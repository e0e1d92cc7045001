"""Work in the background that is kept, logged and cancelled.

A coroutine whose Deferred nobody holds loses its errors and outlives its
owner.  Each service has one :class:`Background`; its ``stopService`` returns
``background.stop()``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")

InThread = Callable[..., "Deferred[Any]"]
"""``in_thread(function, *arguments)``: calls it off the reactor, as
:func:`~twisted.internet.threads.deferToThread` does."""


async def to_the_end(work: Coroutine[Deferred[Any], Any, T]) -> T:
    """Wait for ``work``, which goes on even if whoever waits is cancelled meanwhile."""
    results: list[Any] = []
    waiting: list[Deferred[None]] = []

    def ended(result: Any) -> None:
        results.append(result)
        for waiter in waiting:
            waiter.callback(None)

    _ = Deferred.fromCoroutine(work).addBoth(ended)
    while not results:
        waiter: Deferred[None] = Deferred()
        waiting[:] = [waiter]
        with suppress(CancelledError):
            await waiter
    if isinstance(results[0], Failure):
        results[0].raiseException()
    value: T = results[0]
    return value


class Background:
    """A set of running coroutines of one owner."""

    log = Logger()

    def __init__(self) -> None:
        self._running: set[Deferred[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def run(self, name: str, coroutine: Coroutine[Deferred[Any], Any, object]) -> None:
        """Run ``coroutine`` to its end; log its failure under ``name``."""
        deferred: Deferred[Any] = Deferred.fromCoroutine(coroutine)
        self._running.add(deferred)

        def ended(result: object) -> None:
            self._running.discard(deferred)
            if isinstance(result, Failure) and not isinstance(result.value, CancelledError):
                self.log.failure("{name} failed", failure=result, name=name)

        _ = deferred.addBoth(ended)

    def stop(self) -> Deferred[None]:
        """Cancel everything; fire when all of it has ended."""
        running = list(self._running)
        waiting = [self._ended(deferred) for deferred in running]
        for deferred in running:
            deferred.cancel()
        return DeferredList(waiting).addCallback(lambda _: None)

    @staticmethod
    def _ended(deferred: Deferred[Any]) -> Deferred[None]:
        waiter: Deferred[None] = Deferred()

        def ended(result: object) -> object:
            waiter.callback(None)
            return result

        _ = deferred.addBoth(ended)
        return waiter
