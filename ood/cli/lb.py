"""``ood lb``: the L4 balancer's commands and their options."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ood.cli.app import common
from ood.cli.help import OodCommand, OodGroup
from ood.cli.session import Invocation

WATCH_SECONDS = 2.0
"""As often as the kernel refreshes its rates."""
SHORTEST_WATCH_SECONDS = 0.2
"""More often than this nobody can read."""

F = TypeVar("F", bound=Callable[..., Any])
Options = dict[str, Any]


@click.group(
    cls=OodGroup,
    invoke_without_command=True,
    short_help="Balance TCP and UDP connections over servers",
    options_metavar="",
    subcommand_metavar="[command]",
)
@common
@click.pass_context
def lb(ctx: click.Context) -> None:
    """Balance TCP and UDP connections over servers, in the kernel or by a relay of ood's own.

    A service is named by its id (tcp-203_0_113_10-80), or by -O, -R and -T; a server by
    its id (10_0_0_11-8080), or by -o and -p.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


lb_group = lb
assert isinstance(lb_group, OodGroup)
lb_group.examples = (
    "ood lb add-service -O 203.0.113.10 -R 80 -s wlc",
    "ood lb add-server -O 203.0.113.10 -R 80 -o 10.0.0.11 -p 8080 -f m -w 2",
    "ood lb show-services",
    "ood lb watch",
    "ood lb remove-server tcp-203_0_113_10-80 10_0_0_11-8080",
    "ood lb set-services -j @services.json",
)


def command(name: str, *examples: str) -> Callable[[F], OodCommand]:
    """Return a decorator that makes a function a command of the balancer."""

    def decorate(function: F) -> OodCommand:
        made = lb.command(name)(common(click.pass_obj(function)))
        assert isinstance(made, OodCommand)
        made.examples = examples
        return made

    return decorate


