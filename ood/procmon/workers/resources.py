"""What workers use: processor and memory, of each one's whole process tree."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from ood.procmon.system import processes
from ood.procmon.workers.preflight import package

SAMPLE_SECONDS = 1.0
"""How old a sample may be: one reading of /proc for all workers costs some milliseconds."""
NEW_SAMPLE_SECONDS = 0.1
"""The same when there is a worker that no sample has seen."""
FORGET_SECONDS = 60.0
"""A sample older than this says nothing about processor use "over the last seconds"."""
VERSION_LENGTH_MAX = 64
"""Longest version that is shown."""


@dataclass(frozen=True)
class Usage:
    """What one worker uses.

    :ivar cpu_percent: of one processor, since the sample before.
    :ivar memory_bytes: resident memory.
    """

    cpu_percent: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True)
class _Sample:
    at: float
    cpu_seconds: float


class Resources:
    """Samples all workers at once, when somebody asks."""

    def __init__(self, clock: IReactorTime, roots: Callable[[], Collection[int]]) -> None:
        self._clock = clock
        self._roots = roots
        self._at = -FORGET_SECONDS
        self._samples: dict[int, _Sample] = {}
        self._usage: dict[int, Usage] = {}

    def usage(self, root: int | None) -> Usage:
        """Return what the worker with root process ``root`` uses."""
        age = self._clock.seconds() - self._at
        unknown = root is not None and root not in self._usage
        if age >= (NEW_SAMPLE_SECONDS if unknown else SAMPLE_SECONDS):
            self._sample()
        return self._usage.get(root or 0, Usage())

    def _sample(self) -> None:
        self._at = now = self._clock.seconds()
        table = processes.table()
        samples: dict[int, _Sample] = {}
        for root in self._roots():
            tree = processes.family(table, {root})
            cpu = sum(process.cpu_seconds for process in tree)
            memory = sum(process.memory_bytes for process in tree)
            samples[root] = _Sample(now, cpu)
            self._usage[root] = Usage(self._percent(root, samples[root]), memory)
        self._samples = samples
        self._usage = {root: self._usage[root] for root in samples}

    def _percent(self, root: int, sample: _Sample) -> float:
        before = self._samples.get(root)
        if before is None or sample.at - before.at > FORGET_SECONDS:
            return 0.0
        used = sample.cpu_seconds - before.cpu_seconds
        return round(max(used, 0.0) / max(sample.at - before.at, 0.001) * 100, 1)


class Versions:
    """The version in each app's package.json, read again only when the file changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int], str]] = {}

    def version(self, cwd: str) -> str:
        """Return the version of the app in ``cwd``; empty if it has none."""
        try:
            status = os.stat(os.path.join(cwd, "package.json"))
        except OSError:
            return ""
        stamp = (status.st_mtime_ns, status.st_ino)
        known = self._known.get(cwd)
        if known is None or known[0] != stamp:
            version = package(cwd).get("version")
            text = version[:VERSION_LENGTH_MAX] if isinstance(version, str) else ""
            known = self._known[cwd] = (stamp, text)
        return known[1]
