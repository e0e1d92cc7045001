"""What peers and clients ask of a node, on connections they made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from ood.raft.adapters import adapt_connection
from ood.raft.core.types import Identity
from ood.raft.errors import FrameError, HandshakeError, RaftError
from ood.raft.handshake import HELLO_SECONDS, check_hello, identity_of
from ood.raft.interfaces import IConnection, Reply
from ood.raft.wire import (
    COMMAND,
    HELLO,
    JOIN,
    LEADER,
    LEAVE,
    MESSAGES,
    QUERY,
    STATUS,
    TRANSFER,
    Hello,
    decode,
    decode_command,
    decode_hello,
    decode_messages,
    encode,
)

if TYPE_CHECKING:
    from ood.raft.node import Node


class Inbound:
    """Answers the calls that arrive."""

    log = Logger()

    def __init__(self, node: Node) -> None:
        self.node = node
        self.handlers: dict[str, Callable[[bytes], Deferred[Any]]] = {
            COMMAND: self._command,
            QUERY: self._query,
            LEADER: self._leader,
            # Whoever asks decides where to go: no second hop, no loop.
            JOIN: lambda body: node.members.join(decode(body), forward=False),
            LEAVE: lambda body: node.members.leave(decode(body), forward=False),
            TRANSFER: lambda body: node.members.transfer(decode(body), forward=False),
            STATUS: self._status,
        }

    def accept(self, connection: IConnection) -> None:
        """Take a connection that a peer or client made."""
        Session(self, adapt_connection(connection))

    def _command(self, body: bytes) -> Deferred[Any]:
        command = decode_command(body)
        return self.node.command(command.data, command.session, command.sequence, forward=False)

    def _query(self, body: bytes) -> Deferred[Any]:
        query = getattr(self.node.machine, "query", None)
        if query is None:
            raise RaftError("this machine answers no queries", "give it query(bytes)")
        return self.node.read().addCallback(lambda _: query(body))

    def _leader(self, _: bytes) -> Deferred[Any]:
        """Answer whether this node leads, and else the leader's address."""
        node = self.node
        return succeed((node.leader == node.id, node.address_of(node.leader)))

    def _status(self, _: bytes) -> Deferred[Any]:
        return succeed(self.node.stats())


class Session:
    """One connection, from its greeting on."""

    def __init__(self, inbound: Inbound, connection: IConnection) -> None:
        self._inbound = inbound
        self._connection = connection
        self._identity: Identity | None = None
        self._member = False
        timer = inbound.node.clock.callLater(HELLO_SECONDS, self._too_late)
        connection.on_close(lambda: timer.cancel() if timer.active() else None)
        connection.listen(self._called)

    def _too_late(self) -> None:
        if self._identity is None:
            _ = self._connection.close()

    def _called(self, type: str, body: bytes, reply: Reply) -> None:
        try:
            self._dispatch(type, body, reply)
        except (FrameError, HandshakeError) as error:
            self._inbound.log.error("refusing a connection: {error}", error=error)
            reply(error, b"")
            _ = self._connection.close()
        except Exception as error:
            reply(error, b"")

    def _dispatch(self, type: str, body: bytes, reply: Reply) -> None:
        if type == HELLO:
            self._greeted(decode_hello(body), reply)
        elif self._identity is None:
            raise HandshakeError(f"{type!r} before the handshake")
        elif type == MESSAGES:
            self._messages(body)
            reply(None, b"")
        else:
            self._call(type, body, reply)

    def _greeted(self, hello: Hello, reply: Reply) -> None:
        node = self._inbound.node
        check_hello(hello, node.cluster, getattr(self._connection, "names", None))
        self._identity = identity_of(hello)
        self._member = bool(hello.incarnation)
        reply(None, encode(node.hello()))
        if self._member:
            node.heard_from(hello)

    def _messages(self, body: bytes) -> None:
        identity = self._identity
        if identity is None or not self._member:
            raise HandshakeError("a client can't send what only members say")
        messages = decode_messages(body)
        if any(message.source != identity.id for message in messages):
            raise HandshakeError(f"{identity.id} speaks in another member's name")
        self._inbound.node.driver.step(messages, identity)

    def _call(self, type: str, body: bytes, reply: Reply) -> None:
        handler = self._inbound.handlers.get(type)
        if handler is None:
            raise RaftError(f"no such call: {type!r}", "run the same version on all members")

        def answered(result: Any) -> None:
            if isinstance(result, Failure):
                reply(_as_exception(result.value), b"")
            else:
                reply(None, encode(result))

        _ = handler(body).addBoth(answered)


def _as_exception(error: BaseException | None) -> Exception:
    return error if isinstance(error, Exception) else RaftError(str(error))
