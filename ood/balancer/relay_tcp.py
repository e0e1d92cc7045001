"""The relay for TCP: two sockets a connection, and data passed between them."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from struct import Struct

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ood.balancer.core.meter import Meter
from ood.balancer.core.pool import Connection
from ood.balancer.core.state import VirtualKey, VirtualSettings
from ood.balancer.core.targets import Target
from ood.balancer.direction import Direction
from ood.balancer.pipes import PipeStock
from ood.balancer.poller import ENDED, FAILED, READABLE, REREAD, WRITABLE
from ood.balancer.relay import Relay, RelayContext, bound_socket, host_of

BACKLOG_CONNECTIONS = 4096
"""Connections that wait to be accepted; the kernel caps it by net.core.somaxconn."""

ACCEPTS_PER_TURN = 64
"""Connections accepted before others get a turn."""

PAUSE_SECONDS = 0.5
"""How long a service does not accept when the machine is out of descriptors."""

_LINGER = Struct("ii").pack(1, 0)
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Tunnel:
    """One client's connection and the one to its server."""

    __slots__ = (
        "_back",
        "_client",
        "_closed",
        "_early",
        "_forth",
        "_hold",
        "_meter",
        "_relay",
        "_server",
        "connected",
        "used",
    )

    def __init__(
        self, relay: TcpRelay, client: socket.socket, server: socket.socket, hold: Connection
    ) -> None:
        self._relay = relay
        self._client = client
        self._server = server
        self._hold = hold
        self._meter: Meter = relay.meter_of(hold.target)
        pipes = relay.pipes
        self._forth = Direction(client, server, pipes)
        self._back = Direction(server, client, pipes)
        self.connected = False
        self._closed = False
        self._early = 0
        self.used = relay.now

    @property
    def target(self) -> Target:
        """Return the server that was chosen."""
        return self._hold.target

    def begin(self) -> None:
        """Watch both sockets."""
        poller = self._relay.context.poller
        poller.watch(self._client, self._client_event)
        poller.watch(self._server, self._server_event)

    def _client_event(self, events: int) -> None:
        if self.connected:
            self._event(events, self._forth, self._back)
        else:
            self._early |= events  # an edge is reported once

    def _server_event(self, events: int) -> None:
        if self.connected:
            self._event(events, self._back, self._forth)
            return
        if not events & (WRITABLE | ENDED):
            return
        if self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.abort()
            return
        self.connected = True
        self._relay.connected(self)
        if self._early & READABLE:
            self._event(self._early, self._forth, self._back)
        if events & READABLE:
            self._event(events, self._back, self._forth)

    def _event(self, events: int, inward: Direction, outward: Direction) -> None:
        """Pass data on after an event of the socket that ``inward`` reads from."""
        if self._closed:
            return
        self.used = self._relay.now
        try:
            done = True
            if events & READABLE:
                done = inward.pump(ended=bool(events & ENDED))
            if events & WRITABLE and outward.blocked:
                done = outward.pump(ended=True) and done
            if not done:
                self._relay.context.poller.again(self._resume)
        except OSError:
            self.abort()
            return
        if inward.finished and outward.finished:
            self.close()
        elif events & FAILED:
            self.abort()  # a side that had ended before was reset since

    def _resume(self) -> None:
        self._event(REREAD, self._forth, self._back)
        self._event(REREAD, self._back, self._forth)

    def abort(self) -> None:
        """End both connections with a reset, as the other side would see it directly."""
        if not self._closed:
            for sock in (self._client, self._server):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        self.close()

    def close(self) -> None:
        """End both connections and count them."""
        if self._closed:
            return
        self._closed = True
        poller = self._relay.context.poller
        for direction in (self._forth, self._back):
            direction.close()
        self.account()
        poller.release(self._client)
        poller.release(self._server)
        self._hold.release()
        self._relay.ended(self)

    def account(self) -> None:
        """Count what was passed on since the last time; what is idle needs no pipe."""
        for meter in (self._meter, self._relay.meter):
            meter.bytes_in += self._forth.moved
            meter.packets_in += self._forth.pieces
            meter.bytes_out += self._back.moved
            meter.packets_out += self._back.pieces
        for direction in (self._forth, self._back):
            if not direction.moved:
                direction.rest()
            direction.moved = direction.pieces = 0


