"""Where a Node process hangs: its inspector is opened from outside and asked.

SIGUSR1 makes Node open its inspector though the event loop does not turn.  It listens
on loopback, and its address has a random part that only stderr tells, which ood reads
(``--inspect-publish-uid=stderr``): nobody else on the machine can use it.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTCP, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from ood.model.death import RequestInFlight
from ood.procmon.core.devtools import DevtoolsError, Talk, listening
from ood.procmon.system import processes
from ood.procmon.system.changes import Changes

LOOK_SECONDS = 2.0
"""How long it may take: the worker serves nobody meanwhile, and its successor waits.  It
takes some 60 ms."""
POLL_SECONDS = 0.02
"""How often to look whether the inspector has said that it is open."""
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Look:
    """What was seen in a process.

    :ivar stack: where it is, innermost call first.
    :ivar requests: what it is serving.
    """

    stack: tuple[str, ...] = ()
    requests: tuple[RequestInFlight, ...] = ()


def _status(pid: int, field: str) -> str:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            match = re.search(rf"^{field}:\s*(\S+)", file.read(), re.MULTILINE)
    except OSError:
        return ""
    return match[1] if match else ""


def _catches(pid: int, number: signal.Signals) -> bool:
    """Tell whether a process has a handler for a signal; without one it would die of it."""
    caught = _status(pid, "SigCgt")
    return bool(caught) and bool(int(caught, 16) >> (number - 1) & 1)


class _Connection(Protocol):
    """Carries a talk."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.over: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Begin."""
        assert self.transport is not None
        self.transport.write(self._talk.begin())

    def dataReceived(self, data: bytes) -> None:
        """Go on until everything is known."""
        assert self.transport is not None
        try:
            self.transport.write(self._talk.feed(data))
        except DevtoolsError:
            self.transport.loseConnection()
            return
        if self._talk.over:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """It is over, whatever is known."""
        if not self.over.called:
            self.over.callback(None)


class Stacks:
    """Looks into processes.

    :param reactor: connects to inspectors.
    """

    log = Logger()

    def __init__(self, reactor: IReactorTCP, clock: IReactorTime) -> None:
        self._reactor = reactor
        self._clock = clock

    async def look(self, pid: int, err: Iterable[str]) -> Look:
        """Return where the Node process ``pid`` is; nothing if it can't be found out.

        :param err: the last lines of its stderr, which go on to come.
        """
        if _status(pid, "State") in ("T", "t"):
            return Look(("(stopped by a signal such as SIGSTOP)",))
        process = processes.read(pid)
        if process is None or not _catches(pid, signal.SIGUSR1):
            return Look()
        deadline = self._clock.seconds() + LOOK_SECONDS
        before = listening(err)
        processes.send_signal([process], signal.SIGUSR1)
        opened = Changes(self._clock)
        await opened.until(lambda: listening(err) != before, deadline, POLL_SECONDS)
        address = listening(err)
        if address is None:
            return Look()
        talk = Talk(*address)
        await self._talk(talk, address[0], deadline - self._clock.seconds())
        return Look(talk.stack, talk.requests)

    async def _talk(self, talk: Talk, port: int, seconds: float) -> None:
        connection = _Connection(talk)
        from twisted.internet.endpoints import (  # noqa: PLC0415 - loads OpenSSL, 8 MB
            TCP4ClientEndpoint,
            connectProtocol,
        )

        endpoint = TCP4ClientEndpoint(self._reactor, LOOPBACK, port, timeout=LOOK_SECONDS)
        timer = self._clock.callLater(max(seconds, 0), self._end, connection)
        try:
            await connectProtocol(endpoint, connection)  # type: ignore[no-untyped-call]
            await connection.over
        except (ConnectError, OSError) as error:
            self.log.info("the inspector can't be reached: {error}", error=error)
        finally:
            if timer.active():
                timer.cancel()

    @staticmethod
    def _end(connection: _Connection) -> None:
        if connection.transport is not None:
            connection.transport.abortConnection()  # type: ignore[attr-defined]