def options(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Return all ``decorators`` as one."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def read_json(_: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    """Return the value of ``-j``: JSON, ``@FILE``, or ``-`` for what stdin brings."""
    if text is None:
        return None
    try:
        if text == "-":
            return json.load(sys.stdin)
        return json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except OSError as error:
        raise click.BadParameter(f"{text[1:]}: {error.strerror}", param=parameter) from None
    except ValueError as error:
        raise click.BadParameter(f"this is not JSON: {error}", param=parameter) from None


FROM_JSON = click.option(
    "-j", "value", metavar="JSON|@FILE|-", callback=read_json, help="The fields, as the API has."
)
THE_LIST = click.option(
    "-j", "value", metavar="JSON|@FILE|-", callback=read_json, required=True, help="The whole list."
)
SERVICE = options(
    click.argument("service", required=False),
    click.option("-O", "--service-host", "host", metavar="ADDRESS", help="Where clients connect."),
    click.option("-R", "--service-port", "port", type=int, metavar="N", help="Its port."),
    click.option("-T", "--service-type", "type", metavar="tcp|udp", help="tcp if not given."),
)
SERVICE_FIELDS = options(
    click.option("-s", "--scheduler", metavar="X", help="rr, wrr, lc, wlc, sh, ..."),
    click.option("-e", "--persistence", type=int, metavar="S", help="Seconds; 0 is off."),
    click.option("-n", "--netmask", metavar="MASK", help="Which clients count as one."),
)
SERVER = options(
    click.option("-o", "--server-host", "server_host", metavar="ADDRESS", help="The server's."),
    click.option("-p", "--server-port", "server_port", type=int, metavar="N", help="Its port."),
    click.option("--app", metavar="APP", help="An app of ood instead of a host and a port."),
)
SERVER_ID = click.argument("server", required=False)
SERVER_FIELDS = options(
    click.option("-f", "--forwarder", metavar="g|i|m", help="m masquerades; g if not given."),
    click.option("-w", "--weight", type=int, metavar="N", help="Its share; 1 if not given."),
    click.option("-u", "--upper-threshold", type=int, metavar="N", help="Most connections."),
    click.option("-l", "--lower-threshold", type=int, metavar="N", help="When it gets more again."),
)


def service_path(given: Options) -> str:
    """Return the path of the service that the options name."""
    from ood.cli.lbverbs import path_of_service

    host, port = given.pop("host", None), given.pop("port", None)
    kind, named = given.pop("type", None), given.pop("service", None)
    if named is None and (host is None or port is None):
        raise click.UsageError("which service? name its id, or its address with -O and -R")
    if named is not None and (host is not None or port is not None):
        raise click.UsageError("name the service by its id, or with -O and -R, not both")
    return path_of_service(named, host, port, kind)


def server_name(given: Options) -> str:
    """Return the id of the server that the options name."""
    from ood.cli.lbverbs import id_of_server

    host, port = given.pop("server_host", None), given.pop("server_port", None)
    app, named = given.pop("app", None), given.pop("server", None)
    if named is None and app is None and (host is None or port is None):
        raise click.UsageError("which server? name its id, or its address with -o and -p")
    return str(named) if named is not None else id_of_server(host, port, app)


def fields(given: Options) -> Options:
    """Return the fields that were given: those of ``-j``, and the options over them."""
    value = given.pop("value", None)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise click.UsageError("-j: this is not a JSON object")
    return {**value, **{key: one for key, one in given.items() if one is not None}}


def server_fields(given: Options) -> Options:
    """Return the fields of a server that were given."""
    given["host"], given["port"] = given.pop("server_host"), given.pop("server_port")
    found = fields(given)
    if "app" not in found and not {"host", "port"} <= set(found):
        raise click.UsageError("which server? name its address with -o and -p, or --app, or -j")
    return found


@command("show-services", "ood lb show-services", "ood lb show-services --json")
def show_services(invocation: Invocation) -> None:
    """Show all services and servers with their counters."""
    from ood.cli.lbverbs import show_services

    invocation.run(show_services)


@command("show-service", "ood lb show-service tcp-203_0_113_10-80")
@SERVICE
def show_service(invocation: Invocation, **given: Any) -> None:
    """Show one service and its servers."""
    from ood.cli.lbverbs import show_service

    path = service_path(given)
    invocation.run(lambda session: show_service(session, path))


@command(
    "add-service",
    "ood lb add-service -O 203.0.113.10 -R 80 -T tcp -s wrr -e 300 -n 255.255.255.0",
    """ood lb add-service -j '{"host": "fd00::1", "port": 53, "type": "udp"}'""",
)
@FROM_JSON
@SERVICE
@SERVICE_FIELDS
def add_service(invocation: Invocation, service: str | None, **given: Any) -> None:
    """Add a service."""
    from ood.cli.lbverbs import add

    if service is not None:
        raise click.UsageError("a new service has no id yet: name its address with -O and -R")
    body = fields(given)
    if not body.get("mark") and not {"host", "port"} <= set(body):
        raise click.UsageError("where do clients connect? name it with -O and -R, or -j")
    invocation.run(lambda session: add(session, "/services", body))


@command(
    "set-service",
    "ood lb set-service tcp-203_0_113_10-80 -s sh",
    "ood lb set-service -j @service.json -O 203.0.113.10 -R 80",
)
@FROM_JSON
@SERVICE
@SERVICE_FIELDS
def set_service(invocation: Invocation, **given: Any) -> None:
    """Change a service.

    The fields that are named are changed; with -j, the others get their defaults.
    """
    from ood.cli.lbverbs import change_service

    whole = given["value"] is not None
    path = service_path(given)
    body = fields(given)
    if not body:
        raise click.UsageError("what is to change? name it with -s, -e, -n or -j")
    invocation.run(lambda session: change_service(session, path, body, whole=whole))


@command("remove-service", "ood lb remove-service -O 203.0.113.10 -R 80")
@SERVICE
def remove_service(invocation: Invocation, **given: Any) -> None:
    """Remove a service; its servers finish what they do."""
    from ood.cli.lbverbs import remove

    path = service_path(given)
    invocation.run(lambda session: remove(session, path))


@command("set-services", "ood lb set-services -j @services.json", "ood lb set-services -j '[]'")
@THE_LIST
def set_services(invocation: Invocation, value: Any) -> None:
    """Make these the services, or change nothing."""
    from ood.cli.lbverbs import replace

    invocation.run(lambda session: replace(session, "/services", value))


@command("show-servers", "ood lb show-servers tcp-203_0_113_10-80")
@SERVICE
def show_servers(invocation: Invocation, **given: Any) -> None:
    """Show the servers of a service."""
    from ood.cli.lbverbs import show_servers

    path = service_path(given)
    invocation.run(lambda session: show_servers(session, path))


@command("show-server", "ood lb show-server tcp-203_0_113_10-80 10_0_0_11-8080")
@SERVICE
@SERVER_ID
@SERVER
def show_server(invocation: Invocation, **given: Any) -> None:
    """Show one server of a service."""
    from ood.cli.lbverbs import show_servers

    name, path = _server_and_service(given)
    invocation.run(lambda session: show_servers(session, path, name))


@command(
    "add-server",
    "ood lb add-server -O 203.0.113.10 -R 80 -o 10.0.0.11 -p 8080 -f m -w 2 -u 100 -l 80",
    "ood lb add-server tcp-203_0_113_10-80 --app example.com",
)
@FROM_JSON
@SERVICE
@SERVER
@SERVER_FIELDS
def add_server(invocation: Invocation, **given: Any) -> None:
    """Add a server to a service."""
    from ood.cli.lbverbs import add

    path = service_path(given)
    body = server_fields(given)
    invocation.run(lambda session: add(session, f"{path}/servers", body))


@command("remove-server", "ood lb remove-server tcp-203_0_113_10-80 10_0_0_11-8080")
@SERVICE
@SERVER_ID
@SERVER
def remove_server(invocation: Invocation, **given: Any) -> None:
    """Remove a server from a service; it finishes what it does."""
    from ood.cli.lbverbs import remove

    name, path = _server_and_service(given)
    invocation.run(lambda session: remove(session, f"{path}/servers", name))


@command("set-servers", "ood lb set-servers tcp-203_0_113_10-80 -j @servers.json")
@THE_LIST
@SERVICE
def set_servers(invocation: Invocation, value: Any, **given: Any) -> None:
    """Make these the servers of a service, or change nothing."""
    from ood.cli.lbverbs import replace

    path = service_path(given)
    invocation.run(lambda session: replace(session, f"{path}/servers", value))


def _server_and_service(given: Options) -> tuple[str, str]:
    # with -O and -R a single argument is the server's id: the service needs none
    if given["host"] is not None and given["server"] is None:
        given["server"], given["service"] = given["service"], None
    return server_name(given), service_path(given)


@command("watch", "ood lb watch", "ood lb watch --interval 5")
@click.option(
    "--interval",
    type=click.FloatRange(SHORTEST_WATCH_SECONDS),
    default=WATCH_SECONDS,
    metavar="S",
    help=f"Seconds between two looks; {WATCH_SECONDS:.0f} if not given.",
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many looks.")
def watch(invocation: Invocation, interval: float, count: int | None) -> None:
    """Show all services again and again, until Ctrl-C."""
    from ood.cli.lbverbs import watch

    invocation.run(lambda session: watch(session, interval, count))
