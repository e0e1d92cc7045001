"""Addresses of servers elsewhere; names are looked up in a thread."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from ood.model.upstreams import Place

_UNDER_WAY = (0, errno.EINPROGRESS)


@dataclass(frozen=True)
class Address:
    """An address that a socket connects to.

    :ivar where: what ``connect`` takes.
    """

    family: socket.AddressFamily
    where: Any


def begin(address: Address) -> socket.socket:
    """Return a non-blocking socket that connects, or has connected.

    :raises OSError: it can't, as is known at once.
    """
    sock = socket.socket(address.family)
    sock.setblocking(False)
    error = sock.connect_ex(address.where)
    if error not in _UNDER_WAY:
        sock.close()
        raise OSError(error, os.strerror(error))
    return sock


def known(place: Place) -> tuple[Address, ...]:
    """Return the address of a place that needs no look-up; nothing if it is a name."""
    if place.path:
        return (Address(socket.AF_UNIX, place.path),)
    if not place.literal:
        return ()
    return (_address(place.host, place.port),)


def _address(host: str, port: int) -> Address:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return Address(family, (host, port))


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self) -> None:
        self.found: list[Address] = []
        self.done: Deferred[tuple[Address, ...]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Nothing to do: a look-up is not cancelled."""

    def addressResolved(self, address: IAddress) -> None:
        """Take an address."""
        if isinstance(address, IPv4Address | IPv6Address):
            self.found.append(_address(address.host, address.port))

    def resolutionComplete(self) -> None:
        """Tell who waits."""
        if not self.done.called:
            self.done.callback(tuple(dict.fromkeys(self.found)))


def look_up(reactor: Any, place: Place) -> Deferred[tuple[Address, ...]]:
    """Fire with the addresses of a name; with none if it has none or can't be looked up."""
    receiver = _Receiver()
    reactor.nameResolver.resolveHostName(receiver, place.host, place.port)
    return receiver.done
