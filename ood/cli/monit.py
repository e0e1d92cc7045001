"""``ood monit``: every worker, and the log of one app, on one screen."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from twisted.internet.defer import Deferred

from ood.api.types import LOG_STREAMS, app_path
from ood.cli.live import LiveApps
from ood.cli.screen import Screen
from ood.cli.session import Session
from ood.cli.status import NUMBERS, cells, is_as_wanted, remarks
from ood.cli.terminal import NAME, STATE_COLOURS, fitting
from ood.cli.text import count, shortened, size, visible
from ood.cli.watch import NoTerminalError
from ood.errors import OodError

COLUMNS = (
    "name",
    "instance",
    "pid",
    "state",
    "cpu",
    "memory",
    "requests/s",
    "errors/s",
    "p95",
    "lag",
    "uptime",
    "restarts",
)
"""Columns, in the order of their use to who looks for trouble."""
DISPENSABLE = (
    *("restarts", "errors/s", "instance", "p95", "pid", "uptime", "lag", "memory"),
    *("requests/s", "cpu"),
)
"""Columns that a narrow terminal does without, in this order."""
GAP = 2
"""Characters between two columns."""
STREAMS = (None, *LOG_STREAMS)
"""What the log pane shows: everything, or one stream."""
LOG_PART = 3
"""One third of the screen is for the log."""
OTHER_LINES = 4
"""The first line, the table's head, the rule above the log, and the keys."""
MARK = "▸ "
"""Beside the app that is chosen, for who sees no colours."""
LOG_COLOURS = {"err": "red", "ood": "yellow"}
HELP = "↑ ↓ app    ← → stream of the log    q quit"

Plain = Mapping[str, Any]


