"""Connections to workers: opened, kept alive between requests, shared out."""

from __future__ import annotations

import errno
import select
import socket
from typing import Protocol

from twisted.internet.interfaces import IReactorFDSet

from ood.interfaces import IWorkerPool, Upstream, Worker
from ood.net.stream import DONTWAIT, Stream, WriteFirstError
from ood.proxy import limits
from ood.proxy.core.trust import told
from ood.proxy.live import NEVER, TICK_SECONDS, Live

PIPE = "pipe"
"""The way of what goes into a worker itself."""
TCP = "tcp"
"""The way of what goes to a port of the app's own."""


class UpstreamUser(Protocol):
    """Who uses an upstream connection: an exchange or a tunnel."""

    def upstream_connected(self) -> None:
        """Learn that the connection is established."""

    def upstream_received(self, data: bytes) -> None:
        """Take what the upstream sent."""

    def upstream_ended(self) -> None:
        """Learn that the upstream sends no more; the connection is still there."""

    def upstream_drained(self) -> None:
        """Learn that the upstream takes more."""

    def upstream_failed(self) -> None:
        """Learn that the connection broke, or was not made; it is closed."""


class UpstreamConnection(Stream):
    """One connection to a worker, used by one request after another.

    :ivar worker: the worker at its other end.
    :ivar pipe: it is a unix pipe into the worker.
    :ivar way: what that is called.
    :ivar instance: the worker's number.
    :ivar user: who uses it now; None while it is idle.
    :ivar head: a request's head that is sent along with what follows it.
    :ivar used: how many requests it has served before the present one.
    :ivar late: it was given up because it was not ready in time.
    """

    __slots__ = (
        "_handshake",
        "_lane",
        "_poll",
        "_upstreams",
        "deadline",
        "head",
        "idle_limit",
        "idle_since",
        "instance",
        "late",
        "pipe",
        "used",
        "user",
        "way",
        "worker",
    )

    def __init__(
        self, upstreams: Upstreams, lane: Lane, upstream: Upstream, connecting: bool
    ) -> None:
        self._handshake = handshake = upstream.agreement
        reactor, sock = upstreams.reactor, upstream.sock
        super().__init__(reactor, sock, connecting=connecting, agreement=handshake)
        self._upstreams = upstreams
        self._lane = lane
        self._poll = select.poll()  # a third of what it costs to try to read
        self._poll.register(sock.fileno(), select.POLLIN)
        self.worker = upstream.worker
        self.pipe = upstream.pipe
        self.way = PIPE if upstream.pipe else TCP
        self.instance = upstream.worker.instance
        self.user: UpstreamUser | None = None
        self.head = b""
        self.used = 0
        self.late = False
        self.idle_since = 0.0
        self.idle_limit = limits.UPSTREAM_IDLE_SECONDS
        self.deadline = NEVER

    def agreeing(self) -> None:
        """Give the handshake its time."""
        self.deadline = self._upstreams.handshake_deadline()

    def connected(self) -> None:
        """Begin to read, and tell the user."""
        self.deadline = NEVER
        self.resume_reading()
        if self.user is not None:
            self.user.upstream_connected()

    def received(self, data: bytes) -> None:
        """Give the user what was read; nobody is to be sent anything unasked."""
        if self.user is None:
            self.close()
        else:
            self.user.upstream_received(data)

    def ended(self) -> None:
        """Tell the user, or close."""
        if self.user is None:
            self.close()
        else:
            self.user.upstream_ended()

    def drained(self) -> None:
        """Tell the user."""
        if self.user is not None:
            self.user.upstream_drained()

    def failed(self) -> None:
        """Tell the user."""
        if self.user is not None:
            self.user.upstream_failed()

    def gone(self) -> None:
        """Leave the counts."""
        self.user = None
        self._upstreams.gone(self, self._lane)

    def expired(self) -> None:
        """Give up connecting, or close what was idle for long."""
        user, self.late = self.user, self.connecting
        self.close()
        if user is not None:
            user.upstream_failed()

    def drain(self) -> None:
        """Close if idle; what is in use is closed by its user."""
        if self.user is None:
            self.close()

    @property
    def trouble(self) -> str:
        """What TLS says of why it failed, for people; empty if TLS has nothing to say."""
        if self.late and self._agreement is not None and self._agreement.begun:
            return f"its TLS handshake took longer than {limits.UPSTREAM_HANDSHAKE_SECONDS:g} s"
        if self.error is None or self.error.errno != errno.EPROTO:
            return ""
        return told(str(self.error.strerror))

    def send(self, data: bytes = b"") -> None:
        """Send :attr:`head` and ``data``, which may be large, in one system call if possible."""
        head, self.head = self.head, b""
        if not (head and data) or self._out or self.connecting or self.closed or self._handshake:
            if head:
                self.write(head)
            if data:
                self.write(data)
            return
        try:
            sent = self.sock.sendmsg((head, data), (), DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.broken = True
            return
        size = len(head)
        if sent < size:
            self._queue(memoryview(head)[sent:])
            self._queue(data)
        elif sent < size + len(data):
            self._queue(memoryview(data)[sent - size :])

    def stale(self) -> bool:
        """Tell whether the upstream has closed already, or has sent what nobody asked for.

        The reactor may not have told yet; what is there would be taken for the next answer.
        """
        return bool(self._poll.poll(0)) and not (self._handshake and self._is_silent())

    def _is_silent(self) -> bool:
        """Tell whether what has come is TLS's own: tickets for the next session."""
        try:
            self.sock.recv(1)
        except WriteFirstError:
            return False
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def release(self, idle_timeout: int | None) -> None:
        """Make the connection available for another request.

        :param idle_timeout: seconds after which the upstream closes it, if it said so.
        """
        self.user = None
        if self._handshake is not None and not self.used:
            self._handshake.keep()
        self.used += 1
        if idle_timeout is not None:
            margin = idle_timeout - limits.UPSTREAM_IDLE_MARGIN_SECONDS
            self.idle_limit = min(limits.UPSTREAM_IDLE_SECONDS, margin)
        self.resume_reading()
        self._upstreams.released(self, self._lane)


class Lane:
    """The connections to one worker, which itself knows how many are in use.

    :ivar idle: those that wait for a request; the last one used is the last.
    """

    __slots__ = ("idle", "lanes", "worker")

    def __init__(self, worker: Worker, lanes: AppLanes) -> None:
        self.worker = worker
        self.lanes = lanes
        self.idle: list[UpstreamConnection] = []

    def close_idle(self) -> None:
        """Close what waits for requests."""
        for connection in list(self.idle):
            connection.close()


class AppLanes:
    """The connections to one app's workers.

    :ivar next_probe: when a connection is opened even though idle ones exist.
    """

    __slots__ = ("lanes", "next_probe", "total")

    def __init__(self) -> None:
        self.lanes: dict[Worker, Lane] = {}
        self.next_probe = 0.0
        self.total = 0


class Upstreams:
    """All connections to workers."""

    def __init__(self, reactor: IReactorFDSet, live: Live, pool: IWorkerPool) -> None:
        self.reactor = reactor
        self._live = live
        self._pool = pool
        self._apps: dict[str, AppLanes] = {}
        self.draining = False

    def take(
        self, app: str, worker: Worker | None = None, *, fresh: bool = False
    ) -> UpstreamConnection | None:
        """Return a connection to a worker of ``app``; None if there is none.

        :param worker: the worker to connect to; None is the least busy one.
        :param fresh: do not take one that was used before.
        """
        lanes = self._apps.get(app)
        if lanes is None:
            lanes = self._apps[app] = AppLanes()
        if worker is not None:
            lane = lanes.lanes.get(worker)
            found = None if fresh or lane is None else self._idle(lane)
            return found or self._connect(app, lanes, worker)
        if fresh or self._live.now >= lanes.next_probe:
            lanes.next_probe = self._live.now + limits.PROBE_SECONDS
            return self._connect(app, lanes) or self._reuse(lanes)
        return self._reuse(lanes) or self._connect(app, lanes)

    def idle(self, app: str) -> UpstreamConnection | None:
        """Return a connection that was used before; None if there is none, or a new one is due."""
        lanes = self._apps.get(app)
        if lanes is None or self._live.now >= lanes.next_probe:
            return None
        connection = self._reuse(lanes)
        if connection is not None and connection.stale():
            connection.close()
            return None
        return connection

    def _reuse(self, lanes: AppLanes) -> UpstreamConnection | None:
        best: Lane | None = None
        leaving: Lane | None = None
        for lane in lanes.lanes.values():
            if not lane.worker.accepting:
                leaving = lane
            elif best is None or lane.worker.busy < best.worker.busy:
                best = lane
        if leaving is not None:
            leaving.close_idle()
        return None if best is None else self._idle(best)

    def _idle(self, lane: Lane) -> UpstreamConnection | None:
        """Return a connection that waits for a request, the one that was used last."""
        while lane.idle:
            connection = lane.idle.pop()
            if connection.deadline > self._live.now:
                connection.deadline = NEVER
                lane.worker.busy += 1
                return connection
            lane.idle.append(connection)
            connection.close()
        return None

    def _connect(
        self, app: str, lanes: AppLanes, wanted: Worker | None = None
    ) -> UpstreamConnection | None:
        if lanes.total >= limits.UPSTREAMS_PER_APP_MAX:
            return None
        upstream = self._pool.connect(app, wanted)
        if upstream is None:
            return None
        worker = upstream.worker
        lane = lanes.lanes.get(worker)
        if lane is None:
            lane = lanes.lanes[worker] = Lane(worker, lanes)
        return self._open(upstream, lanes, lane)

    def _open(self, upstream: Upstream, lanes: AppLanes, lane: Lane) -> UpstreamConnection:
        connection = UpstreamConnection(self, lane, upstream, not upstream.pipe)
        if upstream.pipe:
            connection.resume_reading()
        else:
            if upstream.sock.family != socket.AF_UNIX:
                upstream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.deadline = self._live.now + limits.CONNECT_SECONDS
        upstream.worker.pipes += 1
        upstream.worker.busy += 1
        lanes.total += 1
        self._live.add(connection)
        return connection

    def handshake_deadline(self) -> float:
        """Return when a handshake that begins now has to be complete."""
        return self._live.now + limits.UPSTREAM_HANDSHAKE_SECONDS

    def released(self, connection: UpstreamConnection, lane: Lane) -> None:
        """Take back a connection whose exchange is complete."""
        if self.draining or not lane.worker.accepting:
            connection.close()
            return
        lane.worker.busy -= 1
        # ``now`` is up to one tick behind when it is compared: be early rather than late
        connection.deadline = self._live.now + connection.idle_limit - TICK_SECONDS
        lane.idle.append(connection)

    def gone(self, connection: UpstreamConnection, lane: Lane) -> None:
        """Forget a connection that is closed."""
        self._live.discard(connection)
        lanes = lane.lanes
        lanes.total -= 1
        lane.worker.pipes -= 1
        if connection in lane.idle:
            lane.idle.remove(connection)
        else:
            lane.worker.busy -= 1
        if not lane.worker.busy and not lane.idle:
            lanes.lanes.pop(lane.worker, None)
