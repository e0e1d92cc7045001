"""When a certificate is renewed, how long is waited after a failure, how often a CA is asked.

Moments are seconds since the epoch: they are compared with what stands in
certificates, and kept over a restart.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

REISSUE_SECONDS = 30 * 86400
"""Renewed when it is valid for less than this, or for a third of its lifetime."""
PANIC_SECONDS = 15 * 86400
"""Overdue when it is valid for less than this, or for a sixth of its lifetime."""
FAILURE_PAUSES_SECONDS = (60, 120, 120, 300, 600, 1200, 1200, 1800, 1800, 3600, 10_800, 21_600)
"""Pauses after failures in a row, as CertMagic makes them; the last one repeats."""
REPEATED_PAUSES = 116
"""How often the last pause repeats: until some 30 days after the first failure."""
HOPELESS_PAUSE_SECONDS = 86_400
"""Pause after that: a name that can't be had costs its CA one order a day."""
RETRY_AFTER_MAX_SECONDS = 8 * 86_400
"""Longest wait that a CA can ask for: the limits of public CAs are over a week."""
ORDERS_MAX = 10
ORDERS_WINDOW_SECONDS = 10.0
"""At most so many orders within so many seconds, over all names, as CertMagic."""
EARLY_LEAST_AGE_SECONDS = 6 * 3600
"""A certificate younger than this is not renewed because its CA would like that: one that
always does must not be asked all the time."""


class Standing(Enum):
    """How a certificate stands."""

    VALID = "valid"
    REISSUE = "reissue"
    PANIC = "panic"


@dataclass(frozen=True)
class Span:
    """A certificate's lifetime."""

    start: float
    end: float


@dataclass(frozen=True)
class Window:
    """When its CA would like a certificate to be renewed (RFC 9773).

    :ivar start: begin of the window.
    :ivar end: its end.
    :ivar chosen: the moment in it that was drawn for this certificate.
    :ivar look: when to ask again.
    """

    start: float
    end: float
    chosen: float
    look: float


def standing(
    span: Span | None,
    now: float,
    window: Window | None = None,
    reissue: float = REISSUE_SECONDS,
    panic: float = PANIC_SECONDS,
) -> Standing:
    """Return how a certificate with this lifetime stands; None is no certificate."""
    if span is None:
        return Standing.PANIC
    left, lifetime = span.end - now, span.end - span.start
    if left <= min(panic, lifetime / 6):
        return Standing.PANIC
    if left <= min(reissue, lifetime / 3):
        return Standing.REISSUE
    if window is not None and _wanted_back(span, window) <= now:
        return Standing.REISSUE
    return Standing.VALID


def _wanted_back(span: Span, window: Window) -> float:
    return max(window.chosen, span.start + EARLY_LEAST_AGE_SECONDS)


def next_change(
    span: Span,
    window: Window | None = None,
    reissue: float = REISSUE_SECONDS,
) -> float:
    """Return when a valid certificate is due."""
    due = span.end - min(reissue, (span.end - span.start) / 3)
    return due if window is None else min(due, _wanted_back(span, window))


def pause_after(failures: int, retry_after: float | None = None) -> float:
    """Return how long to wait after so many failures in a row, at least one.

    :param retry_after: what the CA asked for.
    """
    if failures > len(FAILURE_PAUSES_SECONDS) + REPEATED_PAUSES:
        pause = HOPELESS_PAUSE_SECONDS
    else:
        pause = FAILURE_PAUSES_SECONDS[min(failures, len(FAILURE_PAUSES_SECONDS)) - 1]
    return max(pause, min(retry_after or 0.0, RETRY_AFTER_MAX_SECONDS))


class OrderRate:
    """Spreads orders: the first ones at once, then as the window allows."""

    def __init__(self) -> None:
        self._taken: deque[float] = deque(maxlen=ORDERS_MAX)

    def reserve(self, now: float) -> float:
        """Take the next place; return how many seconds to wait for it."""
        place = now
        if len(self._taken) == ORDERS_MAX:
            place = max(now, self._taken[0] + ORDERS_WINDOW_SECONDS)
        self._taken.append(place)
        return place - now
