"""What only a terminal gets: tables with colours, and the time that passes.

``rich`` is imported here and for what is live only: it takes a sixth of a command's time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ood.cli.text import shortened, visible

STATE_COLOURS = {
    "online": "green",
    "launching": "cyan",
    "draining": "cyan",
    "stopping": "yellow",
    "waiting-restart": "yellow",
    "errored": "red",
    "stopped": "dim",
    "up": "green",
    "away": "yellow",
    "down": "red",
}
"""Colours of states on a terminal."""
GAP = 3
"""Characters between two columns."""
NAME = "name"
"""The column that is shortened before others are left away."""
NAME_PART = 3
"""A long name keeps one third of a terminal's width."""
DISPENSABLE = (
    "p50",
    "p99",
    "version",
    "via",
    "restarts",
    "user",
    "requests",
    "cpu",
    "uptime",
    "instance",
    "memory",
    "fwd",
    "out/s",
    "in/s",
    "inactive",
    "conns/s",
    "scheduler",
)
"""Columns that a narrow terminal does without, in this order."""


def write_table(
    out: TextIO,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: set[str],
    *,
    colours: bool,
) -> None:
    """Write a table that fits the terminal's width: what matters least is left away."""
    console = Console(file=out, highlight=False, no_color=not colours)
    console.print(make_table(headers, rows, right, console.width))


def make_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], right: set[str], width: int
) -> Table:
    """Return a table that fits ``width``."""
    widths = {
        header: max([len(header), *(len(row[position]) for row in rows)])
        for position, header in enumerate(headers)
    }
    names, room = fitting(widths, DISPENSABLE, width, GAP)
    shown = [headers.index(name) for name in names]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for position in shown:
        header = headers[position]
        table.add_column(header, justify="right" if header in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(headers[position], row[position], room) for position in shown))
    return table


def fitting(
    widths: Mapping[str, int], dispensable: Sequence[str], width: int, gap: int
) -> tuple[list[str], int]:
    """Return the columns that there is room for, and how long a name may be.

    :param widths: how wide each column is.
    :param dispensable: the columns that can be left away, in this order.
    """
    name = min(widths.get(NAME, 0), width // NAME_PART)
    shown = list(widths)
    for one in dispensable:
        if _room(widths, shown, width, gap) >= name:
            break
        shown = [other for other in shown if other != one]
    return shown, max(_room(widths, shown, width, gap), name)


def _room(widths: Mapping[str, int], shown: Sequence[str], width: int, gap: int) -> int:
    """Return how many characters the other columns leave for the name."""
    return width - sum((0 if one == NAME else widths[one]) + gap for one in shown)


def _cell(header: str, cell: str, room: int) -> Text:
    if header == NAME:
        return Text(visible(shortened(cell, room)))
    style = STATE_COLOURS.get(cell, "") if header == "state" else ""
    return Text(visible(cell), style=style)
