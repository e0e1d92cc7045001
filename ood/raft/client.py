"""A client of a cluster: finds the leader, and repeats safely what got lost.

A member can be used directly (:meth:`ood.raft.Node.command`); this is for
processes that are not members.  With its session every command is applied at
most once, so it may be sent again after a time-out or a lost connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime

from ood.raft.adapters import adapt_connection
from ood.raft.callbacks import resolved
from ood.raft.errors import (
    BusyError,
    ConnectionClosedError,
    HandshakeError,
    NotLeaderError,
    OutcomeUnknownError,
    RemoteError,
    StoppedError,
)
from ood.raft.handshake import greet
from ood.raft.interfaces import IConnection, ITransport
from ood.raft.wire import COMMAND, LEADER, PROTOCOL_VERSION, QUERY, Command, Hello, decode, encode

# Pause before the next try; an election takes longer than a few of these.
RETRY_SECONDS = 0.05

# What one member may take to answer before another one is asked.
TRY_SECONDS = 3.0

# Refusals after which the same call may be sent again, to whoever leads then.
_AGAIN = {error.code for error in (NotLeaderError, BusyError, OutcomeUnknownError, StoppedError)}


class RaftClient:
    """Speaks to whoever leads.

    :param transport: how to connect.
    :param addresses: of some members; the leader is asked for.
    :param cluster: the cluster's name.
    :param clock: counts time.
    :param id: this client's name; with TLS its certificate has to name it.
    """

    def __init__(
        self,
        transport: ITransport,
        addresses: Sequence[Any],
        cluster: str,
        clock: IReactorTime,
        id: str | None = None,
    ) -> None:
        self._transport = transport
        self._addresses = list(addresses)
        self._clock = clock
        self._hello = Hello(PROTOCOL_VERSION, cluster, id or f"client-{uuid4().hex}")
        self._connection: IConnection | None = None
        self._connecting: list[Deferred[None]] | None = None
        self._session: str | None = None
        self._sequence = 0
        self._turn = 0

    async def command(self, data: bytes, timeout: float = 30.0) -> Any:
        """Have a command applied once; return its result.

        :raises OutcomeUnknownError: not within ``timeout``; it may be applied yet.
        """
        deadline = self._clock.seconds() + timeout
        if self._session is None:
            await self._open_session(deadline)
        self._sequence += 1
        command = Command(data, self._session, self._sequence)
        return await self._call(COMMAND, encode(command), deadline)

    async def _open_session(self, deadline: float) -> None:
        session = uuid4().hex
        await self._call(COMMAND, encode(Command(b"", session, 0)), deadline)
        self._session = self._session or session

    async def query(self, query: bytes, timeout: float = 30.0) -> Any:
        """Return what the machine's ``query`` gives, linearizable."""
        return await self._call(QUERY, query, self._clock.seconds() + timeout)

    async def _call(self, type: str, arguments: bytes, deadline: float) -> Any:
        while True:
            try:
                return decode(await self._try(type, arguments, deadline))
            except (ConnectionClosedError, OutcomeUnknownError, HandshakeError, ConnectError):
                self._drop()
            except RemoteError as error:
                if error.remote_code not in _AGAIN:
                    raise
                if error.remote_code != BusyError.code:
                    self._drop()
            if self._clock.seconds() >= deadline:
                raise OutcomeUnknownError("no member answered in time")
            await self._sleep(RETRY_SECONDS)

    async def _try(self, type: str, arguments: bytes, deadline: float) -> bytes:
        connection = self._connection
        if connection is None:
            connection = await self._connect()
        asked: Deferred[bytes] = connection.invoke(type, arguments)
        left = min(TRY_SECONDS, max(deadline - self._clock.seconds(), 0.1))
        return await asked.addTimeout(left, self._clock, onTimeoutCancel=_no_answer)

    async def _connect(self) -> IConnection:
        """Return a connection to the leader; several callers share one attempt."""
        while self._connecting is not None:
            done: Deferred[None] = Deferred()
            self._connecting.append(done)
            await done
        if self._connection is not None:
            return self._connection
        self._connecting = []
        try:
            self._connection = await self._find_leader()
        finally:
            waiting, self._connecting = self._connecting, None
            for done in waiting:
                done.callback(None)
        return self._connection

    async def _find_leader(self) -> IConnection:
        address = self._addresses[self._turn % len(self._addresses)]
        self._turn += 1
        connection = await self._greet(address)
        asked: Deferred[bytes] = connection.invoke(LEADER, b"")
        answer = await asked.addTimeout(TRY_SECONDS, self._clock, onTimeoutCancel=_no_answer)
        own, leader_address = decode(answer)
        if own:
            return connection
        _ = connection.close()
        if leader_address is None:
            raise ConnectionClosedError("no leader is known")
        return await self._greet(leader_address)

    async def _greet(self, address: Any) -> IConnection:
        connection = adapt_connection(await resolved(self._transport.connect(address)))
        await greet(connection, self._hello, self._clock)
        connection.on_close(lambda: self._lost(connection))
        return connection

    def _lost(self, connection: IConnection) -> None:
        if self._connection is connection:
            self._connection = None

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            _ = connection.close()

    def _sleep(self, seconds: float) -> Deferred[None]:
        done: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._clock.callLater(seconds, done.callback, None)
        return done

    async def close(self) -> None:
        """Close the connection."""
        self._drop()
        await self._transport.stop()


def _no_answer(_: object, seconds: float) -> Any:
    raise OutcomeUnknownError(f"no answer in {seconds:.1f} s")