class TcpRelay(Relay):
    """A TCP service: accepts, chooses, connects, passes on."""

    log = Logger()

    def __init__(self, key: VirtualKey, settings: VirtualSettings, context: RelayContext) -> None:
        super().__init__(key, settings, context)
        self.pipes = PipeStock()
        self.now = context.clock.seconds()
        self._tunnels: set[Tunnel] = set()
        self._connecting: set[Tunnel] = set()
        self._paused: IDelayedCall | None = None
        self._listener = bound_socket(key, socket.SOCK_STREAM)
        self._listener.listen(BACKLOG_CONNECTIONS)
        context.poller.listen(self._listener, self._accept)

    def _accept(self, _events: int) -> None:
        self.now = self.context.clock.seconds()
        for _ in range(ACCEPTS_PER_TURN):
            try:
                client, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(error)
                    return
                continue  # the client gave up while it waited
            self._connect(client, address[0], address[1])

    def _pause(self, error: OSError) -> None:
        self.log.error(
            "No connection is accepted for {seconds} s: {reason}; raise the limit of open files",
            seconds=PAUSE_SECONDS,
            reason=error.strerror,
        )
        self.context.poller.pause(self._listener)
        self._paused = self.context.clock.callLater(PAUSE_SECONDS, self._unpause)

    def _unpause(self) -> None:
        self._paused = None
        self.context.poller.listen(self._listener, self._accept)

    def _connect(self, client: socket.socket, host: str, port: int) -> None:
        hold = self.pool.open(self.flow(host, port, self.now))
        if hold is None:
            _reset(client)
            return
        try:
            server = self._dial(hold.target)
        except OSError:
            hold.release()
            _reset(client)
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hold.established()
        tunnel = Tunnel(self, client, server, hold)
        self._tunnels.add(tunnel)
        self._connecting.add(tunnel)
        self.meter.connections += 1
        self.meter_of(hold.target).connections += 1
        tunnel.begin()

    def _dial(self, target: Target) -> socket.socket:
        # ood's apps answer on 127.0.0.1, also for a service with an IPv6 address
        family = socket.AF_INET if len(target.address) == 4 else socket.AF_INET6
        server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        address = self._addresses.get(target)
        if address is None:
            address = self._addresses[target] = (host_of(target.address), target.port)
        error = server.connect_ex(address)
        if error not in {0, errno.EINPROGRESS}:
            server.close()
            raise OSError(error, os.strerror(error))
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server

    def connected(self, tunnel: Tunnel) -> None:
        """Note that a tunnel's server has answered."""
        self._connecting.discard(tunnel)

    def ended(self, tunnel: Tunnel) -> None:
        """Note that a tunnel is over."""
        self._tunnels.discard(tunnel)
        self._connecting.discard(tunnel)

    def sweep(self, now: float) -> None:
        """End servers' silences and idle connections."""
        self.now = now
        timeouts = self.context.timeouts
        for tunnel in list(self._connecting):
            if now - tunnel.used > timeouts.connect_seconds:
                tunnel.abort()
        for tunnel in list(self._tunnels):
            tunnel.account()
            if now - tunnel.used > timeouts.tcp_seconds:
                tunnel.abort()
        super().sweep(now)

    def end(self, chosen: Callable[[Target], bool]) -> None:
        """End the connections whose target is chosen."""
        for tunnel in [tunnel for tunnel in self._tunnels if chosen(tunnel.target)]:
            tunnel.abort()
        self._addresses = {
            target: address for target, address in self._addresses.items() if not chosen(target)
        }

    def close(self) -> None:
        """Stop listening and end every connection."""
        if self._paused is not None:
            self._paused.cancel()
        self.context.poller.release(self._listener)
        super().close()
        self.pipes.close()


def _reset(client: socket.socket) -> None:
    """Turn a client away: the nearest thing to the kernel's refusal."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    client.close()
