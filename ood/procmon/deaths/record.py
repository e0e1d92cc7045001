"""Why a worker is no more."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import datetime

from ood.model.death import RequestInFlight
from ood.procmon.core.lastwords import Thrown


@dataclass(frozen=True)
class Evidence:
    """What was found of a worker that died.

    :ivar release: what it ran.
    :ivar cwd: where.
    :ivar memory_bytes: its memory when it was last looked at.
    :ivar memory_growth: bytes a minute by which it grew.
    :ivar requests: those in flight.
    :ivar thrown: the exception, where the guard has seen it.
    :ivar oom_killed: whether the kernel killed something for memory just then.
    :ivar hung: whether its event loop did not turn.
    :ivar stack: where it hung.
    :ivar err: its last lines on stderr.
    :ivar log: its last lines.
    """

    release: str = ""
    cwd: str = ""
    memory_bytes: int = 0
    memory_growth: float | None = None
    requests: tuple[RequestInFlight, ...] = ()
    thrown: Thrown | None = None
    oom_killed: bool = False
    hung: bool = False
    stack: tuple[str, ...] = ()
    err: tuple[str, ...] = ()
    log: tuple[str, ...] = ()


NO_EVIDENCE = Evidence()


@dataclass(frozen=True)
class Death:
    """A worker's end that nobody asked for.

    :ivar reason: for people: exit status or signal, or what ood had against it.
    :ivar uptime_seconds: how long it ran.
    :ivar code: its exit status, if it exited by itself.
    :ivar signal: the signal that killed it, if one did.
    :ivar evidence: what was found.
    """

    time: datetime
    instance: int
    pid: int | None
    reason: str
    uptime_seconds: float
    code: int | None = None
    signal: int | None = None
    evidence: Evidence = NO_EVIDENCE


def signal_name(number: int) -> str:
    """Return a signal's name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def describe_exit(code: int | None, number: int | None) -> str:
    """Return how a process ended, in words."""
    if number is not None:
        return f"was killed by {signal_name(number)}"
    return f"exited with status {code}"


def describe_seconds(seconds: float) -> str:
    """Return a duration as a person says it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
