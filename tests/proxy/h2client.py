"""An HTTP/2 client by hyper-h2, and a proxy that it talks to."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from ood.proxy.context import Entry, Incoming
from ood.proxy.http2.connection import Http2Connection
from ood.proxy.http2.fast import FastSession
from ood.proxy.http2.session import Field, Session
from tests.proxy.support import LOOPBACK, ProxyTestCase, Wire

GET: list[Field] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"site.localhost"),
    (b":path", b"/page"),
]
POST = [(b":method", b"POST"), *GET[1:]]
CONNECT: list[Field] = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    *GET[1:],
    (b"sec-websocket-version", b"13"),
]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=5\r\nX-A: 1\r\n\r\nhello"


class Answer:
    """What a client heard on a stream.

    :ivar status: of the final response; 0 before it.
    :ivar error: the code it was reset with.
    """

    def __init__(self) -> None:
        self.status = 0
        self.fields: dict[bytes, bytes] = {}
        self.interim: list[dict[bytes, bytes]] = []
        self.body = b""
        self.trailers: dict[bytes, bytes] = {}
        self.ended = False
        self.error: int | None = None


class Client(Wire):
    """A client by hyper-h2.

    :ivar answers: what was heard, by stream.
    :ivar gone: the code of GOAWAY.
    :ivar reads: it gives the window back for what it reads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.answers: dict[int, Answer] = {}
        self.gone: int | None = None
        self.reads = True

    def connectionMade(self) -> None:
        super().connectionMade()
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Send what the library wants to be sent."""
        self.send(self.h2.data_to_send())

    def request(self, fields: Sequence[Field], body: bytes | None = b"") -> int:
        """Send a request; its body comes later if it is None."""
        number = self.h2.get_next_available_stream_id()
        self.answers[number] = Answer()
        self.h2.send_headers(number, fields, end_stream=body == b"")
        if body:
            self.h2.send_data(number, body, end_stream=True)
        self.flush()
        return number

    def dataReceived(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self.hear(event)
        self.flush()
        self._check()

    def hear(self, event: Any) -> None:
        """Note an event."""
        if isinstance(event, ConnectionTerminated):
            self.gone = int(event.error_code)
            return
        answer = self.answers.get(getattr(event, "stream_id", 0) or 0)
        if answer is None:
            return
        if isinstance(event, ResponseReceived):
            answer.fields = dict(event.headers)
            answer.status = int(answer.fields.pop(b":status"))
        elif isinstance(event, InformationalResponseReceived):
            answer.interim.append(dict(event.headers))
        elif isinstance(event, DataReceived):
            answer.body += event.data
            if self.reads and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            answer.trailers = dict(event.headers)
        elif isinstance(event, StreamEnded):
            answer.ended = True
        elif isinstance(event, StreamReset):
            answer.error = int(event.error_code)

    async def answer(self, number: int) -> Answer:
        """Wait for a stream's end."""
        answer = self.answers[number]
        await self._until(lambda: answer.ended or answer.error is not None or self.over)
        return answer


class Http2TestCase(ProxyTestCase):
    """A proxy whose clients speak HTTP/2 without TLS."""

    def session(self) -> Session:
        """Return the session to be tested."""
        return FastSession()

    async def h2(self, client: Any = None) -> Any:
        """Return a connected client."""
        listening = socket.create_server((LOOPBACK, 0))
        client = client or Client()
        near = socket.create_connection(listening.getsockname())
        accepted, address = listening.accept()
        listening.close()
        near.setblocking(False)
        accepted.setblocking(False)
        reactor_transport(near, client)
        incoming = Incoming(accepted, address[:2], Entry(443, scheme=b"https"))
        self.connection = Http2Connection(self.proxy._context, incoming, self.session())
        self.connection.start()
        self.addCleanup(client.abort)
        return client

    async def asked(self) -> Wire:
        """Return the backend's next connection, once the request's head has come."""
        wire = await self.backend.next()
        await wire.until(b"\r\n\r\n")
        return wire


def reactor_transport(sock: socket.socket, protocol: Wire) -> None:
    """Run ``protocol`` on a connected socket."""
    from twisted.internet import reactor

    reactor.adoptStreamConnection(sock.fileno(), sock.family, OneProtocol(protocol))
    sock.close()


class OneProtocol:
    """A factory that gives the one protocol it was made for."""

    def __init__(self, protocol: Wire) -> None:
        self._protocol = protocol

    def buildProtocol(self, _address: object) -> Wire:
        return self._protocol

    def doStart(self) -> None:
        """Do nothing."""

    def doStop(self) -> None:
        """Do nothing."""
