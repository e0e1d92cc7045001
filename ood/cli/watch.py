"""``ood status --watch``: the same tables, live."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from ood.cli.live import LiveApps
from ood.cli.screen import Screen
from ood.cli.session import Session
from ood.cli.status import (
    COLUMNS,
    NUMBERS,
    UPSTREAM_COLUMNS,
    app_rows,
    facts,
    one_line_status,
    remarks,
    upstream_rows,
    worker_rows,
)
from ood.cli.terminal import make_table
from ood.cli.text import visible
from ood.errors import OodError


class NoTerminalError(OodError):
    """A screen was asked for where there is none."""

    code = "no_terminal"


async def watch(session: Session, app: str | None) -> None:
    """Show what runs, live; for programs one JSON value a line after every change."""
    if session.output.json:
        await _lines(session, app)
        return
    if not session.output.terminal:
        raise NoTerminalError("--watch needs a terminal", "programs take --json beside it")

    def changed() -> None:
        screen.refresh()

    apps = LiveApps(session, app, changed)
    screen = Screen(session.output, apps.clock, lambda width, height: draw(apps, width, height))
    await screen.show(apps)


async def _lines(session: Session, app: str | None) -> None:
    def changed() -> None:
        if not apps.trouble:
            found = apps.now()
            value = found[0] if app and found else {"apps": found}
            session.output.value(value, indent=None)
            session.output.flush()

    apps = LiveApps(session, app, changed)
    await apps.run()


def draw(apps: LiveApps, width: int, height: int) -> RenderableType:
    """Return what is known: one app in depth, or a table of all."""
    found = apps.now()
    said = [visible(f"{one['name']}: {text}") for one in found for text in remarks(one)]
    if apps.trouble:
        said.insert(0, visible(apps.trouble))
    head: list[str] = []
    if len(found) == 1:
        [one] = found
        head = [one_line_status(one), *(f"  {label:<10} {text}" for label, text in facts(one))]
        headers, rows = worker_rows(one)
        if one["upstreams"]:
            headers, rows = list(UPSTREAM_COLUMNS), upstream_rows(one)
    else:
        headers, rows = list(COLUMNS), app_rows(found, repeat=False)
    room = max(height - len(head) - min(len(said), height // 3) - 4, 1)
    hidden = len(rows) - room
    if hidden > 0:
        said.insert(0, f"… and {hidden} more")
    table = make_table(headers, rows[:room], NUMBERS, width)
    return Group(*_lines_of(head, ""), table, *_lines_of(said, "yellow"))


def _lines_of(texts: list[str], style: str) -> list[Text]:
    return [Text(text, style=style, no_wrap=True, overflow="ellipsis") for text in texts]
