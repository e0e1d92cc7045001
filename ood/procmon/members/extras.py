"""Further ports of an app: ood listens there itself and hands raw connections on."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection
from functools import partial

from twisted.internet.interfaces import IReactorFDSet, IReactorTime

from ood.net.accept import Acceptor

LOOPBACK = "127.0.0.1"
EXTRA_PORTS_MAX = 16
"""Further ports of one app: metrics, a debugger, an old address; more is a mistake."""
PRIVILEGED_PORTS = 1024
"""Ports below are for root; ood is no way around that."""
BACKLOG = 511

Give = Callable[[int, socket.socket], bool]


def listen(port: int) -> socket.socket:
    """Return a socket that listens on the loopback port ``port``."""
    sock = socket.socket()
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((LOOPBACK, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


class ExtraPorts:
    """The further ports of one app."""

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        give: Give,
        remark: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._give = give
        self._remark = remark
        self._open: dict[int, Acceptor] = {}
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
            sock = listen(port)
            accepted = partial(self._accepted, port)
            self._open[port] = Acceptor(self._reactor, self._clock, sock, accepted)
        except OSError as error:
            self._failed.add(port)
            reason = error.strerror or os.strerror(error.errno or 0)
            self._remark(f"the app's port {port} is not served on {LOOPBACK}: {reason}")

    def _accepted(self, port: int, sock: socket.socket) -> None:
        if not self._give(port, sock):
            sock.close()

    def close(self) -> None:
        """Close all."""
        self.update((), privileged=False)
