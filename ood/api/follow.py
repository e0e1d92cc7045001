"""What one client follows: pieces as they come, and no faster than it reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from ood.api.problems import WebRequest, encode
from ood.api.types import LINES_TYPE

BACKLOG_BYTES_MAX = 1 << 20
"""How far a reader may fall behind before it misses something.

Buffering more only hides that it never catches up, and costs the service's memory.
"""

Apology = Callable[[int], object]
"""``apology(count)``: what is told in place of so many objects."""


@implementer(IPushProducer)
class Follower:
    """Writes objects to a request, one JSON line each, until either side ends it.

    :param media_type: what it says that it writes.
    :param encode: makes bytes of an object, instead of a JSON line.
    :param apology: what a reader that fell behind is told in place of what it missed;
        without one its connection is closed.
    :ivar done: fires when the answer is complete or its reader is gone.
    """

    def __init__(
        self,
        request: WebRequest,
        media_type: str = LINES_TYPE,
        encode: Callable[[Any], bytes] = encode,
        apology: Apology | None = None,
    ) -> None:
        self._request = request
        self._media_type = media_type
        self._encode = encode
        self._apology = apology
        self._missed = 0
        self._lost = False
        self._paused = False
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._finished = False
        self.done: Deferred[None] = Deferred()

    def start(self, first: Iterable[object]) -> None:
        """Begin the answer with ``first``."""
        self._request.setHeader("Content-Type", self._media_type)
        _ = self._request.notifyFinish().addBoth(lambda _: self._ended())
        self._request.registerProducer(self, True)
        # The head goes out now, even if the log is empty: the reader is connected.
        self._request.write(b"".join(self._encode(one) for one in first))

    def send(self, value: object) -> None:
        """Write ``value`` now, or when the reader has caught up."""
        if self._finished or self._lost:
            return
        if self._missed:
            self._missed += 1
            return
        line = self._encode(value)
        if not self._paused:
            self._request.write(line)
            return
        if self._backlog_bytes + len(line) <= BACKLOG_BYTES_MAX:
            self._keep(line)
        elif self._apology is not None:
            self._missed = 1
        else:
            self.stopProducing()
            self._lost = True
            self._request.channel.forceAbortClient()

    def end(self, value: object) -> None:
        """Write ``value`` in any case, as the last one, and end the answer."""
        if not self._finished:
            self._apologize()
            self._keep(self._encode(value))
            self._request.write(b"".join(self._backlog))
            self.finish()

    def _keep(self, line: bytes) -> None:
        self._backlog.append(line)
        self._backlog_bytes += len(line)

    def _apologize(self) -> None:
        """Tell a reader that caught up what it missed."""
        if self._missed and self._apology is not None:
            self._keep(self._encode(self._apology(self._missed)))
            self._missed = 0

    def finish(self) -> None:
        """End the answer; what is written already still reaches the reader."""
        if not self._finished:
            self._request.unregisterProducer()
            self._ended()

    def pauseProducing(self) -> None:
        """Hold lines back: the reader is slower than the log."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Write what was held back."""
        self._paused = False
        while not self._paused and (self._backlog or self._missed):
            if not self._backlog:
                self._apologize()
            line = self._backlog.popleft()
            self._backlog_bytes -= len(line)
            self._request.write(line)

    def stopProducing(self) -> None:
        """Write no more: the reader is gone, as notifyFinish is about to say."""
        self._paused = True
        self._backlog.clear()

    def _ended(self) -> None:
        if not self._finished:
            self._finished = True
            self._backlog.clear()
            self.done.callback(None)
