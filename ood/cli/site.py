"""Commands about a site as its visitors see it: maintenance, and passwords."""

from __future__ import annotations

import click

from ood.cli.app import command
from ood.cli.names import APP
from ood.cli.session import Invocation, Session


@command(
    "maintenance",
    "ood maintenance example.com on",
    'ood maintenance example.com on --message "Back at noon." ',
    "ood maintenance example.com on --hold 30s",
    "ood maintenance example.com off",
    short_help="Answer instead of an app while it is worked on",
)
@click.argument("app", type=APP)
@click.argument("state", type=click.Choice(("on", "off")))
@click.option("--message", metavar="TEXT", default="", help="What visitors are told.")
@click.option(
    "--hold", metavar="TIME", default="0", help="Let requests wait so long for the end, as in 30s."
)
@click.pass_obj
def maintenance(invocation: Invocation, app: str, state: str, message: str, hold: str) -> None:
    """Answer all requests to an app with 503 and a page, until it is switched off again.

    Addresses in the app's maintenanceAllow get through. A number of --hold is seconds.
    """
    if state == "off" and (message or hold != "0"):
        raise click.UsageError("--message and --hold go with on")

    async def work(session: Session) -> None:
        from ood.cli.siteverbs import maintain

        await maintain(session, app, on=state == "on", message=message, hold=hold)

    invocation.run(work)


@command(
    "password",
    "ood password example.com ann",
    "pwgen -s 20 1 | tee ann.txt | ood password example.com ann",
    "ood password example.com ann --remove",
    short_help="Let a user in by HTTP Basic authentication",
)
@click.argument("app", type=APP)
@click.argument("user")
@click.option("--remove", is_flag=True, help="The user may enter no more.")
@click.pass_obj
def password(invocation: Invocation, app: str, user: str, remove: bool) -> None:
    """Set a user's password for a site; only its hash is kept (in basicAuth).

    The password is asked for, or read from standard input. With the first user the
    site is closed to everybody else; basicAuthPaths limits that to some paths.
    """
    from ood.cli.siteverbs import read_password, set_password

    secret = None if remove else read_password(user)
    invocation.run(lambda session: set_password(session, app, user, secret))
