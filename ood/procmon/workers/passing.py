"""A worker's end: what is recorded of it, and whether it was the end that was asked for."""

from __future__ import annotations

import signal
from collections.abc import Collection
from typing import TYPE_CHECKING

from ood.clock import wall_time
from ood.procmon.deaths.record import Death, describe_exit

if TYPE_CHECKING:
    from ood.procmon.workers.worker import WorkerProcess

POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals by which others than ood ask a process to end: init, a shell, a container's runtime."""


def as_asked(code: int | None, number: int | None, sent: Collection[int], *, thrown: bool) -> bool:
    """Tell whether a worker that was being stopped ended by that, not by a fault of its own.

    :param code: its exit status, if it exited; once it got a signal, any will do.
    :param number: the signal that ended it, if one did.
    :param sent: the signals that ood had sent it.
    :param thrown: an exception that nothing caught ended it.
    """
    if number is not None:
        return number in sent or number in POLITE
    return not thrown and (code == 0 or bool(sent))


def death(worker: WorkerProcess, reason: str) -> Death:
    """Return the record of a worker's end."""
    process = worker.process
    return Death(
        time=wall_time(),
        instance=worker.instance,
        pid=worker.pid,
        reason=reason,
        uptime_seconds=worker.context.clock.seconds() - worker.started,
        code=process.code,
        signal=process.signal,
        evidence=worker.witness.evidence(worker.plan.app, worker.joined()),
    )


def look_back(worker: WorkerProcess, sent: Collection[int]) -> None:
    """Tell of a worker that has ended while it was being stopped, unless all went well.

    :param sent: the signals that ood had sent it.
    """
    code, number = worker.process.code, worker.process.signal
    if number == signal.SIGKILL and number in sent:
        app = worker.plan.app
        worker.context.logs.remark(
            worker.plan.name,
            f"worker {worker.instance} (process {worker.pid}) did not end by {app.stop_signal} "
            f"within killTimeout ({app.kill_timeout / 1000:g} s) and was killed",
        )
        return
    found = death(worker, f"{describe_exit(code, number)} while it was being stopped")
    if not as_asked(code, number, sent, thrown=found.evidence.thrown is not None):
        worker.crew.worker_fell(worker, found)
