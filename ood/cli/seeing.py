"""The commands that show what is: status, monit, doctor, and the web page."""

from __future__ import annotations

import click

from ood.cli.app import command
from ood.cli.names import APP
from ood.cli.session import Invocation, NotAsWantedError, Session


def _statuses() -> dict[str, list[str]]:
    """Return what help says about exit statuses."""
    return {
        "Exit status": [
            "0  every started app is online, with all workers or upstreams, and answers where it"
            " should",
            "1  the state could not be found out",
            "3  something is not as wanted; to be stopped or in maintenance is as wanted",
        ]
    }


@command(
    "status",
    "ood status",
    "ood status example.com",
    "ood status --watch",
    "ood status --json",
    "ood status >/dev/null || echo something is wrong",
    short_help="Show status of all apps, or of one",
)
@click.argument("app", type=APP, required=False)
@click.option("-w", "--watch", is_flag=True, help="Keep showing it, live; q ends that.")
@click.pass_obj
def status(invocation: Invocation, app: str | None, watch: bool) -> None:
    """Show what runs: all apps, or one of them in depth."""

    async def work(session: Session) -> None:
        if watch:
            from ood.cli.watch import watch as show

            await show(session, app)
        else:
            await _show_status(session, app)

    invocation.run(work)


status.notes = _statuses


async def _show_status(session: Session, app: str | None) -> None:
    from ood.api.types import app_path
    from ood.cli.status import app_report, is_as_wanted, status_table

    answer = await session.client.ask("GET", app_path(app) if app else "/apps")
    apps = [answer] if app else answer["apps"]
    if session.output.json:
        session.output.value(answer)
    elif app:
        app_report(session.output, answer)
    elif apps:
        status_table(session.output, apps)
    else:
        session.output.say("There are no apps yet. Go to one's directory and add it: ood init NAME")
    if not all(map(is_as_wanted, apps)):
        raise NotAsWantedError


@command("monit", "ood monit", short_help="Watch workers and a log on one screen")
@click.pass_obj
def monit(invocation: Invocation) -> None:
    """Show every worker live, and the log of the app that you choose.

    Up and down choose the app, left and right the stream of its log, q quits.
    """

    async def work(session: Session) -> None:
        from ood.cli.monit import monit as show

        await show(session)

    invocation.run(work)


@command(
    "doctor",
    "ood doctor",
    "sudo ood doctor",
    "ood doctor --json",
    short_help="Find out what is wrong, and how to mend it",
)
@click.pass_obj
def doctor(invocation: Invocation) -> None:
    """Look at the service, its apps and this machine; each finding says what to do.

    Works when the service is down, too.  Exit status 1 if anything fails.
    """
    from ood.cli.doctor.command import doctor

    doctor(invocation)


@command("web", "ood web", "ood web --no-open", short_help="Open the web page")
@click.option("--no-open", is_flag=True, help="Only print the link.")
@click.pass_obj
def web(invocation: Invocation, no_open: bool) -> None:
    """Print a link that logs in to the web page, once and soon, and open a browser."""

    async def work(session: Session) -> None:
        from ood.cli.web import web

        await web(session, browser=not no_open)

    invocation.run(work)
