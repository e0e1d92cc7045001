"""Whether, and when, a worker that died is started again: a pure function."""

from __future__ import annotations

from dataclasses import dataclass

DELAY_MAX_SECONDS = 15.0
"""Longest pause: a site that can be repaired from outside comes back within it."""
DELAY_MIN_SECONDS = 0.01
"""Shortest pause after a young death, so that a pause of 0 is no busy loop."""
JITTER = 0.25
"""Part by which a pause varies: workers that died together don't start together."""


@dataclass(frozen=True)
class Limits:
    """What counts as young, and how patient to be.

    :ivar min_uptime: seconds; a worker that ran shorter died young.
    :ivar max_restarts: young deaths in a row after which it is ``errored``.
    :ivar first_delay: seconds of the first pause; it doubles.
    :ivar autorestart: whether it is started again at all.
    :ivar least_delay: seconds of the shortest pause, whoever died.
    """

    min_uptime: float = 1.0
    max_restarts: int = 16
    first_delay: float = 0.1
    autorestart: bool = True
    least_delay: float = 0.0


@dataclass(frozen=True)
class History:
    """What is remembered of the deaths so far.

    :ivar young: young deaths in a row.
    """

    young: int = 0


@dataclass(frozen=True)
class Exit:
    """A death.

    :ivar started: when the worker was started, on the clock that counts seconds.
    :ivar was_online: whether it ever answered.
    """

    started: float
    was_online: bool


@dataclass(frozen=True)
class Decision:
    """What to do.

    :ivar history: what to remember from now on.
    :ivar delay: seconds to wait; None means: leave it stopped.
    :ivar state: the state it is in until then.
    """

    history: History
    delay: float | None
    state: str


def decide(history: History, death: Exit, now: float, limits: Limits, chance: float) -> Decision:
    """Decide about a death at ``now``; ``chance`` is random, from 0 to 1."""
    if not limits.autorestart:
        return Decision(history, None, "stopped")
    if death.was_online and now - death.started >= limits.min_uptime:
        state = "waiting-restart" if limits.least_delay else "launching"
        return Decision(History(), limits.least_delay, state)
    young = history.young + 1
    doubled = max(limits.first_delay, DELAY_MIN_SECONDS) * 2.0 ** min(young - 1, 30)
    varied = min(doubled, DELAY_MAX_SECONDS) * (1 - JITTER + 2 * JITTER * chance)
    if young >= limits.max_restarts:
        return Decision(History(young), max(DELAY_MAX_SECONDS, limits.least_delay), "errored")
    delay = max(min(varied, DELAY_MAX_SECONDS), limits.least_delay)
    return Decision(History(young), delay, "waiting-restart")
