"""dns-01 by a command that sets and removes TXT records.

The command is called without a shell as ``COMMAND... add|remove NAME VALUE``; the same
three are in ``OOD_ACME_ACTION``, ``OOD_ACME_NAME`` and ``OOD_ACME_VALUE``.  ``add``
returns once the record can be seen; a name may have several values at once.
"""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ood.certs.client import Challenge
from ood.certs.core.problems import DETAIL_CHARACTERS
from ood.certs.errors import AcmeError
from ood.certs.files import read_record, write_record
from ood.certs.interfaces import IResponder

ADD_SECONDS = 600.0
"""How long setting a record may take: some commands wait until every name server knows."""
REMOVE_SECONDS = 60.0
"""How long removing it may take; the service's stop waits for it."""
END_SECONDS = 5.0
"""How long a command that is no longer needed may take to end."""
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
"""What of the service's own environment the command sees."""
OUTPUT_BYTES_KEPT = 4096
"""As much of its output as says what went wrong."""

Record = tuple[str, str]


class _Command(ProcessProtocol):
    """Collects a command's last words.

    :ivar late: whether it took too long.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._closing: IDelayedCall | None = None
        self.late = False
        self.said = b""
        self.ended: Deferred[BaseException] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep the end of what it writes."""
        self.said = (self.said + data)[-OUTPUT_BYTES_KEPT:]

    def processExited(self, reason: Failure) -> None:
        """Wait a little for its last words: what it has left running may write for ever."""
        transport: Any = self.transport
        self._closing = self._clock.callLater(END_SECONDS, transport.loseConnection)

    def processEnded(self, reason: Failure) -> None:
        """Tell that it is gone."""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        assert reason.value is not None
        self.ended.callback(reason.value)  # nothing happens if it was cancelled
        self.gone.callback(None)


@implementer(IResponder)
class DnsHookResponder:
    """Runs the command.

    :param command: the command with its first arguments.
    :param journal: the file that remembers which records are set, so that none is left
        behind by a crash.
    """

    log = Logger()
    challenge_type = "dns-01"

    def __init__(
        self,
        reactor: IReactorProcess,
        clock: IReactorTime,
        command: tuple[str, ...],
        journal: Path,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._command = command
        self._journal = journal
        self._set: list[Record] = read_record(journal, list[Record], [])

    def start_responding(
        self, server_name: str, challenge: Challenge, response: Challenge
    ) -> Deferred[None]:
        """Set the record; fire when the command has returned."""
        return Deferred.fromCoroutine(self._add(_record(server_name, response)))

    async def _add(self, record: Record) -> None:
        self._note([*self._set, record])
        await self._run("add", record)

    def stop_responding(
        self, server_name: str, challenge: Challenge, response: Challenge
    ) -> Deferred[None]:
        """Remove the record; fire when the command has returned."""
        return Deferred.fromCoroutine(self._remove(_record(server_name, response)))

    async def _remove(self, record: Record) -> None:
        if record not in self._set:
            return
        try:
            await self._run("remove", record)
        except AcmeError as error:
            self.log.warn("{name} stays in the DNS: {error}", name=record[0], error=error)
        self._note([one for one in self._set if one != record])

    async def remove_leftovers(self) -> None:
        """Remove what an earlier run has left behind."""
        for record in tuple(self._set):
            await self._remove(record)

    def _note(self, records: list[Record]) -> None:
        self._set = records
        write_record(self._journal, records)

    async def _run(self, action: str, record: Record) -> None:
        """Run the command.

        :raises AcmeError: it failed; its last words are in the message.
        """
        arguments = [*self._command, action, *record]
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= {
            "OOD_ACME_ACTION": action,
            "OOD_ACME_NAME": record[0],
            "OOD_ACME_VALUE": record[1],
        }
        if shutil.which(arguments[0]) is None:
            raise AcmeError("hook", f"acmeDnsHook: there is no program {arguments[0]}")
        command = _Command(self._clock)
        process: Any = self._reactor.spawnProcess(
            command, arguments[0], arguments, environment, childFDs={0: "w", 1: "r", 2: "r"}
        )
        process.closeStdin()
        seconds = ADD_SECONDS if action == "add" else REMOVE_SECONDS

        def expire() -> None:
            command.late = True
            _signal(process, "KILL")

        limit = self._clock.callLater(seconds, expire)
        try:
            reason = await command.ended
        except CancelledError:
            _signal(process, "TERM")
            if limit.active():
                limit.reset(END_SECONDS)
            await command.gone
            raise
        finally:
            if limit.active():
                limit.cancel()
        if not isinstance(reason, ProcessDone):
            said = command.said.decode("utf-8", "replace").strip()[-DETAIL_CHARACTERS:]
            why = f"it took longer than {seconds:.0f} s." if command.late else reason
            raise AcmeError("hook", f"acmeDnsHook {action}: {why} {said}".strip())


def _signal(process: Any, name: str) -> None:
    """Signal a command and all that it runs: a shell waits for that, and would leave it behind."""
    if process.pid is None:
        return
    below = []
    with suppress(psutil.Error):
        below = psutil.Process(process.pid).children(recursive=True)
    with suppress(ProcessExitedAlready):
        process.signalProcess(name)
    for one in below:
        with suppress(psutil.Error):
            one.send_signal(getattr(signal, f"SIG{name}"))


def _record(server_name: str, challenge: Challenge) -> Record:
    """Return name and value of the TXT record that proves a name."""
    return f"_acme-challenge.{server_name.removeprefix('*.')}", challenge.validation
