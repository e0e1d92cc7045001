"""What happens, told to whoever wants to know: log, web page, notifications.

The bus keeps the last events, so that a reader that lost its connection can go
on where it was.  Subscribers are called at once and in order; one that fails is
logged and does not keep others from being told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from twisted.logger import Logger

from ood.model.event import KINDS, Event

__all__ = ["EVENTS_KEPT", "KINDS", "Event", "EventBus"]

EVENTS_KEPT = 1024
"""Events that a reader can catch up on: minutes of a busy machine, some hundred KB."""


class EventBus:
    """Passes events on and keeps the last of them.

    :param now: tells the time of day.
    """

    log = Logger()

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)) -> None:
        self._now = now
        self._kept: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._last = 0
        self._subscribers: dict[object, Callable[[Event], None]] = {}

    @property
    def last_id(self) -> int:
        """The newest event's id; 0 before the first."""
        return self._last

    def publish(self, kind: str, text: str, app: str = "", **data: Any) -> Event:
        """Tell every subscriber; return the event."""
        assert kind in KINDS, kind
        self._last += 1
        time = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = Event(id=self._last, time=time, kind=kind, app=app, text=text, data=data)
        self._kept.append(event)
        for callback in list(self._subscribers.values()):
            try:
                callback(event)
            except Exception:
                self.log.failure("a subscriber failed at {kind}", kind=kind)
        return event

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback`` with every event; return what ends that."""
        key = object()
        self._subscribers[key] = callback

        def end() -> None:
            self._subscribers.pop(key, None)

        return end

    def after(self, last_id: int) -> list[Event] | None:
        """Return the events after ``last_id``; None if some of them are kept no more.

        An id that this run has not given yet comes from an earlier run: None, too.
        """
        if last_id > self._last or (self._kept and last_id < self._kept[0].id - 1):
            return None
        return [event for event in self._kept if event.id > last_id]
