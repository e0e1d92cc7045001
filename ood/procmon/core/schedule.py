"""When a restart by the calendar is due: a pure function."""

from __future__ import annotations

from datetime import datetime

from cronsim import CronSim


def due(expression: str, since: datetime, now: datetime) -> bool:
    """Tell whether ``expression`` names a moment after ``since`` and not after ``now``."""
    return since < now and next(CronSim(expression, since)) <= now
