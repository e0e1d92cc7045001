"""Asking a new worker itself whether it is healthy, before anybody else may ask it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime

from ood.interfaces import Upstream
from ood.net.stream import Stream
from ood.procmon.core import health

ASK_AGAIN_SECONDS = 0.25
"""How long after a bad answer a worker is asked again: it may still be warming up."""


class _Question(Stream):
    """One request, and the status of its answer."""

    __slots__ = ("_answer", "_answered")

    def __init__(
        self,
        reactor: IReactorFDSet,
        upstream: Upstream,
        question: bytes,
        answered: Callable[[str | None], None],
    ) -> None:
        super().__init__(reactor, upstream.sock, connecting=not upstream.pipe)
        self._answer = b""
        self._answered = answered
        self.write(question)
        self.resume_reading()

    def received(self, data: bytes) -> None:
        self._answer += data
        number = health.status(self._answer)
        if number is None:
            return
        self._end(None if health.is_healthy(number) else health.problem(number))

    def ended(self) -> None:
        self._end("was not answered")

    def failed(self) -> None:
        self._end("was not answered")

    def _end(self, problem: str | None) -> None:
        answered, self._answered = self._answered, lambda _: None
        self.close()
        answered(problem)


class Checkup:
    """Asks one worker until it is healthy, or the time is up.

    :param connect: opens a connection to the worker.
    :param passed: called when it is healthy.
    :param failed: called with what is wrong when the time is up.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        connect: Callable[[], Upstream | None],
        passed: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._connect = connect
        self._passed = passed
        self._failed = failed
        self._path = self._host = ""
        self._problem = "was not answered"
        self._question: _Question | None = None
        self._timers: list[IDelayedCall] = []

    def start(self, path: str, host: str, seconds: float) -> None:
        """Ask for ``path`` from now on, for at most ``seconds``."""
        self._path, self._host = path, host
        self._timers.append(self._clock.callLater(seconds, self._too_late, seconds))
        self._ask()

    def stop(self) -> None:
        """Ask no more; nothing is called any more."""
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._timers.clear()
        question, self._question = self._question, None
        if question is not None:
            question.close()

    def _ask(self) -> None:
        upstream = self._connect()
        if upstream is None:
            self._answered("was not taken")
            return
        question = health.request(self._path, self._host)
        self._question = _Question(self._reactor, upstream, question, self._answered)

    def _answered(self, problem: str | None) -> None:
        self._question = None
        if problem is None:
            self.stop()
            self._passed()
            return
        self._problem = problem
        del self._timers[1:]
        self._timers.append(self._clock.callLater(ASK_AGAIN_SECONDS, self._ask))

    def _too_late(self, seconds: float) -> None:
        self.stop()
        self._failed(f"is not healthy: GET {self._path} {self._problem} within {seconds:g} s")
