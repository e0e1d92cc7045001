"""Connections that begin with the PROXY protocol: read up to the client's first byte."""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec

from ood.proxy.arrivals import Arrival, HalfOpen, Head
from ood.proxy.context import Context, Incoming
from ood.proxy.core.rules.proxyprotocol import Greeting, read_greeting


class GreetedArrival(Arrival):
    """A connection of a balancer that tells whose it is, before its first byte.

    The header is taken off the socket, nothing else; what follows is as on any connection.
    It can't be handed off, for a worker would see the balancer's address.

    :param then: takes the connection after that.
    """

    __slots__ = ("_then",)

    def __init__(
        self,
        context: Context,
        half_open: HalfOpen,
        incoming: Incoming,
        then: Callable[[Incoming], None],
    ) -> None:
        super().__init__(context, half_open, self, incoming)
        self._then = then

    def begin(self) -> None:
        """Wait for the header, which mostly is there."""
        self.wait(0)

    def _looked(self, data: bytes) -> None:
        try:
            greeting = read_greeting(data)
        except ValueError as error:
            self._context.sites.ungreeted(self.address, str(error))
            self.reset()
            return
        if greeting is None:
            self._expect_more_than(len(data))
        else:
            self._greeted(greeting)

    def _greeted(self, greeting: Greeting) -> None:
        self._leave()
        self._expect_more_than(0)
        incoming = self._incoming
        try:
            incoming.sock.recv(greeting.length, socket.MSG_DONTWAIT)
        except OSError:
            incoming.sock.close()
            return
        if greeting.address:
            address = (greeting.address, greeting.port)
            incoming = msgspec.structs.replace(incoming, address=address, proxied=True)
        self._then(incoming)

    def take(self, incoming: Incoming, head: Head, peeked: int) -> None:  # noqa: ARG002 - a Taker
        """Close what was too late: there is nobody yet whom an answer could be told."""
        incoming.sock.close()
