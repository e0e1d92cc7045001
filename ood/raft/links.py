"""The ways to the other members: connect, greet, keep, connect again.

Each member keeps one connection to each other one and sends on that alone;
what the other has to say comes on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ood.background import Background
from ood.raft.adapters import adapt_connection
from ood.raft.callbacks import resolved
from ood.raft.core.types import Message
from ood.raft.errors import ConnectionClosedError, RaftError
from ood.raft.handshake import greet
from ood.raft.interfaces import IConnection, IMessageConnection, ITransport
from ood.raft.wire import MESSAGES, Hello, encode_messages

# First pause before connecting again, and the longest: a member that comes
# back is found within the latter.
RETRY_SECONDS = 0.05
RETRY_MOST_SECONDS = 2.0


class Link:
    """The way to one member.

    :param lost: called when messages to it got lost.
    """

    log = Logger()

    def __init__(
        self,
        member: str,
        address: Any,
        links: Links,
    ) -> None:
        self.member = member
        self.address = address
        self.connection: IConnection | None = None
        self._links = links
        self._background = Background()
        self._complained = ""
        self._background.run(f"link to {member}", self._keep())

    async def _keep(self) -> None:
        pause = RETRY_SECONDS
        while True:
            try:
                connection = await self._connect()
            except CancelledError:
                raise  # the link is stopped
            except Exception as error:
                self._complain(error)
            else:
                pause = RETRY_SECONDS
                await self._use(connection)
            await self._sleep(pause * self._links.random.uniform(0.5, 1.0))
            pause = min(pause * 2, RETRY_MOST_SECONDS)

    async def _connect(self) -> IConnection:
        links = self._links
        connection = adapt_connection(await resolved(links.transport.connect(self.address)))
        await greet(connection, links.hello(), links.clock, expected=self.member)
        return connection

    async def _use(self, connection: IConnection) -> None:
        gone: Deferred[None] = Deferred()
        connection.on_close(lambda: None if gone.called else gone.callback(None))
        self.connection = connection
        self._complained = ""
        self.log.info("connected to member {member}", member=self.member)
        try:
            await gone
        finally:
            self.connection = None
            _ = connection.close()
        self._links.lost(self.member)

    def _complain(self, error: Exception) -> None:
        """Log why there is no connection, once for each reason."""
        text = str(error) or type(error).__name__
        if text != self._complained:
            self._complained = text
            self.log.warn(
                "no connection to member {member} at {address}: {text}",
                member=self.member,
                address=self.address,
                text=text,
            )

    def _sleep(self, seconds: float) -> Deferred[None]:
        done: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._links.clock.callLater(seconds, done.callback, None)
        return done

    def send(self, messages: Sequence[Message]) -> bool:
        """Send, or return False where they got lost."""
        connection = self.connection
        if connection is None:
            return False
        body = encode_messages(messages)
        if IMessageConnection.providedBy(connection):
            return bool(connection.send(MESSAGES, body))
        _ = connection.invoke(MESSAGES, body).addErrback(lambda _: None)
        return True

    def stop(self) -> Deferred[None]:
        """Close; fire when it is closed."""
        return self._background.stop()


class Links:
    """The ways to all members.

    :param hello: returns what we say of ourselves.
    :param lost: called with a member's id when messages to it got lost.
    """

    def __init__(
        self,
        transport: ITransport,
        clock: IReactorTime,
        random: Random,
        hello: Callable[[], Hello],
        lost: Callable[[str], object],
    ) -> None:
        self.transport = transport
        self.clock = clock
        self.random = random
        self.hello = hello
        self.lost = lost
        self._links: dict[str, Link] = {}
        self._stopping: list[Deferred[None]] = []

    def want(self, addresses: dict[str, Any]) -> None:
        """Keep links to these members at these addresses, and to no others."""
        for member, link in list(self._links.items()):
            if member not in addresses or addresses[member] != link.address:
                _ = self._links.pop(member).stop()
        for member, address in addresses.items():
            if member not in self._links:
                self._links[member] = Link(member, address, self)

    def send(self, messages: Sequence[Message]) -> None:
        """Send each member its messages, as one frame."""
        by_member: dict[str, list[Message]] = {}
        for message in messages:
            by_member.setdefault(message.target, []).append(message)
        for member, its in by_member.items():
            link = self._links.get(member)
            if link is None or not link.send(its):
                self.lost(member)

    async def invoke(self, member: str, type: str, arguments: bytes) -> bytes:
        """Call a member.

        :raises ConnectionClosedError: there is no connection; nothing was sent.
        """
        link = self._links.get(member)
        if link is None or link.connection is None:
            raise NotConnectedError(f"no connection to member {member}", "try again in a moment")
        return await link.connection.invoke(type, arguments)

    def connected(self) -> dict[str, bool]:
        """Return for each member whether there is a connection."""
        return {member: link.connection is not None for member, link in self._links.items()}

    async def stop(self) -> None:
        """Close all; return when they are closed."""
        links, self._links = self._links, {}
        for link in links.values():
            await link.stop()


class NotConnectedError(ConnectionClosedError, RaftError):
    """There was no connection, so nothing was sent."""

    code = "not_connected"
