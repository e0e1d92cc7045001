"""How long requests take: counted in fixed buckets, asked for quantiles."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

BOUNDS_MS = (0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
"""Upper bounds of the buckets in milliseconds; one more bucket has what takes longer.

The guard has the same (``stats.cjs``): both count, and only counts travel.
"""
BUCKETS = len(BOUNDS_MS) + 1


def bucket(milliseconds: float) -> int:
    """Return the number of the bucket for a duration."""
    return bisect_left(BOUNDS_MS, milliseconds)


def added(histograms: Iterable[Sequence[int]]) -> list[int]:
    """Return the sum of histograms."""
    total = [0] * BUCKETS
    for one in histograms:
        for index, count in enumerate(one):
            total[index] += count
    return total


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Return the duration in milliseconds below which ``share`` of the requests lie.

    Within a bucket they are taken as evenly spread; of those beyond the last bound
    nothing is known but that.  None without requests.
    """
    rank = share * sum(counts)
    if not rank:
        return None
    seen = 0
    lower = 0.0
    for count, upper in zip(counts, BOUNDS_MS, strict=False):
        if seen + count >= rank:
            return lower + (upper - lower) * (rank - seen) / count
        seen += count
        lower = upper
    return lower
