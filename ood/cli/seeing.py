"""The commands that show what is: status, and the web page."""

from __future__ import annotations

import click

from ood.cli.app import APP, command, ood
from ood.cli.session import Invocation, Session


@command(
    "status",
    "ood status",
    "ood status example.com",
    "ood status --json",
    short_help="Show status of all apps, or of one",
)
@click.argument("app", type=APP, required=False)
@click.pass_obj
def status(invocation: Invocation, app: str | None) -> None:
    """Show what runs: all apps, or one of them in depth."""
    from ood.cli.verbs import status

    invocation.run(lambda session: status(session, app))


@command("web", "ood web", "ood web --no-open", short_help="Open the web page")
@click.option("--no-open", is_flag=True, help="Only print the link.")
@click.pass_obj
def web(invocation: Invocation, no_open: bool) -> None:
    """Print a link that logs in to the web page, once and soon, and open a browser."""

    async def work(session: Session) -> None:
        from ood.cli.web import web

        await web(session, browser=not no_open)

    invocation.run(work)


def arrange() -> None:
    """Put these commands where help shall show them: after those that change things."""
    assert isinstance(ood, click.Group)
    own = [ood.commands.pop(name) for name in ("status", "web")]
    others = list(ood.commands.values())
    place = next(at for at, one in enumerate(others) if one.name == "config")
    ood.commands.clear()
    ood.commands.update({str(one.name): one for one in [*others[:place], *own, *others[place:]]})
