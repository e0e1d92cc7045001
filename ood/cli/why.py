"""``ood why``: what is known of workers that died."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from ood.api.types import app_path
from ood.cli.output import Output
from ood.cli.session import Session
from ood.cli.text import count, duration, one_line, size

Death: TypeAlias = Mapping[str, Any]
"""A death, as the API sends it."""

REQUESTS_SHOWN = 8
"""Requests in flight that are named; --json has them all."""
GROWTH_SHOWN_BYTES = 1 << 20
"""Memory that grows by less in a minute does not explain a death."""
LABEL_WIDTH = 11


async def why(session: Session, app: str, number: int) -> None:
    """Show the last deaths of an app's workers, newest first."""
    found = await session.client.ask("GET", app_path(app, "deaths"))
    deaths = found["deaths"][:number]
    output = session.output
    if output.json:
        output.value({**found, "deaths": deaths})
        return
    if not deaths:
        output.say(f"No worker of {app} has died.")
        return
    for death in deaths:
        _show(output, app, death)
        output.say()
    if found["pattern"]:
        output.painted(f"{found['pattern']}.", "yellow")
    others = len(found["deaths"]) - len(deaths)
    if others:
        output.say(f"{count(others, 'earlier death')}: ood why {app} -n {len(found['deaths'])}")


def _show(output: Output, app: str, death: Death) -> None:
    who = f"worker {death['instance']}"
    if death["pid"] is not None:
        who += f" (process {death['pid']})"
    output.painted(f"{death['time']}  {app}: {who} {one_line(death['reason'])}", "red")
    for label, texts in _details(death):
        for position, text in enumerate(texts):
            begin = label if position == 0 else ""
            output.say(f"  {begin:<{LABEL_WIDTH}} {text}")


def _details(death: Death) -> Iterable[tuple[str, list[str]]]:
    """Yield labels with the lines that go with them."""
    for label, key in (("cause", "explanation"), ("error", "error"), ("what to do", "advice")):
        if death[key]:
            yield label, [death[key]]
    if death["pid"] is not None:
        yield "uptime", [duration(death["uptimeMs"])]
    if death["release"]:
        yield "release", [death["release"]]
    if death["memoryBytes"]:
        yield "memory", [_memory(death)]
    if death["requests"]:
        yield "in flight", _requests(death["requests"])
    if death["stack"]:
        yield "stack", list(death["stack"])
    if death["log"]:
        yield "last lines", list(death["log"])


def _memory(death: Death) -> str:
    text = size(death["memoryBytes"])
    growth = death["memoryGrowth"]
    if growth is None or abs(growth) < GROWTH_SHOWN_BYTES:
        return text
    how = "growing" if growth > 0 else "shrinking"
    return f"{text}, {how} by {size(round(abs(growth)))} a minute"


def _requests(requests: list[Mapping[str, Any]]) -> list[str]:
    lines = [_request(one) for one in requests[:REQUESTS_SHOWN]]
    rest = len(requests) - len(lines)
    return [*lines, f"and {count(rest, 'other')}"] if rest else lines


def _request(request: Mapping[str, Any]) -> str:
    age = request["ageMs"]
    since = "" if age is None else f" (for {age} ms)" if age < 1000 else f" (for {duration(age)})"
    return f"{request['method']} {request['path']}{since}"
