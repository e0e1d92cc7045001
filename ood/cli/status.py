"""Live state as tables: a row for each worker, as users of PM2 know it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ood.cli.output import Output
from ood.cli.text import count, duration, milliseconds, size
from ood.model.remarks import HELD, OLDER_SETTINGS

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
    "errors/s",
    "p50",
    "p95",
    "p99",
    "lag",
    "requests",
    "via",
)
"""Columns of ``ood status APP``."""
UPSTREAM_COLUMNS = ("upstream", "state", "weight", "in flight", "requests", "failures")
"""Columns of ``ood status APP`` for an app whose servers are elsewhere."""
NUMBERS = {*WORKER_COLUMNS, *UPSTREAM_COLUMNS} - {"state", "via", "upstream"}
"""Columns that end at the right."""
DURATIONS = {
    "p50": "latencyP50Ms",
    "p95": "latencyP95Ms",
    "p99": "latencyP99Ms",
    "lag": "loopLagMs",
}
"""Columns that stay empty where nobody measures."""
NO_CERTIFICATE = {
    "terms": "no certificate yet: the CA's terms wait for you",
    "pending": "no certificate yet: it is being obtained",
    "failed": "no certificate: it can't be obtained",
}
"""How HTTPS stands for an app none of whose names has a certificate, by the state."""


def status_table(output: Output, apps: Sequence[Status]) -> None:
    """Write all apps, then what is wrong with any."""
    output.table(COLUMNS, app_rows(apps, repeat=not output.terminal), NUMBERS)
    for app in apps:
        for text in remarks(app):
            output.say(f"{app['name']}: {text}")


def app_rows(apps: Iterable[Status], *, repeat: bool) -> list[list[str]]:
    """Return the rows of all apps.

    :param repeat: whether each row names its app, for programs.
    """
    return [row for app in apps for row in _rows(app, repeat=repeat)]


def app_report(output: Output, app: Status) -> None:
    """Write one app in depth."""
    output.say(one_line_status(app))
    for label, text in facts(app):
        output.say(f"  {label:<11} {text}")
    if app["workers"]:
        output.say()
        columns, rows = worker_rows(app)
        output.table(columns, rows, NUMBERS)
    if app["upstreams"]:
        output.say()
        output.table(UPSTREAM_COLUMNS, upstream_rows(app), NUMBERS)
    for text in remarks(app):
        output.say(text)


def facts(app: Status) -> list[tuple[str, str]]:
    """Return what there is to say about an app, with labels."""
    pairs = (
        ("version", app["version"]),
        ("release", app["release"]),
        ("directory", app["cwd"]),
        ("user", app["user"]),
        ("port", str(app["port"])),
        ("addresses", "  ".join(app["urls"])),
        ("proxied for", ", ".join(app["proxiedBecause"])),
        ("https", _https(app.get("certificate"))),
        ("traffic", _traffic(app)),
    )
    return [(label, text) for label, text in pairs if text]


def _traffic(app: Status) -> str:
    """Return rate and latency, where they are measured."""
    if app.get("latencyP50Ms") is None:
        return ""
    rates = f"{app['requestsPerSecond']:.1f} requests/s, {app['errorsPerSecond']:.1f} errors/s"
    cells = ((name, milliseconds(app.get(key))) for name, key in DURATIONS.items())
    return f"{rates}, {', '.join(f'{name} {cell}' for name, cell in cells if cell)}"


def _https(certificate: Status | None) -> str:
    """Return how HTTPS stands for an app; nothing if it has no public name."""
    if certificate is None or certificate["state"] == "none":
        return ""
    if not certificate["names"]:
        state: str = certificate["state"]
        return NO_CERTIFICATE.get(state, state)
    until = (certificate["notAfter"] or "")[:10]
    names = ", ".join(certificate["names"])
    return f"{certificate['state']} for {names}{f' until {until}' if until else ''}"


def worker_rows(app: Status) -> tuple[list[str], list[list[str]]]:
    """Return the columns that say something, and a row for each worker."""
    all_cells = [cells(worker) for worker in app["workers"]]
    columns = [name for name in WORKER_COLUMNS if any(one[name] for one in all_cells)]
    return columns, [[one[name] for name in columns] for one in all_cells]


def upstream_rows(app: Status) -> list[list[str]]:
    """Return a row for each server of an app whose servers are elsewhere."""
    return [_upstream(one) for one in app["upstreams"]]


def one_line_status(app: Status) -> str:
    """Return an app's state in a sentence."""
    if app["state"] == "stopped":
        return f"{app['name']} is stopped."
    where = f": {app['urls'][0]}" if app["urls"] else "."
    if app["type"] == "static":
        return f"{app['name']} is {app['state']}{where}"
    noun = "upstream" if app["upstreams"] else "worker"
    parts = app["upstreams"] or app["workers"]
    wanted = len(app["upstreams"]) or app["wanted"]
    online = sum(part["state"] == "online" and part["reason"] != HELD for part in parts)
    workers = count(online, noun) if online == wanted else f"{online} of {count(wanted, noun)}"
    return f"{app['name']} is {app['state']}, {workers}{where}"


