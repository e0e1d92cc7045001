"""``ood import``: the apps of a PM2 file become apps of ood's."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ood.cli.pm2 import Imported, beside, entries_of, load, translate
from ood.cli.pm2dump import gather, is_dump
from ood.cli.session import Invocation, Session
from ood.errors import OodError


def import_file(invocation: Invocation, file: str, choice: str | None, *, dry_run: bool) -> None:
    """Add every app of ``file``; one that is refused does not keep the others away."""
    invocation.must_be_here("import")
    path = Path(os.path.abspath(Path(file).expanduser()))
    processors = len(os.sched_getaffinity(0))
    plain = load(path, shutil.which("node"))
    entries: Sequence[Mapping[str, Any]] = entries_of(path, plain)
    if is_dump(entries):
        entries = gather(entries, os.environ)
    found = [
        translate(entry, path.parent, choice=choice, processors=processors, find=_program)
        for entry in entries
    ]
    for note in beside(plain):
        invocation.output.remark(note)
    if dry_run:
        _report(invocation, found, {}, dry_run=True)
        return
    refused: dict[str, OodError] = {}

    async def work(session: Session) -> None:
        for one in found:
            try:
                await session.client.ask("POST", "/apps", {"name": one.name, **one.values})
            except OodError as error:
                refused[one.name] = error

    invocation.run(work)
    _report(invocation, found, refused)
    if refused:
        raise OodError(
            f"{len(refused)} of {len(found)} apps were not added: {', '.join(refused)}",
            "the reason stands beside each",
        )


def _program(name: str, cwd: str) -> str | None:
    return None if (Path(cwd) / name).exists() else shutil.which(name)


def _report(
    invocation: Invocation,
    found: Sequence[Imported],
    refused: dict[str, OodError],
    *,
    dry_run: bool = False,
) -> None:
    if invocation.output.json:
        invocation.output.value([_plain(one, refused.get(one.name)) for one in found])
        return
    say = invocation.output.say
    for one in found:
        error = refused.get(one.name)
        say(f"{one.name}: not added: {error}" if error else f"{one.name}:")
        width = max(map(len, one.values), default=0)
        for key, value in one.values.items():
            say(f"  {key:<{width}}  {value if isinstance(value, str) else json.dumps(value)}")
        for note in one.notes:
            say(f"  - {note}")
    if dry_run:
        say("Nothing was added: this was to see what would be.")
    elif not refused:
        say("Start one with: ood start APP")


def _plain(one: Imported, error: OodError | None) -> dict[str, Any]:
    return {
        "name": one.name,
        "values": one.values,
        "notes": one.notes,
        "error": None if error is None else str(error),
    }
