"""One thread that runs functions in order and hands results to the reactor.

``deferToThreadPool`` does the same for any number of threads, at several times
the cost for each call; here the cost is part of every write's latency.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

Job = tuple[Callable[[], Any], "Deferred[Any]"]


class Worker:
    """A thread that starts with its first job and ends by :meth:`stop`."""

    def __init__(self, name: str, reactor: IReactorFromThreads) -> None:
        self._name = name
        self._reactor = reactor
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, function: Callable[[], Any]) -> Deferred[Any]:
        """Run ``function`` after all before it; fire with what it returns."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        done: Deferred[Any] = Deferred()
        self._jobs.put((function, done))
        return done

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, done = job
            try:
                result = function()
            except Exception as error:
                self._reactor.callFromThread(done.errback, error)
            else:
                self._reactor.callFromThread(done.callback, result)

    async def stop(self) -> None:
        """Return when every job is done and the thread is gone."""
        if self._thread is None:
            return
        await self.run(lambda: None)
        self._jobs.put(None)
        self._thread.join()
        self._thread = None
