"""Waiting until the service answers."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.task import deferLater

from ood.cli.access import find_access
from ood.cli.client import connect
from ood.cli.progress import Progress
from ood.cli.session import Invocation
from ood.clock import MonotonicClock
from ood.errors import OodError


async def answering(invocation: Invocation, most_seconds: float, pause_seconds: float) -> None:
    """Return when the service of the invocation's home answers.

    :raises OodError: it does not in time; says why the last look failed.
    """
    reactor: Any = installed
    clock = MonotonicClock(reactor)
    deadline = clock.seconds() + most_seconds
    with Progress(invocation.output.err, clock, "waiting for ood to answer"):
        while True:
            try:
                access = find_access(invocation.home_path)
                await connect(reactor, access).ask("GET", "/version", timeout=most_seconds)
                return
            except OodError:
                if clock.seconds() > deadline:
                    raise
            await deferLater(reactor, pause_seconds)
