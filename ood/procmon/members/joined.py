"""A process that joined through the guard."""

from __future__ import annotations

import socket

from twisted.internet.interfaces import IReactorTime

from ood.interfaces import Refused, Worker
from ood.net.fdchannel import FdChannel, close_all
from ood.net.sealed import SealedSocket
from ood.procmon.core import join
from ood.procmon.core.lines import Lines, TooLongError
from ood.procmon.members.base import UNACKNOWLEDGED, Owner, SocketMember
from ood.procmon.members.servers import Server
from ood.procmon.members.told import Told
from ood.traffic.traffic import AppTraffic

LOOSE_DESCRIPTORS_MAX = 32
"""Descriptors whose message has not come: they come with its first byte, so few are loose."""
MESSAGES_PER_SECOND_MAX = 50_000
"""More is no guard: it sends 200 acknowledgements a second, and a line a connection."""
RATE_STALE_SECONDS = 2.5
"""Requests per second are of the past when no count has come for so long."""


class JoinedMember(SocketMember):
    """A process that joined.

    :ivar pid: its process id, from the kernel.
    :ivar stats: its last counts.
    :ivar told: what it tells of its requests.
    :ivar staying: connections that end only by themselves, as it said when it drained.
    """

    via = "guard"

    def __init__(
        self,
        worker: Worker,
        owner: Owner,
        port: int,
        *,
        channel: FdChannel,
        pid: int,
        clock: IReactorTime,
        traffic: AppTraffic,
    ) -> None:
        super().__init__(worker, owner, port, clock)
        self.pid = pid
        self.stats = join.Stats()
        self.told = Told(worker, traffic)
        self._rate = 0.0
        self._stats_at = clock.seconds()
        self._clock = clock
        self._channel = channel
        self._send = channel.send
        self._head = self._sealed_head = b""
        self._given = 0
        self._settled = 0
        self._drained = False
        self._heard = False
        self.staying = 0
        self._lines = Lines(join.MESSAGE_BYTES_MAX)
        self._descriptors: list[int] = []
        self._window = clock.seconds()
        self._messages = 0
        channel.received = self._received
        channel.lost = self._lost
        channel.blocked_changed = self.blocked_changed

    # -- to the process

    def give(self, sock: socket.socket, refused: Refused | None, tries: int = 0) -> bool:
        """Hand ``sock`` to the main server: the hot path, a few microseconds."""
        head = self._sealed_head if type(sock) is SealedSocket else self._head
        if not self._send(head, sock.fileno()):
            return False
        self._given = number = self._given + 1
        self.pending[number] = (sock, refused, tries)
        self.load += UNACKNOWLEDGED + 1
        return True

    def give_to(self, port: int, sock: socket.socket) -> bool:
        """Hand ``sock`` to the server that listens on ``port``."""
        server = self.servers.on(port)
        if server is None or not self._send(join.connection(int(server.name)), sock.fileno()):
            return False
        self._given += 1
        self.pending[self._given] = (sock, None, 0)
        self.load += UNACKNOWLEDGED + 1
        return True

    def tell_hosts(self, hosts: join.Hosts) -> None:
        """Tell the process which requests are its own."""
        self._send(join.encode_hosts(hosts))

    def watch(self, *, on: bool) -> None:
        """Have it write each request down before the app sees it, or cease to."""
        self._send(join.WATCH[on])

    def drain(self) -> None:
        """Ask it to finish what it has."""
        self._drained = False
        self._send(join.DRAIN)

    def leave(self) -> None:
        """Ask it to close its servers."""
        self._send(join.LEAVE)

    def close(self) -> None:
        """Have nothing more to do with it."""
        self._channel.close()
        self.descriptors.close()
        self.told.end()
        close_all(self._descriptors)
        self._descriptors.clear()
        self.servers.clear()

    @property
    def drained(self) -> bool:
        """Whether nothing but upgraded connections is open, and nothing on the way."""
        return not self.servers or (self._drained and not self.pending)

    @property
    def left(self) -> bool:
        """Whether its servers are closed."""
        return not self.servers

    def requests_per_second(self) -> float:
        """Return the requests of the last second."""
        stale = self._clock.seconds() - self._stats_at > RATE_STALE_SECONDS
        return 0.0 if stale else self._rate

    def silent_seconds(self) -> float:
        """Return how long its last sign of life is ago; 0 if it never gave one."""
        return self._clock.seconds() - self._stats_at if self._heard else 0.0

    # -- from the process

    def _lost(self) -> None:
        self.close()
        self.owner.member_lost(self)

    def _misbehaved(self, why: str) -> None:
        self._lost()
        self.owner.misbehaved(f"process {self.pid}: {why}")

    def _received(self, data: bytes, descriptors: list[int]) -> None:
        self._descriptors += descriptors
        try:
            for line in self._lines.feed(data):
                if not self._channel.open:
                    return
                self._line(line)
        except (join.InvalidMessageError, TooLongError) as error:
            self._misbehaved(str(error))
            return
        if len(self._descriptors) > LOOSE_DESCRIPTORS_MAX:
            self._misbehaved("it sent descriptors without a message")

    def _line(self, line: bytes) -> None:
        self._count_message()
        message = join.decode(line)
        match message:
            case join.Ack(n=number):
                self._acknowledged(number)
            case join.Nack(n=number, full=full):
                self._check(self._settled < number <= self._given, "nack out of order")
                self.drop(number) if full else self.refuse(number)
            case join.Back():
                self._back()
            case join.Stats():
                self._count(message)
            case join.Listening():
                self._listening(message)
            case join.Access():
                self.told.write(message, self._clock.seconds())
            case join.Close(id=server):
                self.servers.remove(server)
                self._servers_changed()
            case join.Drained(left=left):
                self._drained = True
                self.staying = left
                self.owner.member_changed()
            case join.Ready():
                self.owner.ready()
            case join.Unfit(why=why):
                self.owner.unfit(why)
            case join.Hello() | None:
                pass

    def _count_message(self) -> None:
        now = self._clock.seconds()
        if now - self._window > 1:
            self._window, self._messages = now, 0
        self._messages += 1
        self._check(self._messages <= MESSAGES_PER_SECOND_MAX, "it floods ood with messages")

    @staticmethod
    def _check(right: bool, problem: str) -> None:
        if not right:
            raise join.InvalidMessageError(problem)

    def _acknowledged(self, number: int) -> None:
        self._check(self._settled <= number <= self._given, "acknowledges what it did not get")
        for one in range(self._settled + 1, number + 1):
            self.settle(one)
        self._settled = number
        if not self.worker.accepting:
            self.owner.member_changed()  # a drain may wait for it

    def _back(self) -> None:
        self._check(bool(self._descriptors), "back without a descriptor")
        self.owner.came_back(socket.socket(fileno=self._descriptors.pop(0)))

    def _listening(self, message: join.Listening) -> None:
        plain = message.http and not message.tls
        self.servers.add(Server(message.id, message.port, plain))
        self._servers_changed()

    def _servers_changed(self) -> None:
        main = self.servers.main
        number = -1 if main is None else int(main.name)
        self._head = b"" if main is None else join.connection(number)
        self._sealed_head = b"" if main is None else join.connection(number, sealed=True)
        self.owner.member_changed()

    def _count(self, stats: join.Stats) -> None:
        now = self._clock.seconds()
        seconds = max(now - self._stats_at, 0.001)
        self._rate = max(stats.requests - self.stats.requests, 0) / seconds
        self._stats_at = now
        self._heard = True
        self.told.count(stats, now)
        self.stats = stats
        self.count_open(min(stats.connections, UNACKNOWLEDGED - 1))
