"""Live state as tables: a row for each worker, as users of PM2 know it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ood.cli.output import Output
from ood.cli.text import count, duration, size

Status: TypeAlias = Mapping[str, Any]
"""An app's or worker's state, as the API sends it."""

COLUMNS = (
    "name",
    "version",
    "instance",
    "pid",
    "state",
    "uptime",
    "restarts",
    "cpu",
    "memory",
    "user",
    "requests/s",
)
"""Columns of ``ood status``."""
WORKER_COLUMNS = (
    "instance",
    "pid",
    "state",
    "uptime",
    "restarts",
    "cpu",
    "memory",
    "requests/s",
    "requests",
    "via",
)
"""Columns of ``ood status APP``."""
NUMBERS = {"instance", "pid", "uptime", "restarts", "cpu", "memory", "requests/s", "requests"}
"""Columns that end at the right."""


def status_table(output: Output, apps: Sequence[Status]) -> None:
    """Write all apps, then what is wrong with any."""
    rows = [row for app in apps for row in _rows(app, repeat=not output.terminal)]
    output.table(COLUMNS, rows, NUMBERS)
    for app in apps:
        for text in _reasons(app):
            output.say(f"{app['name']}: {text}")


def app_report(output: Output, app: Status) -> None:
    """Write one app in depth."""
    output.say(one_line_status(app))
    for label, text in (
        ("version", app["version"]),
        ("release", app["release"]),
        ("directory", app["cwd"]),
        ("user", app["user"]),
        ("port", str(app["port"])),
        ("addresses", "  ".join(app["urls"])),
        ("HTTPS", _https(app["certificate"])),
    ):
        if text:
            output.say(f"  {label:<10} {text}")
    if app["workers"]:
        output.say()
        rows = [[_cells(worker)[name] for name in WORKER_COLUMNS] for worker in app["workers"]]
        output.table(WORKER_COLUMNS, rows, NUMBERS)
    for text in _reasons(app):
        output.say(text)


def _https(certificate: Status | None) -> str:
    """Return how HTTPS stands, in a line; what is wrong with it follows elsewhere."""
    if certificate is None or certificate["state"] == "none":
        return ""
    if not certificate["names"]:
        return str(certificate["state"])
    until = str(certificate["notAfter"]).partition("T")[0]
    return f"{', '.join(certificate['names'])} until {until}"


def one_line_status(app: Status) -> str:
    """Return an app's state in a sentence."""
    online = sum(worker["state"] == "online" for worker in app["workers"])
    if app["state"] == "stopped":
        return f"{app['name']} is stopped."
    if online == app["wanted"]:
        workers = count(online, "worker")
    else:
        workers = f"{online} of {count(app['wanted'], 'worker')}"
    where = f": {app['urls'][0]}" if app["urls"] else "."
    return f"{app['name']} is {app['state']}, {workers}{where}"


def _rows(app: Status, *, repeat: bool) -> Iterable[list[str]]:
    """Yield a row for each worker; without one, a row for the app."""
    common = {"name": app["name"], "version": app["version"], "user": app["user"]}
    if not app["workers"]:
        yield [{**common, "state": app["state"]}.get(column, "") for column in COLUMNS]
    for number, worker in enumerate(app["workers"]):
        cells = {**common, **_cells(worker)}
        if number and not repeat:
            cells.update(name="", version="")
        yield [cells[column] for column in COLUMNS]


def _cells(worker: Status) -> dict[str, str]:
    return {
        "instance": str(worker["instance"]),
        "pid": str(worker["pid"] or ""),
        "state": worker["state"],
        "uptime": duration(worker["uptimeMs"]),
        "restarts": str(worker["restarts"]),
        "cpu": f"{worker['cpuPercent']:.1f}%",
        "memory": size(worker["memoryBytes"]),
        "requests/s": f"{worker['requestsPerSecond']:.1f}",
        "requests": str(worker["requests"]),
        "via": worker["via"],
    }


def _reasons(app: Status) -> Iterable[str]:
    yield from app["trouble"]
    yield from (app["certificate"] or {"trouble": ()})["trouble"]
    for worker in app["workers"]:
        if worker["reason"]:
            yield f"worker {worker['instance']} is {worker['state']}: {worker['reason']}"
