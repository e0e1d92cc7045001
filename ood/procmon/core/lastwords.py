"""What a process left in its file when it died (``guard/flight.cjs`` writes it).

Other people's code wrote it: everything is checked and bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from ood.model.death import DeathReport, RequestInFlight

FILE_BYTES_MAX = 65_536
"""More than the guard ever writes: 64 places of 256 bytes, or one short object."""
SLOT_BYTES = 256
REQUESTS_MAX = 32
"""Requests that are kept of one death."""
LONG_MILLISECONDS = 30_000
"""A request that was served for longer than this, such as a stream of events, hardly killed
the worker now."""
NAMED_MAX = 3
"""Requests that are named as what deaths have in common: more would name none."""
ANYTHING = "*"

_TOKEN = re.compile(r"(?=[^/]*\d)[A-Za-z0-9_.~%+=-]{20,}")
_NUMBER = re.compile(r"\d+")

Text = Annotated[str, Meta(max_length=4096)]
Entry = tuple[Text, Text, Annotated[float, Meta(ge=0)]]


class Thrown(msgspec.Struct, frozen=True):
    """An uncaught exception."""

    name: Text = ""
    message: Text = ""
    code: Text = ""
    stack: Text = ""


class _Left(msgspec.Struct, frozen=True):
    error: Thrown | None = None
    requests: Annotated[tuple[Entry, ...], Meta(max_length=REQUESTS_MAX)] = ()


@dataclass(frozen=True)
class LastWords:
    """What is known from the process itself.

    :ivar thrown: the exception that ended it.
    """

    requests: tuple[RequestInFlight, ...] = ()
    thrown: Thrown | None = field(default=None)


NOTHING = LastWords()
_decode = msgspec.json.Decoder(_Left).decode


def parse(content: bytes) -> LastWords:
    """Return what stands in the file; as much of it as makes sense."""
    if not content.startswith(b"{"):
        return LastWords(_slots(content))
    try:
        left = _decode(content)
    except msgspec.MsgspecError:
        return NOTHING
    return LastWords(requests_of(left.requests), left.error)


def _slots(content: bytes) -> tuple[RequestInFlight, ...]:
    found = []
    for start in range(0, min(len(content), FILE_BYTES_MAX), SLOT_BYTES):
        line, end, _ = content[start : start + SLOT_BYTES].partition(b"\n")
        method, space, path = line.decode("latin-1").partition(" ")
        if end and space and not line.startswith(b"\0"):
            found.append(RequestInFlight(method=method, path=masked(path)))
    return tuple(found[:REQUESTS_MAX])


def requests_of(entries: Iterable[tuple[str, str, float]]) -> tuple[RequestInFlight, ...]:
    """Return requests as the guard tells them: method, path and age."""
    return tuple(
        RequestInFlight(method=method, path=masked(path), age_ms=round(age))
        for method, path, age in entries
    )


def masked(path: str) -> str:
    """Return a path without what may be a secret: a query, and long tokens in it."""
    plain, *_ = re.split(r"[?#]", path, maxsplit=1)
    return "/".join(ANYTHING if _TOKEN.fullmatch(part) else part for part in plain.split("/"))


def _general(request: str) -> str:
    """Return a request with its numbers left open: each user's page is the same code."""
    method, _, path = request.partition(" ")
    parts = [ANYTHING if _NUMBER.fullmatch(part) else part for part in path.split("/")]
    return f"{method} {'/'.join(parts)}"


def _likely(death: DeathReport) -> set[str]:
    short = [
        one
        for one in death.requests
        if one.age_ms is None or one.age_ms < LONG_MILLISECONDS or death.cause == "hang"
    ]
    return {f"{one.method} {one.path}" for one in short}


def _common(sets: Sequence[set[str]]) -> tuple[int, list[str]]:
    """Return how many of the first sets have something in common, and what."""
    common, count = set(sets[0]) if sets else set(), 0
    for one in sets:
        if not common & one:
            break
        common, count = common & one, count + 1
    return count, sorted(common)


def pattern(deaths: Sequence[DeathReport]) -> str:
    """Return which request was being served at several deaths in a row; empty if none was.

    :param deaths: newest first.
    """
    exact = [_likely(death) for death in deaths]
    count, named = _common(exact)
    wide, general = _common([{_general(one) for one in each} for each in exact])
    if wide > count:
        count, named = wide, general
    if count < 2 or len(named) > NAMED_MAX:
        return ""
    were = "was" if len(named) == 1 else "were"
    return f"{' and '.join(named)} {were} being served in the last {count} crashes"
