"""Starting a worker's root process: in a session of its own, as the app's user."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping

from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IProcessTransport, IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ood.errors import WorkerError
from ood.procmon.core.environment import DEFAULT_PATH, IPC_FD
from ood.procmon.workers.preflight import Command

Output = Callable[[str, bytes], None]
"""``output(stream, data)`` with stream ``out`` or ``err``."""


class RootProcess(ProcessProtocol):
    """A worker's root process.

    :ivar pid: its process id.
    :ivar exited: whether the process itself is gone.
    :ivar ended: whether everything it wrote has arrived, too.
    :ivar code: its exit status, if it exited.
    :ivar signal: the signal that killed it, if one did.
    """

    transport: IProcessTransport

    def __init__(self, output: Output, changed: Callable[[], None]) -> None:
        self._output = output
        self._changed = changed
        self.pid: int | None = None
        self.exited = False
        self.ended = False
        self.code: int | None = None
        self.signal: int | None = None

    def connectionMade(self) -> None:
        """Note the process id: the transport forgets it as soon as the process is gone."""
        self.pid = self.transport.pid

    def outReceived(self, data: bytes) -> None:
        """Pass on what the process wrote."""
        self._output("out", data)

    def errReceived(self, data: bytes) -> None:
        """Pass on what the process wrote to stderr."""
        self._output("err", data)

    def processExited(self, reason: Failure) -> None:
        """Note how the process ended."""
        self.exited = True
        if isinstance(reason.value, ProcessTerminated):
            self.code, self.signal = reason.value.exitCode, reason.value.signal
        else:
            self.code = 0
        self._changed()

    def processEnded(self, reason: Failure) -> None:  # noqa: ARG002 - Twisted's signature
        """Note that nothing more will arrive."""
        self.ended = True
        self._changed()


def spawn(
    reactor: IReactorProcess,
    protocol: RootProcess,
    command: Command,
    env: Mapping[str, str],
    ipc: int | None,
    *,
    stdin: int | None = None,
) -> int:
    """Start ``command``; return its process id.

    :param ipc: descriptor of the worker's end of Node's channel.
    :param stdin: descriptor of what it reads; nothing if None.
    :raises WorkerError: it can't be started.
    """
    setsid = shutil.which("setsid", path=f"{os.environ.get('PATH', '')}:{DEFAULT_PATH}")
    if setsid is None:
        raise WorkerError("there is no program setsid", "install it (apt install util-linux)")
    account = command.account
    with open(os.devnull, "rb") as nothing:
        descriptors: dict[int, int | str] = {
            0: nothing.fileno() if stdin is None else stdin,
            1: "r",
            2: "r",
        }
        if ipc is not None:
            descriptors[IPC_FD] = ipc
        try:
            reactor.spawnProcess(
                protocol,
                setsid,
                [setsid, *command.argv],
                env=dict(env),
                path=command.cwd,
                uid=account.uid if account.other and account.uid != os.getuid() else None,
                gid=account.gid if account.other else None,
                childFDs=descriptors,
            )
        except (OSError, ValueError) as error:
            raise WorkerError(
                f"can't start a process: {error}", "see the system's limits"
            ) from None
    if protocol.pid is None:
        raise WorkerError("can't start a process", "see the system's limits")
    return protocol.pid
