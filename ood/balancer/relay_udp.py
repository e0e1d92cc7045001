"""The relay for UDP: one socket a flow, so that answers find their way back.

A flow is a client's address and port; it lasts until nothing was sent either
way for the time-out.  With the flag ``one-packet`` every datagram is scheduled
by itself, and a flow is a client and a server.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.logger import Logger

from ood.balancer.core.meter import Meter
from ood.balancer.core.pool import Connection
from ood.balancer.core.state import VirtualKey, VirtualSettings
from ood.balancer.core.targets import Target
from ood.balancer.poller import READABLE
from ood.balancer.relay import Relay, RelayContext, bound_socket, host_of

DATAGRAM_BYTES = 65535
"""The largest that UDP can carry."""

DATAGRAMS_PER_TURN = 64
"""Datagrams passed on for one socket before others get a turn."""

MOST_FLOWS = 10_000
"""Flows of one service; each holds a descriptor, and clients can forge addresses."""

FlowKey = tuple[object, ...]


class UdpFlow:
    """One client's datagrams to one server, and the answers."""

    __slots__ = ("_relay", "client", "hold", "key", "meter", "sock", "target", "used")

    def __init__(
        self,
        relay: UdpRelay,
        key: FlowKey,
        client: tuple[object, ...],
        target: Target,
        hold: Connection | None,
    ) -> None:
        self._relay = relay
        self.key = key
        self.client = client
        self.target = target
        self.hold = hold
        self.meter: Meter = relay.meter_of(target)
        self.used = relay.context.clock.seconds()
        self.sock = socket.socket(relay.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self.sock.connect((host_of(target.address), target.port))
        except OSError:
            self.sock.close()
            raise
        relay.context.poller.watch(self.sock, self._answers)

    def forth(self, data: bytes, now: float) -> None:
        """Send a client's datagram to the server."""
        self.used = now
        try:
            self.sock.send(data)
        except OSError:
            return  # as anywhere on the way, a datagram that can't be sent is lost
        for meter in (self.meter, self._relay.meter):
            meter.packets_in += 1
            meter.bytes_in += len(data)

    def _answers(self, events: int) -> None:
        if not events & READABLE:
            return
        for _ in range(DATAGRAMS_PER_TURN):
            try:
                data = self.sock.recv(DATAGRAM_BYTES)
            except OSError as error:
                if isinstance(error, BlockingIOError):
                    return
                continue  # the server's host refused an earlier datagram
            self._back(data)
        self._relay.context.poller.again(self._more)

    def _more(self) -> None:
        if self.sock.fileno() >= 0:
            self._answers(READABLE)

    def _back(self, data: bytes) -> None:
        self.used = self._relay.context.clock.seconds()
        if not self._relay.answer(data, self.client):
            return
        for meter in (self.meter, self._relay.meter):
            meter.packets_out += 1
            meter.bytes_out += len(data)

    def close(self) -> None:
        """End the flow."""
        self._relay.context.poller.release(self.sock)
        if self.hold is not None:
            self.hold.release()


class UdpRelay(Relay):
    """A UDP service: receives, chooses, sends on."""

    log = Logger()

    def __init__(self, key: VirtualKey, settings: VirtualSettings, context: RelayContext) -> None:
        super().__init__(key, settings, context)
        self._flows: dict[FlowKey, UdpFlow] = {}
        self._sock = bound_socket(key, socket.SOCK_DGRAM)
        context.poller.listen(self._sock, self._receive)

    @property
    def family(self) -> socket.AddressFamily:
        """Return the address family of clients and servers."""
        return self._family

    def _receive(self, _events: int) -> None:
        now = self.context.clock.seconds()
        for _ in range(DATAGRAMS_PER_TURN):
            try:
                data, client = self._sock.recvfrom(DATAGRAM_BYTES)
            except OSError:
                return
            flow = self._flow(client, now)
            if flow is not None:
                flow.forth(data, now)

    def _flow(self, client: tuple[object, ...], now: float) -> UdpFlow | None:
        single = "one-packet" in self.pool.settings.flag_names()
        if not single and client in self._flows:
            return self._flows[client]
        hold = self.pool.open(self.flow(str(client[0]), int(str(client[1])), now))
        if hold is None:
            return None
        self.meter.connections += 1
        self.meter_of(hold.target).connections += 1
        if not single:
            return self._open(client, client, hold.target, hold)
        hold.release()  # the kernel forgets the connection with its packet
        key = (client, hold.target)
        return self._flows.get(key) or self._open(key, client, hold.target, None)

    def _open(
        self, key: FlowKey, client: tuple[object, ...], target: Target, hold: Connection | None
    ) -> UdpFlow | None:
        try:
            if len(self._flows) >= MOST_FLOWS:
                raise OSError(f"{MOST_FLOWS} flows are open")
            flow = UdpFlow(self, key, client, target, hold)
        except OSError as error:
            self.log.warn("A datagram from {client} is lost: {error}", client=client, error=error)
            if hold is not None:
                hold.release()
            return None
        self._flows[key] = flow
        return flow

    def answer(self, data: bytes, client: tuple[object, ...]) -> bool:
        """Send a server's datagram to the client; return whether it was sent."""
        try:
            self._sock.sendto(data, client)
        except OSError:
            return False
        return True

    def sweep(self, now: float) -> None:
        """End idle flows."""
        limit = now - self.context.timeouts.udp_seconds
        self._close([flow for flow in self._flows.values() if flow.used < limit])
        super().sweep(now)

    def _close(self, flows: list[UdpFlow]) -> None:
        for flow in flows:
            del self._flows[flow.key]
            flow.close()

    def end(self, chosen: Callable[[Target], bool]) -> None:
        """End the flows whose target is chosen."""
        self._close([flow for flow in self._flows.values() if chosen(flow.target)])

    def close(self) -> None:
        """Stop receiving and end every flow."""
        self.context.poller.release(self._sock)
        super().close()