def is_as_wanted(app: Status) -> bool:
    """Tell whether all wanted workers of a started app answer, everywhere they should."""
    if not app["running"]:
        return True
    secure = (app.get("certificate") or {}).get("state") != "failed"
    served = app["type"] != "node" or bool(app["workers"])
    return app["state"] == "online" and served and not app["trouble"] and secure


def remarks(app: Status) -> Iterable[str]:
    """Yield what is remarkable or wrong with an app, and what to do about it."""
    if app["maintenance"]:
        yield f"in maintenance; to end it: ood maintenance {app['name']} off"
    yield from app["trouble"]
    yield from (app.get("certificate") or {}).get("trouble", ())
    if app["pendingRestart"]:
        yield f"changed settings wait for a restart: ood restart {app['name']}"
    for worker in app["workers"]:
        if worker["reason"] == HELD:
            yield f"worker {worker['instance']} waits without requests: others serve"
        elif worker["reason"] and worker["reason"] != OLDER_SETTINGS:  # that was just said
            yield f"worker {worker['instance']} is {worker['state']}: {worker['reason']}"
    if app["running"] and _dies(app):
        verb = "why" if app["type"] == "node" else "log"  # nothing of the others can die
        yield f"to see why: ood {verb} {app['name']}"


def _dies(app: Status) -> bool:
    """Tell whether workers end before they answer, be the next one launching or not yet."""
    if app["state"] == "launching":
        return any(worker["restarts"] and worker["reason"] for worker in app["workers"])
    return app["state"] in {"errored", "waiting-restart"}


def _rows(app: Status, *, repeat: bool) -> Iterable[list[str]]:
    """Yield a row for each worker; without one, a row for the app."""
    common = {"name": app["name"], "version": app["version"], "user": app["user"]}
    for number, upstream in enumerate(app["upstreams"]):
        name = "" if number and not repeat else app["name"]
        there = {"name": name, "instance": upstream["address"], "state": upstream["state"]}
        yield [there.get(column, "") for column in COLUMNS]
    if not app["workers"] and not app["upstreams"]:
        yield [{**common, "state": app["state"]}.get(column, "") for column in COLUMNS]
    for number, worker in enumerate(app["workers"]):
        row = {**common, **cells(worker)}
        if number and not repeat:
            row.update(name="", version="")
        yield [row[column] for column in COLUMNS]


def cells(worker: Status) -> dict[str, str]:
    """Return what columns show of a worker."""
    errors = worker.get("errorsPerSecond")
    return {
        "instance": str(worker["instance"]),
        "pid": str(worker["pid"] or ""),
        "state": worker["state"],
        "uptime": duration(worker["uptimeMs"]),
        "restarts": str(worker["restarts"]),
        "cpu": f"{worker['cpuPercent']:.1f}%",
        "memory": size(worker["memoryBytes"]),
        "requests/s": f"{worker['requestsPerSecond']:.1f}",
        "errors/s": "" if errors is None else f"{errors:.1f}",
        **{name: milliseconds(worker.get(key)) for name, key in DURATIONS.items()},
        "requests": str(worker["requests"]),
        "via": worker["via"],
    }


def _upstream(upstream: Status) -> list[str]:
    weight = "backup" if upstream["backup"] else str(upstream["weight"])
    counts = [str(upstream[name]) for name in ("busy", "requests", "failures")]
    return [upstream["address"], upstream["state"], weight, *counts]
