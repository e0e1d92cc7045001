"""Content codings: what a client takes, and what is worth being coded (RFC 9110, 12.5.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ITEM = re.compile(
    rb"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*"
    rb"(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)
_COMPRESSIBLE = re.compile(
    r"text/.*|application/(?:(?:.*\+)?(?:json|xml)|javascript|wasm|x-javascript|manifest\+json"
    r"|x-ndjson|graphql|vnd\.ms-fontobject|x-font-ttf|rtf)|image/(?:svg\+xml|bmp|x-icon"
    r"|vnd\.microsoft\.icon)|font/(?:ttf|otf|collection)"
)


def accepted(value: bytes) -> dict[str, float]:
    """Return the codings that ``Accept-Encoding`` names, each with its weight."""
    weights: dict[str, float] = {}
    for item in value.split(b","):
        match = _ITEM.fullmatch(item)
        if match is not None:
            name = match[1].decode("ascii").lower()
            weights["gzip" if name == "x-gzip" else name] = float(match[2] or 1)
    return weights


def ranked(value: bytes | None, available: Sequence[str]) -> list[str]:
    """Return those of the codings that the client takes, and likes no less than none.

    The one it likes best is first.

    :param value: of ``Accept-Encoding``; without it nothing is coded.
    :param available: codings, the best first; it decides among equal weights.
    """
    if not value:
        return []
    weights = accepted(value)
    rest = weights.get("*", 0.0)
    least = weights.get("identity", 0.0)
    pairs = [(weights.get(coding, rest), coding) for coding in available]
    fit = [(weight, coding) for weight, coding in pairs if weight > 0 and weight >= least]
    return [coding for _, coding in sorted(fit, key=lambda pair: -pair[0])]


def compressible(media_type: str) -> bool:
    """Tell whether content of the type gets smaller; images and archives are small already."""
    return _COMPRESSIBLE.fullmatch(media_type.partition(";")[0].strip().lower()) is not None
