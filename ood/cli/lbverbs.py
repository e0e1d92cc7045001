"""The balancer's verbs: each asks the API for one thing and shows what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred

from ood.cli.output import Output
from ood.cli.session import Session
from ood.cli.text import size
from ood.model.services import Server, Service, address

COLUMNS = (
    "service",
    "scheduler",
    "server",
    "fwd",
    "weight",
    "active",
    "inactive",
    "conns",
    "conns/s",
    "in",
    "out",
    "in/s",
    "out/s",
    "state",
)
"""Columns of ``ood lb show-services``."""
SERVER_COLUMNS = COLUMNS[2:]
NUMBERS = {*COLUMNS[4:-1]}
"""Columns that end at the right."""
STATISTICS = "?statistics=true"
CLEAR_SCREEN = "\x1b[H\x1b[2J"

Value = Mapping[str, Any]


def path_of_service(name: str | None, host: str | None, port: int | None, kind: str | None) -> str:
    """Return the path of a service by its id, or by its address."""
    if name is None:
        name = Service(host=_shortest(host or ""), port=port or 0, type=kind or "tcp").id
    return f"/services/{quote(name, safe='')}"


def id_of_server(host: str | None, port: int | None, app: str | None) -> str:
    """Return the id of a server by its address, or by its app."""
    return Server(host=_shortest(host or ""), port=port or 0, app=app or "").id


def _shortest(host: str) -> str:
    """Return an address in the form that ids are made of."""
    return str(address(host) or host)


async def _ask(session: Session, method: str, path: str, body: object = None) -> Any:
    return await session.client.ask(method, path, body, prefix="")


async def add(session: Session, path: str, body: Value) -> None:
    """Add a service, or a server to one."""
    answer = await _ask(session, "POST", path, dict(body))
    _say(session, answer, f"{answer['id']} is there.")


async def change_service(session: Session, path: str, body: Value, *, whole: bool) -> None:
    """Change some fields of a service, or with ``whole`` replace it."""
    standing = {} if whole else await _ask(session, "GET", path)
    answer = await _ask(session, "PUT", path, {**standing, **body})
    _say(session, answer, f"{answer['id']} is changed.")


async def replace(session: Session, path: str, values: object) -> None:
    """Replace all services, or all servers of one."""
    answer = await _ask(session, "PUT", path, values)
    names = ", ".join(value["id"] for value in answer)
    _say(session, answer, f"There are now: {names}" if names else "There are none now.")


async def remove(session: Session, path: str, name: str = "") -> None:
    """Remove a service, or the server ``name`` of one."""
    answer = await _ask(session, "DELETE", f"{path}/{quote(name, safe='')}" if name else path)
    _say(session, answer, f"{name or path.rpartition('/')[2]} is removed.")


def _say(session: Session, answer: object, text: str) -> None:
    if session.output.json:
        session.output.value(answer)
    else:
        session.output.say(text)


async def show_services(session: Session) -> None:
    """Show all services with what they carry."""
    _show(session.output, await _ask(session, "GET", f"/services{STATISTICS}"))


async def show_service(session: Session, path: str) -> None:
    """Show one service with what it carries."""
    service = await _ask(session, "GET", f"{path}{STATISTICS}")
    if session.output.json:
        session.output.value(service)
    else:
        _show(session.output, [service])


async def show_servers(session: Session, path: str, name: str = "") -> None:
    """Show the servers of a service, or only the one called ``name``."""
    below = f"{path}/servers/{quote(name, safe='')}" if name else f"{path}/servers"
    answer = await _ask(session, "GET", f"{below}{STATISTICS}")
    if session.output.json:
        session.output.value(answer)
        return
    servers = [answer] if name else answer
    if servers:
        rows = [_row(_server_cells(server), SERVER_COLUMNS) for server in servers]
        session.output.table(SERVER_COLUMNS, rows, NUMBERS)
        _say_reasons(session.output, servers)
    else:
        session.output.say("It has no servers.")


async def watch(session: Session, interval: float, count: int | None) -> None:
    """Show all services every ``interval`` seconds, ``count`` times or until interrupted."""
    shown = 0
    while True:
        services = await _ask(session, "GET", f"/services{STATISTICS}")
        if session.output.json:
            session.output.value(services, indent=None)
        else:
            if session.output.terminal:
                session.output.out.write(CLEAR_SCREEN)
            _show(session.output, services)
        session.output.flush()
        shown += 1
        if shown == count:
            return
        waiting: Deferred[None] = Deferred()
        session.client.clock.callLater(interval, waiting.callback, None)
        await waiting


def _show(output: Output, services: Sequence[Value]) -> None:
    if output.json:
        output.value(services)
    elif not services:
        output.say("There are no services yet. Add one: ood lb add-service -O ADDRESS -R PORT")
    else:
        rows = [row for service in services for row in _rows(service, repeat=not output.terminal)]
        output.table(COLUMNS, rows, NUMBERS)
        for service in services:
            _say_reasons(output, service["servers"], f" of {service['id']}")


def _rows(service: Value, *, repeat: bool) -> Iterable[list[str]]:
    """Yield a row for the service and one for each of its servers."""
    yield _row(
        {
            "service": service["id"],
            "scheduler": _scheduler(service),
            **_traffic(service["statistics"]),
            "state": "" if service["statistics"].get("applied") else "away",
        },
        COLUMNS,
    )
    for server in service["servers"]:
        name = {"service": service["id"]} if repeat else {}
        yield _row({**name, **_server_cells(server)}, COLUMNS)


def _row(cells: Mapping[str, str], columns: Sequence[str]) -> list[str]:
    return [cells.get(column, "") for column in columns]


def _scheduler(service: Value) -> str:
    persistence = service["persistence"]
    return f"{service['scheduler']} {persistence}s" if persistence else service["scheduler"]


def _server_cells(server: Value) -> dict[str, str]:
    numbers = server["statistics"]
    return {
        "server": server["id"],
        "fwd": server["forwarder"],
        "weight": str(numbers.get("weight_in_use", server["weight"])),
        "active": str(numbers.get("active", 0)),
        "inactive": str(numbers.get("inactive", 0)),
        **_traffic(numbers),
        "state": _state(numbers),
    }


def _traffic(numbers: Value) -> dict[str, str]:
    return {
        "conns": str(numbers.get("connections", 0)),
        "conns/s": str(numbers.get("connections_per_second", 0)),
        "in": size(numbers.get("bytes_in", 0)),
        "out": size(numbers.get("bytes_out", 0)),
        "in/s": size(numbers.get("bytes_in_per_second", 0)),
        "out/s": size(numbers.get("bytes_out_per_second", 0)),
    }


def _state(numbers: Value) -> str:
    """Return what is known: away is out of the engine, because it drained or does not run."""
    if not numbers.get("up", True):
        return "down"
    if not numbers.get("applied"):
        return "away"
    return "up" if "up" in numbers else ""


def _say_reasons(output: Output, servers: Sequence[Value], whose: str = "") -> None:
    for server in servers:
        if not server["statistics"].get("up", True):
            output.say(f"{server['id']}{whose} is down: {server['statistics']['check']}")
