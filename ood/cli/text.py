"""Text for people: values spelled short, and foreign text made harmless."""

from __future__ import annotations

import json
import re
from typing import Any

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
_CONTROL = re.compile(
    # C0 without tab, DEL, C1, and what turns the direction of text around.
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def visible(text: str) -> str:
    """Return ``text`` as it may reach a terminal.

    An app's log is written by whoever sends the app requests.  Control
    characters in it could retitle a terminal, hide lines or feed it commands,
    so they are spelled out; colours are left away.
    """
    return _CONTROL.sub(_spelled, _COLOURS.sub("", text)).expandtabs()


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def one_line(text: str) -> str:
    """Return ``text`` on one line."""
    return visible(" ".join(text.split()))


def spell(value: Any) -> str:
    """Return a configured value as ``--set`` would read it back."""
    if value is None:
        return ""
    if isinstance(value, str):
        return visible(value)
    return json.dumps(value)


def duration(milliseconds: int) -> str:
    """Return a duration with its two largest units."""
    seconds = milliseconds // 1000
    for name, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60)):
        if seconds >= size:
            return f"{seconds // size}{name} {seconds % size // part}{below}"
    if seconds >= 60:
        return f"{seconds // 60}m {seconds % 60}s"
    return f"{seconds}s"


def milliseconds(value: float | None) -> str:
    """Return a short duration as it was measured; empty if nobody did."""
    if value is None:
        return ""
    if value >= 10_000:
        return f"{value / 1000:.0f} s"
    if value >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def shortened(text: str, most: int) -> str:
    """Return ``text`` in ``most`` characters: names differ at either end, so the middle goes."""
    if len(text) <= most:
        return text
    tail = max(most - 1, 0) // 2
    return f"{text[: max(most - 1 - tail, 0)]}…{text[len(text) - tail :]}"


def size(count: int) -> str:
    """Return a number of bytes."""
    value = float(count)
    for unit in ("B", "KB", "MB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"


def count(number: int, noun: str) -> str:
    """Return ``number`` and ``noun``, in the plural if need be."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
