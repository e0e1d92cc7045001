"""Asking a server elsewhere whether it is well."""

from __future__ import annotations

import errno
import socket
from typing import Any, Protocol

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from ood.agreement import Agreement
from ood.net.stream import Stream
from ood.proxy.core.grammar import MalformedError
from ood.proxy.core.response import parse_response
from ood.proxy.core.trust import told
from ood.proxy.names import Address, begin

OK_STATUSES = range(200, 400)
"""Statuses of a server that is well."""
_LOST = "it closed the connection without an answer"


class CheckError(Exception):
    """The server is not well; the text says why."""


class _Asking(Stream):
    """Asks for one path.

    :param asked: with nothing to ask, that there is a connection is the answer.
    :ivar answer: fires with the status.
    """

    __slots__ = ("_asked", "_data", "_handshake", "answer")

    def __init__(
        self, reactor: Any, sock: socket.socket, asked: bytes, handshake: Agreement | None
    ) -> None:
        self._asked = asked
        self._data = b""
        self._handshake = handshake
        self.answer: Deferred[int] = Deferred(lambda _: self.close())
        super().__init__(reactor, sock, connecting=True, agreement=handshake)

    def connected(self) -> None:
        """Ask."""
        if self._asked:
            self.resume_reading()
            self.write(self._asked)
        else:
            self._done(OK_STATUSES.start)

    def received(self, data: bytes) -> None:
        """Look for the answer's head."""
        self._data += data
        try:
            response = parse_response(self._data, to_head=False)
        except MalformedError as error:
            self._done(CheckError(f"its answer is no HTTP: {error.why}"))
            return
        if response is not None and response.status >= 200:
            if self._handshake is not None:
                self._handshake.keep()
            self._done(response.status)
        elif response is not None:
            self._data = self._data[response.end :]

    def ended(self) -> None:
        """Learn that there will be no answer."""
        self._done(CheckError(_LOST))

    def failed(self) -> None:
        """Learn that there will be no answer, or that there was no connection."""
        reached = not self.connecting
        if self.error is None or (reached and self.error.errno != errno.EPROTO):
            self._done(CheckError(_LOST))
        elif self.error.errno == errno.EPROTO:
            self._done(CheckError(told(str(self.error.strerror))))
        else:
            self._done(CheckError(f"it can't be reached: {self.error.strerror}"))

    def _done(self, result: int | CheckError) -> None:
        if self.answer.called:
            return
        if self._handshake is None:
            self.reset()
        else:
            self.close()  # politely: a server's log tells of each connection that TLS didn't end
        if isinstance(result, int):
            self.answer.callback(result)
        else:
            self.answer.errback(result)


class Server(Protocol):
    """A server that can be checked."""

    @property
    def address(self) -> Address:
        """Where it listens."""

    def handshake(self) -> Agreement | None:
        """Return what a connection to it begins with."""


async def check(
    reactor: Any, clock: IReactorTime, server: Server, ask: tuple[str, str] | None, seconds: float
) -> None:
    """Connect to a server, and ask it for a path.

    :param ask: Host and path; None if a connection is enough.
    :param seconds: how long all of that may take.
    :raises CheckError: it is not well.
    """
    request = b"" if ask is None else _request(*ask)
    try:
        sock = begin(server.address)
    except OSError as error:
        raise CheckError(f"it can't be reached: {error.strerror}") from None
    asking = _Asking(reactor, sock, request, server.handshake())
    try:
        status = await asking.answer.addTimeout(seconds, clock)
    except TimeoutError:
        raise CheckError(f"it does not answer within {seconds:g} s") from None
    if status not in OK_STATUSES:
        raise CheckError(f"it answers {ask[1] if ask else ''} with {status}")


def _request(host: str, path: str) -> bytes:
    text = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ood\r\nConnection: close\r\n\r\n"
    return text.encode("latin-1")