@dataclass
class View:
    """What is to be seen; no I/O.

    :ivar apps: all apps, by name.
    :ivar trouble: why that may be old.
    :ivar selected: name of the app whose log is shown.
    :ivar log: its last lines.
    """

    apps: list[dict[str, Any]] = field(default_factory=list)
    trouble: str = ""
    selected: str = ""
    stream: str | None = None
    log: list[dict[str, Any]] = field(default_factory=list)

    def update(self, apps: list[dict[str, Any]], trouble: str) -> None:
        """Take over what is known; an app that is gone is no longer selected."""
        self.apps, self.trouble = apps, trouble
        names = [app["name"] for app in apps]
        if self.selected not in names:
            self.selected, self.log = (names[0] if names else ""), []

    def press(self, key: str) -> None:
        """Do what a key means."""
        if key in {"up", "down"}:
            names = [app["name"] for app in self.apps]
            if names:
                place = names.index(self.selected) + (1 if key == "down" else -1)
                self.selected = names[min(max(place, 0), len(names) - 1)]
                self.log = []
        if key in {"left", "right"}:
            place = STREAMS.index(self.stream) + (1 if key == "right" else -1)
            self.stream = STREAMS[place % len(STREAMS)]
            self.log = []

    # -- drawing

    def draw(self, width: int, height: int) -> RenderableType:
        """Return the screen."""
        log_height = max(height // LOG_PART, 3)
        said = self._said()[: max(height // 6, 1)]
        rows = self._rows()
        room = max(height - log_height - len(said) - OTHER_LINES, 1)
        log_height = height - min(room, len(rows)) - len(said) - OTHER_LINES
        title = f"log of {self.selected}: {self.stream or 'everything'}" if self.selected else "log"
        return Group(
            self._head(),
            self._table(rows, width, room),
            *(Text(text, style="yellow", no_wrap=True, overflow="ellipsis") for text in said),
            Rule(Text(visible(title)), align="left", style="dim"),
            *self._log_lines(log_height),
            Text(HELP, style="dim", no_wrap=True),
        )

    def _head(self) -> Text:
        workers = [worker for app in self.apps for worker in app["workers"]]
        right = sum(map(is_as_wanted, self.apps))
        cpu = sum(worker["cpuPercent"] for worker in workers)
        rate = sum(worker["requestsPerSecond"] for worker in workers)
        memory = size(sum(worker["memoryBytes"] for worker in workers))
        words = (
            f"{right} of {count(len(self.apps), 'app')} as wanted",
            count(len(workers), "worker"),
            f"cpu {cpu:.0f}%",
            f"memory {memory}",
            f"{rate:.0f} requests/s",
        )
        style = "bold" if right == len(self.apps) else "bold yellow"
        return Text("   ".join(words), style=style, no_wrap=True, overflow="ellipsis")

    def _said(self) -> list[str]:
        texts = [self.trouble] if self.trouble else []
        chosen = [app for app in self.apps if app["name"] == self.selected]
        texts += [f"{app['name']}: {text}" for app in chosen for text in remarks(app)]
        return [visible(text) for text in texts]

    def _rows(self) -> list[tuple[str, dict[str, str]]]:
        """Return each row's app, and its cells."""
        rows = []
        for app in self.apps:
            name = app["name"]
            shown = (MARK if name == self.selected else " " * len(MARK)) + name
            if not app["workers"]:
                rows.append((name, {"name": shown, "state": app["state"]}))
            for number, worker in enumerate(app["workers"]):
                rows.append((name, {"name": "" if number else shown, **cells(worker)}))
        return rows

    def _table(self, rows: list[tuple[str, dict[str, str]]], width: int, room: int) -> Table:
        first = next((at for at, row in enumerate(rows) if row[0] == self.selected), 0)
        start = min(max(first - room // 3, 0), max(len(rows) - room, 0))
        columns, name_room = _fitting(rows, width)
        table = Table(box=None, pad_edge=False, expand=True, header_style="bold reverse")
        for column in columns:
            table.add_column(column, justify="right" if column in NUMBERS else "left", no_wrap=True)
        for name, row in rows[start : start + room]:
            row[NAME] = shortened(row[NAME], name_room)
            shown = (_cell(column, row.get(column, "")) for column in columns)
            table.add_row(*shown, style="bold" if name == self.selected else "")
        return table

    def _log_lines(self, room: int) -> list[Text]:
        lines = [
            Text(
                visible(f"{_clock(line['time'])} {_who(line)} {line['text']}"),
                style=LOG_COLOURS.get(line["stream"], ""),
                no_wrap=True,
                overflow="ellipsis",
            )
            for line in self.log[-room:]
        ]
        return lines + [Text("")] * (room - len(lines))


def _who(line: Plain) -> str:
    return "-" if line["instance"] < 0 else str(line["instance"])


def _fitting(rows: list[tuple[str, dict[str, str]]], width: int) -> tuple[list[str], int]:
    """Return the columns that say something and that there is room for, and that for the name."""
    widths = {
        column: max([len(row.get(column, "")) for _, row in rows], default=0) for column in COLUMNS
    }
    said = {column: max(len(column), most) for column, most in widths.items() if most}
    return fitting(said or {NAME: len(NAME)}, DISPENSABLE, width, GAP)


def _clock(stamp: str) -> str:
    """Return the time of day here: what other programs on this terminal say, too."""
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).astimezone().strftime("%H:%M:%S")


def _cell(column: str, text: str) -> Text:
    return Text(visible(text), style=STATE_COLOURS.get(text, "") if column == "state" else "")


class _Monit:
    """Keeps the view's log up to date."""

    def __init__(self, session: Session) -> None:
        self._client = session.client
        self._asking = False
        self.view = View()
        self.apps = LiveApps(session, None, self._changed)
        self.screen = Screen(
            session.output, self.apps.clock, self.view.draw, self._pressed, self._second
        )

    def _changed(self) -> None:
        self.view.update(self.apps.now(), self.apps.trouble)
        self.screen.refresh()

    def _pressed(self, key: str) -> None:
        self.view.press(key)
        self._ask()

    def _second(self) -> None:
        self.view.update(self.apps.now(), self.apps.trouble)
        self._ask()

    def _ask(self) -> None:
        """Ask for the log, unless an answer is still to come."""
        if not self._asking and self.view.selected:
            self._asking = True
            _ = Deferred.fromCoroutine(self._read_log())

    async def _read_log(self) -> None:
        name, stream = self.view.selected, self.view.stream
        query = {"lines": "100", **({"stream": stream} if stream else {})}
        answer = {"lines": self.view.log}
        with suppress(OodError):  # what is wrong is said where the state is asked for
            answer = await self._client.ask("GET", f"{app_path(name, 'log')}?{urlencode(query)}")
        self._asking = False
        if (name, stream) == (self.view.selected, self.view.stream):
            self.view.log = answer["lines"]
            self.screen.refresh()
        else:
            self._ask()


async def monit(session: Session) -> None:
    """Show everything until somebody quits."""
    if not session.output.terminal:
        raise NoTerminalError("monit needs a terminal", "programs take: ood status --watch --json")
    shown = _Monit(session)
    await shown.screen.show(shown.apps)
