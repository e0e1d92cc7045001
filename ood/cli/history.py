"""The apps' log files, read where they are.

Whoever may use the ood command may read them, since both take the service's user.  So
a search through hundreds of megabytes costs this command's time and not the service's,
and a pattern that takes for ever holds up nobody else.
"""

from __future__ import annotations

import gzip
import heapq
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeAlias

from ood.cli.logfilter import Filter
from ood.clock import wall_time
from ood.errors import OodError
from ood.logfile import LINE_READ_MAX, LogFile, decode, lines_backwards
from ood.paths import LOGS_DIRECTORY

Line: TypeAlias = dict[str, Any]
"""A line as the API sends it."""


class UnreadableError(OodError):
    """The log files can't be read by who asks."""

    code = "unreadable"


def _file(home: Path, app: str) -> LogFile:
    directory = home / LOGS_DIRECTORY / app
    try:
        next(directory.iterdir(), None)
    except FileNotFoundError:
        pass  # it has not written anything yet
    except OSError as error:
        raise UnreadableError(
            f"can't read {directory}: {error.strerror}",
            "--since, --until, --grep and --worker read the files: become the service's user",
        ) from None
    return LogFile(directory, wall_time, lambda _: None)


def _as_line(raw: bytes) -> Line | None:
    line = decode(raw)
    if line is None:
        return None
    return {
        "time": line.time,
        "instance": line.instance,
        "stream": line.stream,
        "text": line.text,
    }


def newest(home: Path, app: str, wanted: Filter, count: int) -> list[Line]:
    """Return the last ``count`` lines that are wanted, however far back they are."""
    file = _file(home, app)
    found: list[Line] = []
    for path in (file.path, *file.rotated()):
        with suppress(OSError, EOFError):
            for raw in lines_backwards(path):
                if len(found) >= count:
                    return found[::-1]
                line = _as_line(raw)
                if line is not None and wanted.matches(line):
                    found.append(line)
    return found[::-1]


def since(home: Path, apps: Sequence[str], wanted: Filter) -> Iterator[tuple[str, Line]]:
    """Return all lines that are wanted with their apps, in the order of time.

    Only one line of each app is in memory at a time.
    """
    files = [(app, _file(home, app)) for app in apps]
    each = [_forward(app, file, wanted) for app, file in files]
    return heapq.merge(*each, key=lambda entry: str(entry[1]["time"]))


def _forward(app: str, file: LogFile, wanted: Filter) -> Iterator[tuple[str, Line]]:
    for path in (*reversed(_recent(file, wanted.since)), file.path):
        with suppress(OSError, EOFError), _opened(path) as opened:
            while raw := opened.readline(LINE_READ_MAX):
                line = _as_line(raw.rstrip(b"\n"))
                if line is not None and wanted.matches(line):
                    yield app, line


def _opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    compressed = path if path.suffix == ".gz" else path.with_name(f"{path.name}.gz")
    if path != compressed:
        with suppress(FileNotFoundError):  # it was compressed just now
            return path.open("rb")
    return gzip.open(compressed, "rb")


def _recent(file: LogFile, moment: str) -> list[Path]:
    """Return the files that were put aside after ``moment``, which their names tell."""
    plain = moment.translate(str.maketrans("", "", "-:"))
    return [path for path in file.rotated() if path.name >= plain]


def last(entries: list[tuple[str, Line]], count: int) -> list[tuple[str, Line]]:
    """Return the last lines of several apps in the order of time."""
    entries.sort(key=lambda entry: str(entry[1]["time"]))
    return entries[-count:] if count else []
