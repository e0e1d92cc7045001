"""Which lines of a log are wanted: between two moments, of a worker, that match a pattern."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
MOMENTS = "10m, 2h, 3d, today, yesterday, 14:30, 2026-01-02 or 2026-01-02T03:04:05Z"
"""What a moment may look like, for help and errors."""

_AGO = re.compile(r"(\d{1,9})([smhdw])")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


def moment(option: str, text: str, now: datetime) -> str:
    """Return the moment that ``text`` names as it would stand in a log.

    :param now: the present, with its time zone: what names none is meant there.
    :raises click.BadParameter: it names none.
    """
    from ood.clock import stamp  # with Twisted, which help and completion do without

    try:
        return stamp(_moment(text.strip(), now))
    except (ValueError, OverflowError):
        reason = f"{text!r} is no moment; such are: {MOMENTS}"
        raise click.BadParameter(reason, param_hint=option) from None


def _moment(text: str, now: datetime) -> datetime:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    if text.lower() in named:
        return named[text.lower()]
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hour, minute, second = (int(part or 0) for part in clock.groups())
        return midnight.replace(hour=hour, minute=minute, second=second)
    found = datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text))
    return found if found.tzinfo else found.replace(tzinfo=now.tzinfo)


def compiled(text: str, *, ignore_case: bool) -> re.Pattern[str]:
    """Return a pattern.

    :raises click.BadParameter: it is none.
    """
    try:
        return re.compile(text, re.IGNORECASE if ignore_case else 0)
    except (re.error, RecursionError, OverflowError) as error:
        reason = f"{text!r} is no regular expression: {error}"
        raise click.BadParameter(reason, param_hint="--grep") from None


@dataclass(frozen=True)
class Filter:
    """What is asked of each line; what is empty or None is not asked.

    :ivar since: not before this moment, as it stands in a log.
    :ivar until: not after this one.
    :ivar stream: of this stream.
    :ivar worker: of this worker.
    :ivar pattern: it matches this somewhere.
    :ivar invert: it does not.
    """

    since: str = ""
    until: str = ""
    stream: str | None = None
    worker: int | None = None
    pattern: re.Pattern[str] | None = None
    invert: bool = False

    @property
    def narrow(self) -> bool:
        """Whether more is asked than the service itself can answer."""
        asked = (self.since, self.until, self.pattern)
        return any(asked) or self.worker is not None

    def matches(self, line: Mapping[str, Any]) -> bool:
        """Tell whether a line is wanted."""
        return (
            self.in_time(line["time"])
            and self.stream in (None, line["stream"])
            and self.worker in (None, line["instance"])
            and (self.pattern is None or self._found(line["text"]) != self.invert)
        )

    def in_time(self, time: str) -> bool:
        """Tell whether a moment is between the two."""
        return time >= self.since and (not self.until or time <= self.until)

    def _found(self, text: str) -> bool:
        return self.pattern is not None and self.pattern.search(text) is not None
