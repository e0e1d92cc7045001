"""The way to one target: filter, few messages for many events, a queue, new tries."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ood.background import Background
from ood.model.event import Event
from ood.model.notify import Target
from ood.notify.core.coalesce import Batch, Coalescer
from ood.notify.core.message import wants
from ood.notify.senders import SendError

QUEUE_MAX = 64
"""Messages that wait for a slow target; the oldest are dropped first."""
RETRY_SECONDS = (2.0, 8.0, 30.0)
"""Pauses before new tries: a server that is being restarted is back by then."""
LOG_AGAIN_SECONDS = 600.0
"""How soon another failure of the same target is worth a line in the log."""

Send = Callable[[Target, Batch], Awaitable[None]]


class Channel:
    """Tells one target.

    :param send: tells it once; raises SendError.
    """

    log = Logger()

    def __init__(
        self, target: Target, send: Send, clock: IReactorTime, background: Background
    ) -> None:
        self.target = target
        self._send = send
        self._clock = clock
        self._background = background
        self._coalescer = Coalescer()
        self._queue: deque[Batch] = deque(maxlen=QUEUE_MAX)
        self._timer: IDelayedCall | None = None
        self._busy = False
        self._hurry = False
        self._pause: Deferred[None] | None = None
        self._logged: float | None = None
        self._idle: list[Deferred[None]] = []

    def take(self, event: Event) -> None:
        """Take an event; returns at once."""
        if wants(self.target, event):
            self._coalescer.take(event)
            self._look()

    def _look(self) -> None:
        now = self._clock.seconds()
        self._queue.extend(self._coalescer.rest() if self._hurry else self._coalescer.ready(now))
        self._disarm()
        due = self._coalescer.due(now)
        if due is not None:
            self._timer = self._clock.callLater(due - now, self._look)
        if self._queue and not self._busy:
            self._busy = True
            self._background.run(f"telling {self.target.shown}", self._run())

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    async def _run(self) -> None:
        try:
            while self._queue:
                await self._deliver(self._queue.popleft())
        finally:
            self._busy = False
            for waiter in self._idle:
                waiter.callback(None)
            self._idle.clear()

    async def _deliver(self, batch: Batch) -> None:
        for pause in (*RETRY_SECONDS, None):
            try:
                await self._send(self.target, batch)
            except SendError as error:
                if not error.again or pause is None or self._hurry:
                    self._failed(error)
                    return
                await self._wait(pause)
            else:
                return

    async def _wait(self, seconds: float) -> None:
        pause: Deferred[None] = Deferred()
        self._pause = pause
        timer = self._clock.callLater(seconds, pause.callback, None)
        try:
            await pause
        finally:
            self._pause = None
            if timer.active():
                timer.cancel()

    def _failed(self, error: SendError) -> None:
        now = self._clock.seconds()
        if self._logged is None or now - self._logged >= LOG_AGAIN_SECONDS:
            self._logged = now
            self.log.warn("can't notify {target}: {why}", target=self.target.shown, why=str(error))

    def finish(self) -> Deferred[None]:
        """Tell all that waits, with one try each; fire when that is done."""
        self._hurry = True
        self._look()
        if self._pause is not None:
            self._pause.callback(None)
        done: Deferred[None] = Deferred()
        if self._busy:
            self._idle.append(done)
        else:
            done.callback(None)
        return done

    def close(self) -> None:
        """Tell nothing any more; what is being told is not the channel's to end."""
        self._disarm()
        self._queue.clear()
