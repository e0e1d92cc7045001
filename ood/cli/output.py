"""Where a command's results go: text for people, JSON for programs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from ood.cli.text import visible

_ANSI = {"red": "31", "yellow": "33", "dim": "2"}


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a person looks at ``stream``, on something that can do more than print."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


@dataclass
class Output:
    """Writes results.

    :ivar out: where results go.
    :ivar err: where remarks go.
    :ivar json: whether programs read the results.
    """

    out: TextIO
    err: TextIO
    json: bool = False

    @property
    def terminal(self) -> bool:
        """Tell whether results go to a terminal."""
        return is_terminal(self.out)

    @property
    def colours(self) -> bool:
        """Tell whether results may have colours."""
        return self.terminal and not os.environ.get("NO_COLOR")

    def say(self, text: str = "") -> None:
        """Write a line."""
        self.out.write(visible(text) + "\n")

    def value(self, value: Any, *, indent: int | None = 2) -> None:
        """Write a value as JSON."""
        self.out.write(json.dumps(value, indent=indent) + "\n")

    def remark(self, text: str) -> None:
        """Write a line that is no result."""
        self.err.write(visible(text) + "\n")

    def painted(self, text: str, colour: str) -> None:
        """Write a line in a colour, if there are colours."""
        code = _ANSI.get(colour, "")
        if self.colours and code:
            self.out.write(f"\x1b[{code}m{visible(text)}\x1b[0m\n")
        else:
            self.say(text)

    def found(
        self, head: str, text: str, pattern: re.Pattern[str] | None, colour: str = ""
    ) -> None:
        """Write a line; on a terminal what ``pattern`` finds in ``text`` stands out."""
        shown = visible(text)
        if pattern is None or not self.colours:
            self.painted(head + text, colour)
            return
        marked = pattern.sub(lambda match: _marked(match[0]), shown)
        begin = f"\x1b[{_ANSI[colour]}m" if colour else ""
        self.out.write(f"{begin}{visible(head)}{marked}\x1b[0m\n")

    def flush(self) -> None:
        """Pass on what is written: more may be long in coming."""
        self.out.flush()

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]], right: set[str]) -> None:
        """Write a table.

        :param right: the columns with numbers, which end at the right.
        """
        if self.terminal:
            from ood.cli.terminal import write_table

            write_table(self.out, headers, rows, right, colours=self.colours)
        else:
            for line in plain_table(headers, rows, right):
                self.say(line)


def _marked(text: str) -> str:
    return f"\x1b[1;7m{text}\x1b[22;27m" if text else ""


def plain_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], right: set[str]
) -> list[str]:
    """Return a table's lines, aligned with spaces; an empty cell is a dash for ``awk``."""
    cells = [list(headers), *([visible(cell) or "-" for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    return ["  ".join(_fit(row, headers, widths, right)).rstrip() for row in cells]


def _fit(
    row: Sequence[str], headers: Sequence[str], widths: Sequence[int], right: set[str]
) -> list[str]:
    return [
        cell.rjust(width) if header in right else cell.ljust(width)
        for cell, header, width in zip(row, headers, widths, strict=True)
    ]
