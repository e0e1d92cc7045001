"""Few messages for many events: pure code.

The first event of a kind is told at once.  What follows within some minutes becomes one
message with a count, and there are never more than some messages an hour.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ood.model.event import Event

WINDOW_SECONDS = 300.0
"""Least time between two messages of the same app and kind: a crash loop is one story."""
MESSAGES_PER_HOUR_MAX = 60
"""Most messages to one target, whatever happens: more is read by nobody."""
HOUR_SECONDS = 3600.0
KEYS_MAX = 1024
"""Apps and kinds that are told apart; above any machine's, and a bound of memory."""


@dataclass(frozen=True)
class Batch:
    """One message.

    :ivar event: the last of those it stands for.
    :ivar count: how many these are.
    :ivar since: when the first of them was.
    """

    event: Event
    count: int = 1
    since: str = ""


@dataclass
class _Held:
    """What is known of one app and kind.

    :ivar sent: when the last message was made; None: never.
    """

    event: Event
    count: int = 0
    since: str = ""
    sent: float | None = None

    @property
    def due(self) -> float:
        """The earliest moment of its next message."""
        return float("-inf") if self.sent is None else self.sent + WINDOW_SECONDS


class Coalescer:
    """Makes messages for one target of events."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], _Held] = {}
        self._recent: deque[float] = deque(maxlen=MESSAGES_PER_HOUR_MAX)

    def take(self, event: Event) -> None:
        """Take an event."""
        key = event.app, event.kind
        if key not in self._held and len(self._held) >= KEYS_MAX:
            key = "", ""
        held = self._held.setdefault(key, _Held(event))
        if not held.count:
            held.since = event.time
        held.event = event
        held.count += 1

    def ready(self, now: float) -> list[Batch]:
        """Return the messages for which it is time."""
        waiting = [held for held in self._held.values() if held.count and held.due <= now]
        batches = []
        for held in sorted(waiting, key=lambda one: one.event.id):
            if self._full_until(now) > now:
                break
            self._recent.append(now)
            batches.append(self._made(held, now))
        self._held = {key: held for key, held in self._held.items() if held.count or held.due > now}
        return batches

    def rest(self) -> list[Batch]:
        """Return messages for all that waits: there is no later."""
        waiting = [held for held in self._held.values() if held.count]
        return [self._made(held, 0.0) for held in sorted(waiting, key=lambda one: one.event.id)]

    def due(self, now: float) -> float | None:
        """Return when to ask again; None if nothing waits."""
        moments = [held.due for held in self._held.values() if held.count]
        return max(min(moments), self._full_until(now), now) if moments else None

    def _full_until(self, now: float) -> float:
        """Return when the hour has room for a message."""
        full = len(self._recent) == MESSAGES_PER_HOUR_MAX
        return self._recent[0] + HOUR_SECONDS if full else now

    @staticmethod
    def _made(held: _Held, now: float) -> Batch:
        batch = Batch(held.event, held.count, held.since)
        held.count, held.sent = 0, now
        return batch
