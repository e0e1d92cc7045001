"""Commands that look back: ``ood log`` and ``ood why``."""

from __future__ import annotations

import click

from ood.api.types import LOG_LINES_DEFAULT, LOG_LINES_MAX
from ood.cli.app import APP, command
from ood.cli.help import OodGroup
from ood.cli.session import Invocation, Session

DEATHS_DEFAULT = 3
"""Deaths that ``ood why`` shows: a screenful."""
DEATHS_MAX = 20
"""As many as the service remembers."""


@command(
    "log",
    "ood log",
    "ood log example.com -f",
    "ood log api --err -n 200",
    "ood log example.com --access -f",
    short_help="Read log files",
)
@click.argument("app", type=APP, required=False)
@click.option("-f", "--follow", is_flag=True, help="Show new lines as they come.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, LOG_LINES_MAX),
    default=LOG_LINES_DEFAULT,
    metavar="N",
    help=f"How many of the last lines; {LOG_LINES_DEFAULT} if not given.",
)
@click.option("--out", "stream", flag_value="out", help="Only what the app wrote to stdout.")
@click.option("--err", "stream", flag_value="err", help="Only what the app wrote to stderr.")
@click.option("--access", "stream", flag_value="access", help="The access log (key accessLog).")
@click.pass_obj
def log(
    invocation: Invocation, app: str | None, follow: bool, lines: int, stream: str | None
) -> None:
    """Show the last log lines of an app, or of all."""

    async def work(session: Session) -> None:
        from ood.cli.logs import Wanted, log

        await log(session, Wanted(app, lines, stream, follow))

    invocation.run(work)


@command(
    "why",
    "ood why example.com",
    "ood why example.com -n 1",
    "ood why example.com --json",
    short_help="Show why workers died",
)
@click.argument("app", type=APP)
@click.option(
    "-n",
    "--number",
    type=click.IntRange(1, DEATHS_MAX),
    default=DEATHS_DEFAULT,
    metavar="N",
    help=f"How many of the last deaths; {DEATHS_DEFAULT} if not given.",
)
@click.pass_obj
def why(invocation: Invocation, app: str, number: int) -> None:
    """Show the last deaths of an app's workers: what happened, and what to do about it."""

    async def work(session: Session) -> None:
        from ood.cli.why import why

        await why(session, app, number)

    invocation.run(work)


def reading(group: OodGroup) -> None:
    """Put the commands where help shall list them."""
    for name in ("log", "why"):
        group.place(name, before="delete")
