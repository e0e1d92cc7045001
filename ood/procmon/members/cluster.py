"""A worker on Node's own cluster channel: needs no code of ours inside."""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IReactorTime

from ood.interfaces import Refused, Upstream, Worker
from ood.procmon.core import cluster
from ood.procmon.members.base import UNACKNOWLEDGED, Owner, SocketMember
from ood.procmon.members.servers import Server

KEYS_MAX = 64
"""Servers of one app that are remembered: as many as one process may have."""
PRIVILEGED_PORTS = 1024
"""Ports below are for root; ood is no way around that."""
LISTEN_BACKLOG = 511
"""What Node asks for by default."""

Send = Callable[[bytes, int], bool]


class SharedServers:
    """What the workers of one app have in common: real handles, and session ticket keys.

    :param privileged: tells whether the app runs as root.
    """

    def __init__(self, privileged: Callable[[], bool]) -> None:
        self._privileged = privileged
        self._sockets: dict[str, socket.socket] = {}
        self._data: dict[str, Any] = {}

    def data(self, query: cluster.Query) -> Any:
        """Return what the first worker said about this server, as Node's primary does."""
        if len(self._data) >= KEYS_MAX:
            return self._data.get(query.key, query.data)
        return self._data.setdefault(query.key, query.data)

    def handle(self, query: cluster.Query) -> socket.socket:
        """Return a real socket for UDP, or for TCP on any free port.

        :raises OSError: it can't be had; ``errno`` is for the worker.
        """
        sock = self._sockets.get(query.key)
        if sock is None:
            sock = self._sockets[query.key] = self._bind(query)
        return sock

    def _bind(self, query: cluster.Query) -> socket.socket:
        if 0 < query.port < PRIVILEGED_PORTS and not self._privileged():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if len(self._sockets) >= KEYS_MAX:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        six = query.address_type in (6, "udp6")
        udp = isinstance(query.address_type, str)
        kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
        sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind)
        try:
            sock.bind((query.address or ("::" if six else "0.0.0.0"), max(query.port, 0)))  # noqa: S104
            if not udp:
                sock.listen(LISTEN_BACKLOG)
        except OSError:
            sock.close()
            raise
        sock.setblocking(False)
        return sock

    def close(self) -> None:
        """Close every handle."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()
        self._data.clear()


@dataclass(frozen=True)
class _Asked:
    """What a later ``listening`` has in common with its query."""

    address: str | None
    address_type: int | str
    index: int


class ClusterMember(SocketMember):
    """A worker on the cluster channel."""

    via = "cluster"

    def __init__(
        self,
        worker: Worker,
        owner: Owner,
        port: int,
        *,
        send: Send,
        shared: SharedServers,
        clock: IReactorTime,
    ) -> None:
        super().__init__(worker, owner, port, clock)
        self._send = send
        self._shared = shared
        self._seq = 0
        self._on_the_way: deque[int | cluster.Query] = deque()
        self._asked: dict[_Asked, str] = {}

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    # -- to the process

    def give(self, sock: socket.socket, refused: Refused | None, tries: int = 0) -> bool:
        """Hand ``sock`` to the main server."""
        main = self.servers.main
        return main is not None and self._give(str(main.name), sock, refused, tries)

    def give_to(self, port: int, sock: socket.socket) -> bool:
        """Hand ``sock`` to the server that listens on ``port``."""
        server = self.servers.on(port)
        return server is not None and self._give(str(server.name), sock, None, 0)

    def _give(self, key: str, sock: socket.socket, refused: Refused | None, tries: int) -> bool:
        seq = self._next()
        if not self._send(cluster.new_connection(key, seq), sock.fileno()):
            return False
        self._on_the_way.append(seq)
        self.pending[seq] = (sock, refused, tries)
        self.load += UNACKNOWLEDGED + 1
        return True

    def connect(self) -> Upstream | None:
        """Open a pipe; nobody in the process takes the client's address from a header."""
        upstream = super().connect()
        if upstream is None:
            return None
        return Upstream(sock=upstream.sock, worker=self.worker, pipe=False)

    def drain(self) -> None:
        """Nothing to ask: without the guard connections can't move."""

    def leave(self) -> None:
        """Ask it to close its servers, finish and exit."""
        self._send(cluster.disconnect(self._next()), -1)

    def close(self) -> None:
        """Have nothing more to do with it."""
        self.descriptors.close()
        self.servers.clear()

    @property
    def drained(self) -> bool:
        """Whether nothing is on the way to it."""
        return not self.pending

    @property
    def left(self) -> bool:
        """Whether the process is gone: after ``disconnect`` it goes by itself."""
        return not self.servers

    # -- from the process

    def received(self, message: cluster.Message) -> None:
        """Take a message of the channel."""
        match message:
            case cluster.Query():
                self._answer(message)
            case cluster.Listening():
                self._listening(message)
            case cluster.Close(key=key):
                self.servers.remove(key)
                self.owner.member_changed()
            case cluster.ExitedAfterDisconnect(seq=seq):
                self._send(cluster.acknowledge(seq), -1)
            case cluster.Ack(seq=seq, accepted=True):
                self.settle(seq)
                self.owner.member_changed()
            case cluster.Ack(seq=seq):
                self.refuse(seq)
            case cluster.Received(arrived=arrived):
                self._received_descriptor(arrived)
            case _:
                pass

    def _answer(self, query: cluster.Query) -> None:
        data = self._shared.data(query)
        if query.address_type in (4, 6) and query.port > 0:
            if len(self._asked) < KEYS_MAX:
                asked = _Asked(query.address, query.address_type, query.index)
                self._asked[asked] = query.key
            self._send(cluster.listen_reply(query, self._next(), data), -1)
            return
        try:
            # A unix path would be bound by root wherever the app likes: never.
            if query.address_type == -1 or query.fd is not None:
                raise OSError(errno.EOPNOTSUPP, "")
            sock = self._shared.handle(query)
        except (OSError, UnicodeError, OverflowError) as error:
            number = getattr(error, "errno", None) or errno.EINVAL
            self._send(cluster.error_reply(query, self._next(), number), -1)
            return
        if self._send(cluster.shared_reply(query, self._next(), data), sock.fileno()):
            self._on_the_way.append(query)

    def _received_descriptor(self, arrived: bool) -> None:
        """Node answers each descriptor in turn; one it had no room for is lost."""
        sent = self._on_the_way.popleft() if self._on_the_way else None
        if arrived or sent is None:
            return
        if isinstance(sent, int):
            self.drop(sent)
        else:
            self._send(cluster.error_reply(sent, self._next(), errno.EMFILE), -1)

    def _listening(self, message: cluster.Listening) -> None:
        key = self._asked.get(_Asked(message.address, message.address_type, message.index))
        if key is not None and self.servers.add(Server(key, message.port)):
            self.owner.member_changed()

    def lost(self) -> None:
        """The channel ended."""
        self.close()
        self.owner.member_lost(self)
