"""What only a terminal gets: tables with colours, and the time that passes.

``rich`` is imported here and for what is live only: it takes a sixth of a command's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ood.cli.text import visible

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
    shown = _fitting(headers, rows, width)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for position in shown:
        header = headers[position]
        table.add_column(header, justify="right" if header in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(headers[position], row[position]) for position in shown))
    return table


def _fitting(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the positions of the columns that there is room for."""
    widths = [
        max([len(header), *(len(row[position]) for row in rows)])
        for position, header in enumerate(headers)
    ]
    shown = list(range(len(headers)))
    for name in DISPENSABLE:
        if sum(widths[position] + GAP for position in shown) <= width:
            break
        shown = [position for position in shown if headers[position] != name]
    return shown


def _cell(header: str, cell: str) -> Text:
    style = STATE_COLOURS.get(cell, "") if header == "state" else ""
    return Text(visible(cell), style=style)
