"""Commands that look back: ``ood log`` and ``ood why``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from ood.api.types import LOG_LINES_DEFAULT, LOG_LINES_MAX, LOG_STREAMS
from ood.cli.app import command
from ood.cli.logfilter import MOMENTS, Filter, compiled, moment
from ood.cli.names import APP
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
    "ood log --since 10m --grep 'timeout|refused' -i",
    "ood log api --since yesterday --until today --worker 1",
    "ood log example.com --access -f",
    short_help="Read log files",
)
@click.argument("app", type=APP, required=False)
@click.option("-f", "--follow", is_flag=True, help="Show new lines as they come.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, LOG_LINES_MAX),
    metavar="N",
    help=f"How many of the last lines; {LOG_LINES_DEFAULT}, or with --since all, if not given.",
)
@click.option("--since", metavar="T", help=f"Not before this moment: {MOMENTS}.")
@click.option("--until", metavar="T", help="Not after this moment.")
@click.option("--grep", metavar="RE", help="Only lines in which a regular expression is found.")
@click.option("-i", "--ignore-case", is_flag=True, help="It is found in capitals, too.")
@click.option("-v", "--invert", is_flag=True, help="Only lines in which it is not found.")
@click.option("--worker", type=click.IntRange(0), metavar="N", help="Only of this worker.")
@click.option(
    "--stream", type=click.Choice(LOG_STREAMS), help="Only what the app wrote there; ood: remarks."
)
@click.option("--out", "stream", flag_value="out", help="Only what the app wrote to stdout.")
@click.option("--err", "stream", flag_value="err", help="Only what the app wrote to stderr.")
@click.option("--access", "stream", flag_value="access", help="The access log (key accessLog).")
@click.pass_obj
def log(
    invocation: Invocation, /, app: str | None, follow: bool, lines: int | None, **options: Any
) -> None:
    """Show the last log lines of an app, or of all in the order of time."""
    which = log_filter(options)

    async def work(session: Session) -> None:
        from ood.cli.logs import Wanted, log

        await log(session, Wanted(app, lines, follow, which))

    invocation.run(work)


def log_filter(options: Mapping[str, Any]) -> Filter:
    """Return what the options ask of each line.

    :raises click.UsageError: they make no sense.
    """
    from ood.clock import wall_time  # with Twisted, which help does without

    now = wall_time().astimezone()
    since, until = (
        moment(f"--{name}", options[name], now) if options[name] else ""
        for name in ("since", "until")
    )
    if until and since > until:
        raise click.UsageError("--since is after --until: no line can be")
    grep = options["grep"]
    if grep is None and (options["ignore_case"] or options["invert"]):
        raise click.UsageError("--ignore-case and --invert go with --grep")
    pattern = None if grep is None else compiled(grep, ignore_case=options["ignore_case"])
    stream, worker, invert = options["stream"], options["worker"], options["invert"]
    return Filter(since, until, stream, worker, pattern, invert)


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
    metavar="N",
    help=f"How many of the last deaths; {DEATHS_DEFAULT}, with --json all, if not given.",
)
@click.pass_obj
def why(invocation: Invocation, app: str, number: int | None) -> None:
    """Show the last deaths of an app's workers: what happened, and what to do about it."""

    async def work(session: Session) -> None:
        from ood.cli.why import why

        few = DEATHS_MAX if invocation.output.json else DEATHS_DEFAULT
        await why(session, app, number or few)

    invocation.run(work)
