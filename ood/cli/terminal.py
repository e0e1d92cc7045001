"""What only a terminal gets: tables with colours, and the time that passes.

``rich`` is imported here and nowhere else: it takes a sixth of a command's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ood.cli.output import STATE_COLOURS
from ood.cli.text import visible


def write_table(
    out: TextIO,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: set[str],
    *,
    colours: bool,
) -> None:
    """Write a table that fits the terminal's width."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, justify="right" if header in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(header, cell) for header, cell in zip(headers, row, strict=True)))
    Console(file=out, highlight=False, no_color=not colours).print(table)


def _cell(header: str, cell: str) -> Text:
    style = STATE_COLOURS.get(cell, "") if header == "state" else ""
    return Text(visible(cell), style=style)
