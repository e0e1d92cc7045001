"""Further ports of an app: ood listens there itself and hands raw connections on."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

LOOPBACK = "127.0.0.1"
EXTRA_PORTS_MAX = 16
"""Further ports of one app: metrics, a debugger, an old address; more is a mistake."""
PRIVILEGED_PORTS = 1024
"""Ports below are for root; ood is no way around that."""
BACKLOG = 511
ACCEPTS_PER_TURN = 64
"""Connections taken in one turn of the reactor: others want theirs, too."""

Give = Callable[[int, socket.socket], bool]


@implementer(IReadDescriptor)
class _Port:
    """One listening port on the reactor."""

    def __init__(self, reactor: IReactorFDSet, port: int, give: Give) -> None:
        self._reactor = reactor
        self._port = port
        self._give = give
        self._sock = socket.socket()
        try:
            self._sock.setblocking(False)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sock.bind((LOOPBACK, port))
            self._sock.listen(BACKLOG)
        except OSError:
            self._sock.close()
            raise
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._sock.fileno()

    def logPrefix(self) -> str:
        return "extra port"

    def doRead(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            if not self._give(self._port, sock):
                sock.close()

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - the reactor's signature
        self.close()

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            self._reactor.removeReader(self)
            self._sock.close()


class ExtraPorts:
    """The further ports of one app."""

    def __init__(self, reactor: IReactorFDSet, give: Give, remark: Callable[[str], None]) -> None:
        self._reactor = reactor
        self._give = give
        self._remark = remark
        self._open: dict[int, _Port] = {}
        self._failed: set[int] = set()

    @property
    def ports(self) -> frozenset[int]:
        """The ports that are open."""
        return frozenset(self._open)

    def update(self, wanted: Collection[int], *, privileged: bool) -> None:
        """Listen on the ports ``wanted``, and on no other."""
        for port in [one for one in self._open if one not in wanted]:
            self._open.pop(port).close()
        self._failed &= set(wanted)
        for port in wanted:
            if port not in self._open and port not in self._failed:
                self._try(port, privileged)

    def _try(self, port: int, privileged: bool) -> None:
        try:
            if port < PRIVILEGED_PORTS and not privileged:
                raise PermissionError(0, "only root's apps may listen below 1024")
            if len(self._open) >= EXTRA_PORTS_MAX:
                raise OSError(0, f"an app has at most {EXTRA_PORTS_MAX} further ports")
            self._open[port] = _Port(self._reactor, port, self._give)
        except OSError as error:
            self._failed.add(port)
            reason = error.strerror or os.strerror(error.errno or 0)
            self._remark(f"the app's port {port} is not served on {LOOPBACK}: {reason}")

    def close(self) -> None:
        """Close all."""
        self.update((), privileged=False)
