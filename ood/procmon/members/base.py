"""What every kind of member has, and what those that take sockets share."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ood.interfaces import Refused, Upstream, Worker
from ood.procmon.members.scarce import Descriptors
from ood.procmon.members.servers import Servers

UNACKNOWLEDGED = 1 << 20
"""What one unacknowledged connection adds to the load: more than any number of open ones."""
BLOCKED = 1 << 50
"""What a stopped reader adds to the load: everyone else is preferred."""

Entry = tuple[socket.socket, Refused | None, int]
"""A connection that was handed over: its socket, whom to tell if nobody takes it (None: just
close it), and how often it was handed over before."""


class Owner(Protocol):
    """The worker that a member belongs to."""

    def member_changed(self) -> None:
        """A server of a member opened or closed, or a member drained."""

    def member_lost(self, member: SocketMember) -> None:
        """The process at the other end is gone."""

    def refused(self, member: SocketMember, entry: Entry) -> None:
        """A member did not take a connection; nothing was read from it."""

    def came_back(self, sock: socket.socket) -> None:
        """A draining member gave an idle connection back."""

    def ready(self) -> None:
        """The app said that it is ready."""

    def unfit(self, why: str) -> None:
        """The guard can't work in this Node."""

    def misbehaved(self, why: str) -> None:
        """A member broke the protocol."""

    def remark(self, text: str) -> None:
        """Tell the person who reads the app's log."""


class Member(Protocol):
    """What takes connections of an app.

    :ivar worker: the member as the proxy sees it.
    :ivar via: how connections reach it, for people.
    :ivar listening: whether there is a server behind it.
    :ivar short: whether it has no descriptors for connections.
    :ivar drained: after :meth:`drain`: whether nothing is open any more.
    :ivar left: after :meth:`leave`: whether its servers are closed.
    """

    worker: Worker
    via: str

    @property
    def listening(self) -> bool: ...  # noqa: D102

    @property
    def short(self) -> bool: ...  # noqa: D102

    @property
    def drained(self) -> bool: ...  # noqa: D102

    @property
    def left(self) -> bool: ...  # noqa: D102

    def connect(self) -> Upstream | None:
        """Open a new upstream connection to it."""

    def drain(self) -> None:
        """Ask it to finish what it has."""

    def leave(self) -> None:
        """Ask it to close its servers."""

    def close(self) -> None:
        """Have nothing more to do with it."""


class SocketMember(ABC):
    """A process that takes sockets and acknowledges them.

    :ivar load: what to compare when the least loaded one is looked for.
    :ivar pending: connections handed over and not acknowledged, oldest first.
    :ivar servers: its servers.
    :ivar descriptors: whether it has descriptors for connections.
    """

    via = ""

    def __init__(self, worker: Worker, owner: Owner, port: int, clock: IReactorTime) -> None:
        self.worker = worker
        self.owner = owner
        self.descriptors = Descriptors(clock, owner, worker.instance)
        self.servers = Servers(port)
        self.load = 0
        self.pending: dict[int, Entry] = {}

    @property
    def listening(self) -> bool:
        """Whether there is a server."""
        return bool(self.servers)

    @property
    def short(self) -> bool:
        """Whether it has no descriptors for connections."""
        return self.descriptors.lacking

    @property
    def unacknowledged(self) -> int:
        """How many connections it has not acknowledged."""
        return len(self.pending)

    @property
    @abstractmethod
    def drained(self) -> bool:
        """After :meth:`drain`: whether nothing is open any more."""

    @property
    @abstractmethod
    def left(self) -> bool:
        """After :meth:`leave`: whether its servers are closed."""

    @abstractmethod
    def give(self, sock: socket.socket, refused: Refused | None, tries: int = 0) -> bool:
        """Hand ``sock`` to the main server; False if it can't be, then nothing happened."""

    @abstractmethod
    def give_to(self, port: int, sock: socket.socket) -> bool:
        """Hand ``sock`` to the server that listens on ``port``."""

    @abstractmethod
    def drain(self) -> None:
        """Ask it to finish what it has."""

    @abstractmethod
    def leave(self) -> None:
        """Ask it to close its servers."""

    @abstractmethod
    def close(self) -> None:
        """Have nothing more to do with it."""

    def connect(self) -> Upstream | None:
        """Open a pipe into the process."""
        ours, theirs = socket.socketpair()
        if not self.give(theirs, None):
            ours.close()
            theirs.close()
            return None
        ours.setblocking(False)
        return Upstream(sock=ours, worker=self.worker, pipe=True)

    def take_pending(self) -> list[Entry]:
        """Return, and forget, what was not acknowledged: the process is gone."""
        entries = list(self.pending.values())
        self.pending.clear()
        return entries

    def settle(self, number: int) -> None:
        """Connection ``number`` is the process's own now: close our copy."""
        entry = self.pending.pop(number, None)
        if entry is not None:
            self.load -= UNACKNOWLEDGED
            entry[0].close()

    def refuse(self, number: int) -> None:
        """Connection ``number`` was not taken: someone else shall have it."""
        entry = self.pending.pop(number, None)
        if entry is not None:
            # it may have been counted as open, or not: the process told its count in between
            self.load -= UNACKNOWLEDGED + (self.load % UNACKNOWLEDGED > 0)
            self.owner.refused(self, entry)

    def drop(self, number: int) -> None:
        """The process had no descriptor for connection ``number``: someone else shall have it."""
        self.descriptors.lacked()
        self.refuse(number)

    def blocked_changed(self, blocked: bool) -> None:
        """The process stopped, or began again, to read."""
        self.load += BLOCKED if blocked else -BLOCKED

    def count_open(self, connections: int) -> None:
        """The process tells how many connections it has open."""
        self.load += connections - self.load % UNACKNOWLEDGED
