"""What leaves a node: at once, except for news that soon comes by itself.

An idle follower is told what is committed by a heartbeat of its own.  Under
one command after the other that costs two messages and two answers for each,
although the next command's entries tell the same a moment later: so such news
waits a little, and is dropped when it was overtaken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ood.raft.core.types import Append, Heartbeat, Message

# A follower learns of a commit this much later at most; reads there wait for it.
NEWS_SECONDS = 0.002


class Outbox:
    """Messages on their way out.

    :param send: sends messages.
    :ivar sent: how many were sent.
    """

    def __init__(self, clock: IReactorTime, send: Callable[[Sequence[Message]], object]) -> None:
        self.sent = 0
        self._clock = clock
        self._send = send
        self._held: dict[str, Heartbeat] = {}
        self._timer: IDelayedCall | None = None

    def send(self, messages: Sequence[Message]) -> None:
        """Send, but hold what only tells a commit index."""
        now: list[Message] = []
        for message in messages:
            if isinstance(message, Heartbeat) and not message.round:
                self._hold(message)
                continue
            if isinstance(message, Append | Heartbeat):
                self._held.pop(message.target, None)
            now.append(message)
        if now:
            self.sent += len(now)
            self._send(now)

    def _hold(self, message: Heartbeat) -> None:
        self._held[message.target] = message
        if self._timer is None:
            self._timer = self._clock.callLater(NEWS_SECONDS, self._release)

    def _release(self) -> None:
        self._timer = None
        held, self._held = self._held, {}
        if held:
            self.sent += len(held)
            self._send(list(held.values()))

    def stop(self) -> None:
        """Hold nothing any more."""
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
