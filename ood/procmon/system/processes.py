"""The system's processes: who descends from whom, what they use, and ending them."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
DEPTH_MAX = 64
"""Generations to follow upwards: more is a table that changed while it was read."""


@dataclass(frozen=True)
class Process:
    """One process as /proc shows it.

    :ivar started: ticks since boot; tells it from a later one with the same number.
    """

    pid: int
    parent: int
    session: int
    started: int
    cpu_seconds: float
    memory_bytes: int
    zombie: bool


def read(pid: int) -> Process | None:
    """Return the process ``pid``, None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()  # the name may hold spaces and brackets
    return Process(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        started=int(fields[19]),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND,
        memory_bytes=int(fields[21]) * PAGE_BYTES,
        zombie=fields[0] in b"ZX",
    )


def table() -> dict[int, Process]:
    """Return every process."""
    found = (read(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in found if process is not None}


def belongs(pid: int, root: int) -> bool:
    """Tell whether ``pid`` is in the session that ``root`` began, or descends from it."""
    for _ in range(DEPTH_MAX):
        process = read(pid)
        if process is None:
            return False
        if root in (process.pid, process.session):
            return True
        pid = process.parent
        if pid <= 1:
            return False
    return False


def family(processes: Mapping[int, Process], roots: Collection[int]) -> list[Process]:
    """Return who is in a session of ``roots``, is one of them, or descends from these."""
    children: dict[int, list[Process]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    pending = [one for one in processes.values() if one.pid in roots or one.session in roots]
    found: dict[int, Process] = {}
    while pending:
        process = pending.pop()
        if process.pid not in found:
            found[process.pid] = process
            pending += children.get(process.pid, ())
    return [process for process in found.values() if not process.zombie]


def send_signal(processes: Iterable[Process], number: signal.Signals) -> None:
    """Signal those of ``processes`` that are still the same ones."""
    for process in processes:
        now = read(process.pid)
        if now is not None and now.started == process.started:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)
