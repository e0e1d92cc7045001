"""Asking a server elsewhere whether it is well."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from ood.proxy.core.grammar import MalformedError
from ood.proxy.core.response import parse_response
from ood.proxy.names import Address

OK_STATUSES = range(200, 400)
"""Statuses of a server that is well."""
_LOST = "it closed the connection without an answer"


class CheckError(Exception):
    """The server is not well; the text says why."""


class _Asking(Protocol):
    """Asks for one path.

    :ivar answer: fires with the status.
    """

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._data = b""
        self.answer: Deferred[int] = Deferred()

    def connectionMade(self) -> None:
        """Ask; with nothing to ask, that there is a connection is the answer."""
        assert self.transport is not None
        if self._request:
            self.transport.write(self._request)
        else:
            self._done(OK_STATUSES.start)

    def dataReceived(self, data: bytes) -> None:
        """Look for the answer's head."""
        self._data += data
        try:
            response = parse_response(self._data, to_head=False)
        except MalformedError as error:
            self._done(CheckError(f"its answer is no HTTP: {error.why}"))
            return
        if response is not None and response.status >= 200:
            self._done(response.status)
        elif response is not None:
            self._data = self._data[response.end :]

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """Learn that there will be no answer."""
        self._done(CheckError(_LOST))

    def _done(self, result: int | CheckError) -> None:
        if self.answer.called:
            return
        if isinstance(result, int):
            self.answer.callback(result)
        else:
            self.answer.errback(result)

    def stop(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]


class _Once(Factory):
    noisy = False  # a line in the log for each check would hide all others

    def __init__(self, asking: _Asking) -> None:
        self._asking = asking

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002
        """Return the one protocol."""
        return self._asking


async def check(
    reactor: Any, clock: IReactorTime, address: Address, ask: tuple[str, str] | None, seconds: float
) -> None:
    """Connect to a server, and ask it for a path.

    :param ask: Host and path; None if a connection is enough.
    :param seconds: how long all of that may take.
    :raises CheckError: it is not well.
    """
    request = b"" if ask is None else _request(*ask)
    deferred = Deferred.fromCoroutine(_ask(reactor, address, request, seconds))
    try:
        status = await deferred.addTimeout(seconds, clock)
    except TimeoutError:
        raise CheckError(f"it does not answer within {seconds:g} s") from None
    except ConnectError as error:
        raise CheckError(_why(error)) from None
    if status not in OK_STATUSES:
        raise CheckError(f"it answers {ask[1] if ask else ''} with {status}")


def _request(host: str, path: str) -> bytes:
    text = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ood\r\nConnection: close\r\n\r\n"
    return text.encode("latin-1")


async def _ask(reactor: Any, address: Address, request: bytes, seconds: float) -> int:
    asking = _Asking(request)
    try:
        await _endpoint(reactor, address, seconds + 1).connect(_Once(asking))
    except ConnectingCancelledError:  # an end, or a time-out, as any other
        raise CancelledError from None
    try:
        return await asking.answer
    finally:
        asking.stop()


def _endpoint(reactor: Any, address: Address, seconds: float) -> Any:
    from twisted.internet.endpoints import (  # noqa: PLC0415 - loads OpenSSL, 8 MB
        TCP4ClientEndpoint,
        TCP6ClientEndpoint,
        UNIXClientEndpoint,
    )

    if address.family == socket.AF_UNIX:
        return UNIXClientEndpoint(  # type: ignore[no-untyped-call]
            reactor, address.where, timeout=seconds
        )
    host, port = address.where[:2]
    kind = TCP6ClientEndpoint if address.family == socket.AF_INET6 else TCP4ClientEndpoint
    return kind(reactor, host, port, timeout=seconds)


def _why(error: ConnectError) -> str:
    number = error.osError
    text = os.strerror(number) if isinstance(number, int) else str(error)
    return f"it can't be reached: {text}"
