"""A worker that listens on a TCP port of its own: any program, not only Node."""

from __future__ import annotations

import errno
import random
import select
import socket

from ood.errors import WorkerError
from ood.interfaces import Upstream, Worker

FREE_PORT_FIRST = 20_000
"""First port that is given to a worker: above what services use."""
FREE_PORT_LAST = 32_767
"""Last one: from 32768 on the kernel takes ports for outgoing connections."""
FREE_PORT_TRIES = 200
"""Ports to try: so many taken ones in a row means that something is wrong."""
LOOPBACK = "127.0.0.1"


def connecting(port: int) -> tuple[socket.socket, int]:
    """Begin a connection to ``port`` on loopback; return socket and errno."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock, sock.connect_ex((LOOPBACK, port))


def accepts(port: int) -> bool:
    """Tell whether someone listens on ``port``; on loopback the answer is immediate."""
    sock, error = connecting(port)
    with sock:
        if error == errno.EINPROGRESS:
            done = select.poll()
            done.register(sock, select.POLLOUT)
            if not done.poll(0):
                return False
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return error == 0


def free_port(taken: frozenset[int], chance: random.Random) -> int:
    """Return a port that nobody listens on.

    :raises WorkerError: there is none.
    """
    for _ in range(FREE_PORT_TRIES):
        port = chance.randint(FREE_PORT_FIRST, FREE_PORT_LAST)
        if port in taken:
            continue
        with socket.socket() as sock:
            try:
                sock.bind(("", port))
            except OSError:
                continue
            return port
    raise WorkerError(
        f"no free port between {FREE_PORT_FIRST} and {FREE_PORT_LAST}",
        "see what listens there: ss -ltn",
    )


class PortMember:
    """A worker behind a TCP port.

    :ivar listening: whether the port was seen to accept.
    """

    via = "port"
    short = False  # it accepts for itself

    def __init__(self, worker: Worker, port: int) -> None:
        self.worker = worker
        self.port = port
        self.listening = False

    @property
    def drained(self) -> bool:
        """Whether the proxy has no connection to it any more."""
        return self.worker.pipes == 0

    @property
    def left(self) -> bool:
        """A port can't be asked to close; the stop signal does that."""
        return True

    def connect(self) -> Upstream | None:
        """Begin a connection to the port."""
        sock, error = connecting(self.port)
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            return None
        return Upstream(sock=sock, worker=self.worker, pipe=False)

    def drain(self) -> None:
        """Nothing to ask: the proxy stops to send requests."""

    def leave(self) -> None:
        """Nothing to ask."""

    def close(self) -> None:
        """Have nothing more to do with it."""
        self.listening = False
