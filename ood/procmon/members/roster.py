"""An app's members: who gets the next connection, and who gets what another one left."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from operator import attrgetter

from ood.interfaces import Refused, Upstream, Worker
from ood.procmon.members.base import BLOCKED, Entry, Member, SocketMember
from ood.procmon.system.untouched import untouched
from ood.rendezvous import by_key

TRIES_MAX = 5
"""How often one connection is handed over: an app whose workers all refuse is no help."""

_load = attrgetter("load")
_pipes = attrgetter("worker.pipes")


class Roster:
    """The members of one app."""

    def __init__(self, app: str) -> None:
        self.app = app
        self.sockets: list[SocketMember] = []
        self.streams: list[Member] = []
        self.all: list[Member] = []

    def add(self, member: Member) -> None:
        """Note a new member; it accepts nothing yet."""
        member.worker.accepting = False
        self.all.append(member)

    def remove(self, member: Member) -> None:
        """Forget a member, and give what it had not acknowledged to others."""
        if member not in self.all:
            return
        self.all.remove(member)
        self.accept(member, False)
        if isinstance(member, SocketMember):
            for entry in member.take_pending():
                self._again(entry)

    def accept(self, member: Member, accepting: bool) -> None:
        """Set whether ``member`` gets new connections."""
        member.worker.accepting = accepting
        self.streams = [one for one in self.all if one.worker.accepting]
        self.sockets = [one for one in self.streams if isinstance(one, SocketMember)]

    def workers(self) -> list[Worker]:
        """Return those that take requests, also if only of clients that stay with them."""
        workers = (member.worker for member in self.all)
        return [one for one in workers if one.accepting or one.lingers]

    def hand_off(self, sock: socket.socket, refused: Refused, key: bytes | None = None) -> bool:
        """Give ``sock`` to the member that ``key`` belongs to, or that has the least to do."""
        members = self.sockets
        if not members:
            return False
        if len(members) == 1:
            member = members[0]
        elif key is None:
            member = min(members, key=_load)
        else:
            worker = by_key([one.worker for one in members], key)
            member = next(one for one in members if one.worker is worker)
        if member.give(sock, refused):
            return True
        self._failed(member)
        return self._give(members, (sock, refused, 0), member)

    def _give(
        self, members: Iterable[SocketMember], entry: Entry, without: SocketMember | None
    ) -> bool:
        sock, refused, tries = entry
        for member in sorted((one for one in members if one is not without), key=_load):
            if member.give(sock, refused, tries):
                return True
            self._failed(member)
        return False

    def _failed(self, member: Member) -> None:
        """``member`` could not be given anything.

        If it is not just slow to read, its process is gone, which the end of its channel
        will say in a moment: until then nobody shall take it for a worker.
        """
        if isinstance(member, SocketMember) and member.load < BLOCKED:
            self.accept(member, False)

    def refused(self, member: SocketMember, entry: Entry) -> None:
        """``member`` did not take a connection, from which nothing was read."""
        sock, refused, tries = entry
        if tries < TRIES_MAX and self._give(self.sockets, (sock, refused, tries + 1), member):
            return
        self._give_up(sock, refused)

    def _again(self, entry: Entry) -> None:
        """Dispatch anew what a dead member had got."""
        sock, refused, tries = entry
        if refused is None or not untouched(sock):
            sock.close()  # a request that was begun is lost with its worker
            return
        if tries < TRIES_MAX and self._give(self.sockets, (sock, refused, tries + 1), None):
            return
        self._give_up(sock, refused)

    def _give_up(self, sock: socket.socket, refused: Refused | None) -> None:
        if refused is None:
            sock.close()
        else:
            refused(self.app, sock)

    def connect(self, worker: Worker | None = None) -> Upstream | None:
        """Open an upstream connection to ``worker``, or else to the member with the fewest."""
        members = (
            sorted(self.streams, key=_pipes)
            if worker is None
            else [one for one in self.all if one.worker is worker]
        )
        for member in members:
            upstream = member.connect()
            if upstream is not None:
                return upstream
            self._failed(member)
        return None

    def takes_sockets(self, *, alone: bool) -> bool:
        """Tell whether sockets may be handed over; only a guard checks each Host."""
        members = self.sockets
        return bool(members) and (alone or all(one.via == "guard" for one in members))

    def on_port(self, port: int, sock: socket.socket) -> bool:
        """Give ``sock`` to a server on an extra port."""
        having = [one for one in self.sockets if one.servers.on(port) is not None]
        return any(member.give_to(port, sock) for member in sorted(having, key=_load))
