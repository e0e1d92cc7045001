"""``ood notify``: who is told of events, and whether that works."""

from __future__ import annotations

import json

import click

from ood.cli.app import command
from ood.cli.session import Invocation, Session
from ood.cli.text import visible
from ood.errors import OodError


@command(
    "notify",
    "ood notify",
    "ood notify --test",
    'ood config --set notify \'[{"webhook": "https://hooks.example/T0/B0/secret"}]\'',
    'ood config --set notify \'[{"command": ["/usr/local/bin/page"], "events": ["errored"]}]\'',
    short_help="Show or test who is told of events",
)
@click.option("--test", is_flag=True, help="Tell every target now that this is a test.")
@click.pass_obj
def notify(invocation: Invocation, test: bool) -> None:
    """Show which programs and webhooks are told of events, or test them."""
    invocation.run(_test if test else _show)


async def _show(session: Session) -> None:
    targets = (await session.client.ask("GET", "/settings"))["notify"]
    if session.output.json:
        session.output.value({"targets": targets})
        return
    if not targets:
        session.output.say("Nobody is told. Examples: ood help notify")
    for target in targets:
        session.output.say(visible(json.dumps(target)))


async def _test(session: Session) -> None:
    with session.waiting("telling every target"):
        results = (await session.client.ask("POST", "/notify/test"))["results"]
    if session.output.json:
        session.output.value({"results": results})
    else:
        for one in results:
            session.output.say(visible(f"{one['target']}: {one['error'] or 'told'}"))
    failed = [one for one in results if one["error"]]
    if failed or not results:
        what = f"{len(failed)} of {len(results)} targets were not told" if results else "no target"
        raise OodError(what, "see: ood notify" if results else "examples: ood help notify")
