"""Durations and sizes as people write them.

Durations are kept as whole milliseconds, sizes as whole bytes.
"""

from __future__ import annotations

import re

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_DURATION_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG])?(?:i?B)?", re.IGNORECASE)
_SIZE_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_duration_ms(text: str) -> int:
    """Return milliseconds for ``"10s"``, ``"5m"``, ``"1.5h"`` or ``"1500"``.

    A number without a unit is milliseconds.

    :raises ValueError: it is no duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return round(float(match[1]) * _DURATION_MS[match[2] or "ms"])


def format_duration_ms(milliseconds: int) -> str:
    """Return the shortest exact spelling that :func:`parse_duration_ms` reads back."""
    for unit in ("d", "h", "m", "s"):
        size = _DURATION_MS[unit]
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def parse_size_bytes(text: str) -> int:
    """Return bytes for ``"300M"``, ``"1.5G"``, ``"64KiB"`` or ``"1024"``; K is 1024.

    :raises ValueError: it is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return round(float(match[1]) * _SIZE_BYTES[(match[2] or "").upper()])
