"""Counts of an app's requests that only grow, and what the last seconds were like."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from ood.traffic import histogram

WINDOW_SECONDS = 10.0
"""What "lately" is: long enough for a 99th percentile, short enough to show trouble at once."""
SLOT_SECONDS = 1.0
"""The window moves in steps of this."""
CLASSES = 6
"""Statuses by their first digit, 1 to 5."""


class Lately(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests of the last :data:`WINDOW_SECONDS` were like.

    :ivar requests_per_second: answers.
    :ivar errors_per_second: answers with a status of 500 or more.
    :ivar p50_ms: half of the requests took no longer; None if there was none.
    :ivar p95_ms: 95 of 100 took no longer.
    :ivar p99_ms: 99 of 100 took no longer.
    """

    requests_per_second: float = 0.0
    errors_per_second: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


class Tally:
    """Counts of requests.

    Counting costs well below a microsecond, and nothing is done without requests: the
    window's past is kept as what the counts were when each of its seconds began.

    :ivar classes: answers by the first digit of their status.
    :ivar buckets: answers by their duration; see :mod:`ood.traffic.histogram`.
    :ivar seconds: their durations together.
    :ivar size: bytes of their bodies.
    :ivar in_flight: requests without an answer yet.
    """

    __slots__ = ("_slots", "_until", "buckets", "classes", "in_flight", "seconds", "size")

    def __init__(self) -> None:
        self.classes = [0] * CLASSES
        self.buckets = [0] * histogram.BUCKETS
        self.seconds = 0.0
        self.size = 0
        self.in_flight = 0
        self._slots: deque[tuple[float, list[int], int]] = deque()
        self._until = 0.0

    def count(self, now: float, status: int, seconds: float, size: int) -> None:
        """Count an answer that ended ``now``."""
        if now >= self._until:
            self._begin_slot(now)
        self.classes[status // 100] += 1
        self.buckets[histogram.bucket(seconds * 1000)] += 1
        self.seconds += seconds
        self.size += size

    def add(
        self,
        now: float,
        classes: Sequence[int],
        buckets: Sequence[int],
        *,
        seconds: float,
        size: int,
    ) -> None:
        """Count many answers that somebody else has counted."""
        if now >= self._until:
            self._begin_slot(now)
        for index, number in enumerate(classes):
            self.classes[index] += number
        for index, number in enumerate(buckets):
            self.buckets[index] += number
        self.seconds += seconds
        self.size += size

    def _begin_slot(self, now: float) -> None:
        self._until = now + SLOT_SECONDS
        self._forget(now)
        self._slots.append((now, self.buckets.copy(), self.classes[5]))

    def _forget(self, now: float) -> None:
        slots = self._slots
        while slots and slots[0][0] < now - WINDOW_SECONDS:
            slots.popleft()

    def window(self, now: float) -> tuple[list[int], int]:
        """Return the buckets and the number of errors of the window that ends ``now``."""
        self._forget(now)
        if not self._slots:
            return [0] * histogram.BUCKETS, 0
        _, before, errors = self._slots[0]
        counts = [count - old for count, old in zip(self.buckets, before, strict=True)]
        return counts, self.classes[5] - errors


def lately(tallies: Iterable[Tally], now: float) -> Lately:
    """Return what the requests that ``tallies`` count were like lately."""
    windows = [tally.window(now) for tally in tallies]
    counts = histogram.added(buckets for buckets, _ in windows)
    return Lately(
        requests_per_second=round(sum(counts) / WINDOW_SECONDS, 2),
        errors_per_second=round(sum(errors for _, errors in windows) / WINDOW_SECONDS, 2),
        p50_ms=_quantile(counts, 0.5),
        p95_ms=_quantile(counts, 0.95),
        p99_ms=_quantile(counts, 0.99),
    )


def _quantile(counts: Sequence[int], share: float) -> float | None:
    value = histogram.quantile(counts, share)
    return None if value is None else round(value, 2)
