"""The keys of an app that are about HTTPS."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ood.model import kinds
from ood.model.kinds import Kind

HSTS_SECONDS = 63_072_000
"""What ``true`` stands for: two years, as the lists that browsers come with want it."""
HSTS_SECONDS_MAX = 10 * HSTS_SECONDS

_DAYS = re.compile(r"(\d{1,5})\s*d")


def _hsts(value: Any) -> int:
    if value is True or value is False:
        return HSTS_SECONDS if value else 0
    if isinstance(value, str):
        days = _DAYS.fullmatch(value.strip())
        value = int(days[1]) * 86_400 if days else value.strip().lower()
        if value in {"true", "on", "yes", "false", "off", "no"}:
            return HSTS_SECONDS if value in {"true", "on", "yes"} else 0
    seconds: int = kinds.integer(0, HSTS_SECONDS_MAX).parse(value)
    return seconds


HSTS = Kind(
    _hsts,
    "true, false, or for how long: seconds, or days as in 365d",
    {"type": "integer", "minimum": 0, "maximum": HSTS_SECONDS_MAX},
)

HTTPS_KEYS: Mapping[str, tuple[Kind, str]] = {
    "https": (
        kinds.choice("auto", "off", "only"),
        "What becomes of plain HTTP: auto sends browsers to HTTPS where a host has a certificate, "
        "off never does, only always.",
    ),
    "hsts": (
        HSTS,
        "Whether, and for how many seconds, browsers are told to come by HTTPS only; they can't be "
        "told otherwise before that time is over.",
    ),
    "tls": (
        kinds.choice("terminate", "passthrough"),
        "Who decrypts: ood, or the app, which then gets each connection as it comes.",
    ),
}
"""Keys by name: what they hold and what they mean."""
HTTPS_FIELDS = ("https", "hsts", "tls")
"""Fields of an app that its workers need not be restarted for."""
