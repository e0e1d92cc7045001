"""Connections that begin with the PROXY protocol: read up to the client's first byte."""

from __future__ import annotations

import socket
from typing import Protocol

import msgspec

from ood.proxy.arrivals import Arrival, HalfOpen, Head, Taker
from ood.proxy.context import Context, Incoming
from ood.proxy.core.rules.proxyprotocol import Greeting, read_greeting


class Looker(Taker, Protocol):
    """Who takes a connection whose header has been read."""

    def look(self, incoming: Incoming) -> None:
        """Look at the first bytes of a connection, now or when they come."""


class GreetedArrival(Arrival):
    """A connection of a balancer that tells whose it is, before its first byte.

    The header is taken off the socket, nothing else; what follows is looked at as on any
    connection.  It can't be handed off, for a worker would see the balancer's address.
    """

    __slots__ = ("_looker",)

    def __init__(
        self, context: Context, half_open: HalfOpen, looker: Looker, incoming: Incoming
    ) -> None:
        super().__init__(context, half_open, looker, incoming)
        self._looker = looker

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
        self._looker.look(incoming)

    def _give(self, head: Head, peeked: int) -> None:  # noqa: ARG002 - it is only called when late
        """Close: who tells nothing in time gets no answer, for none could be told to whom."""
        self.reset()
