"""Ending a worker's processes, so that nothing is left behind."""

from __future__ import annotations

import signal
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from ood.procmon.system import processes
from ood.procmon.system.changes import Changes
from ood.procmon.system.processes import Process

LOOK_AGAIN_SECONDS = 0.025
"""How often to look whether processes are gone: nobody announces a grandchild's end."""
SPREAD_SECONDS = 2.0
"""How long a launcher has to pass the stop signal on before its children get it from ood."""
KILLED_SECONDS = 5.0
"""How long SIGKILL may take: a process that waits for a dead disk is not worth more."""


class Family:
    """A worker's processes: its session, those that joined, and what descends from them.

    :param root: the worker's first process, which is its session's leader.
    :ivar sent: the signals that it was sent.
    """

    def __init__(self, clock: IReactorTime, root: int) -> None:
        self._clock = clock
        self._root = root
        self._known: dict[int, Process] = {}
        self._signalled: set[int] = set()
        self.sent: set[signal.Signals] = set()
        self._changes = Changes(clock)
        self.note(root)

    def note(self, pid: int) -> None:
        """Remember a process: it joined, so it belongs here wherever it went."""
        process = processes.read(pid)
        if process is not None:
            self._known[pid] = process

    def alive(self) -> list[Process]:
        """Return those that live, and remember them."""
        table = processes.table()
        roots = {
            pid
            for pid, process in self._known.items()
            if pid in table and table[pid].started == process.started
        }
        if self._root not in table:
            roots.add(self._root)  # its number is kept as long as its session has members
        found = processes.family(table, roots)
        self._known = {process.pid: process for process in found}
        return found

    async def end(
        self, number: signal.Signals, deadline: float, exited: Callable[[], bool]
    ) -> list[Process]:
        """Signal the root, later the others; kill at ``deadline``; return who survived.

        Each process gets the signal once: a launcher such as npm passes it on, and an
        app may take the second one for impatience.
        """
        self.alive()
        self._signal(self._root, number)
        spread = min(self._clock.seconds() + SPREAD_SECONDS, deadline)
        await self._changes.until(exited, spread, LOOK_AGAIN_SECONDS)
        if not await self._changes.until(
            lambda: self._end_rest(number), deadline, LOOK_AGAIN_SECONDS
        ):
            killed = self._clock.seconds() + KILLED_SECONDS
            await self._changes.until(self._kill, killed, LOOK_AGAIN_SECONDS)
        return self.alive()

    def _signal(self, pid: int, number: signal.Signals) -> None:
        self._signalled.add(pid)
        process = self._known.get(pid)
        if process is not None:
            self._send([process], number)

    def _send(self, to: list[Process], number: signal.Signals) -> None:
        if any(process.pid == self._root for process in to):
            self.sent.add(number)
        processes.send_signal(to, number)

    def _end_rest(self, number: signal.Signals) -> bool:
        alive = self.alive()
        for process in alive:
            if process.pid not in self._signalled:
                self._signal(process.pid, number)
        return not alive

    def _kill(self) -> bool:
        alive = self.alive()
        self._send(alive, signal.SIGKILL)
        return not alive
