"""The Date of answers that ood makes itself."""

from __future__ import annotations

from functools import lru_cache

from ood.clock import wall_time
from ood.proxy.core.static.conditional import http_date


def present() -> bytes:
    """Return the present as HTTP has it."""
    return dated(int(wall_time().timestamp()))


@lru_cache(maxsize=256)
def dated(seconds: int) -> bytes:
    """Return a moment as HTTP has it: the present one and those of popular files recur.

    :param seconds: since the epoch.
    """
    return http_date(seconds)
