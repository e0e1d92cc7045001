"""Why a worker is no more."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Death:
    """A worker's end that nobody asked for.

    :ivar reason: for people: exit status or signal, or what ood had against it.
    :ivar uptime_seconds: how long it ran.
    :ivar code: its exit status, if it exited by itself.
    :ivar signal: the signal that killed it, if one did.
    """

    time: datetime
    instance: int
    pid: int | None
    reason: str
    uptime_seconds: float
    code: int | None = None
    signal: int | None = None


def describe_exit(code: int | None, number: int | None) -> str:
    """Return how a process ended, in words."""
    if number is not None:
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return f"was killed by {name}"
    return f"exited with status {code}"


def describe_seconds(seconds: float) -> str:
    """Return a duration as a person says it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
