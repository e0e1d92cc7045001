"""How a worker's memory grows: a few samples, and the straight line through them."""

from __future__ import annotations

from collections import deque

SAMPLES_MAX = 120
"""Samples that are kept: ten minutes, at one each five seconds."""
SPAN_SECONDS_MIN = 5.0
"""A line through less says nothing: a start takes memory, too."""


class Growth:
    """The memory of one worker over its last minutes."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES_MAX)

    @property
    def last(self) -> int:
        """The newest sample, in bytes; 0 if there is none."""
        return int(self._samples[-1][1]) if self._samples else 0

    def add(self, at: float, count: float) -> None:
        """Note that ``count`` bytes were used at ``at`` seconds."""
        self._samples.append((at, count))

    def per_minute(self) -> float | None:
        """Return the bytes that it grew by each minute, by least squares."""
        samples = self._samples
        if len(samples) < 3 or samples[-1][0] - samples[0][0] < SPAN_SECONDS_MIN:
            return None
        middle_at = sum(at for at, _ in samples) / len(samples)
        middle = sum(count for _, count in samples) / len(samples)
        above = sum((at - middle_at) * (count - middle) for at, count in samples)
        return above / sum((at - middle_at) ** 2 for at, _ in samples) * 60
