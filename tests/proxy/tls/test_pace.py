"""Clients that take long answers over TLS slowly, but steadily: nobody is cut off."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, StreamEnded, StreamReset
from twisted.internet.threads import deferToThread

from tests.proxy.support import LOOPBACK
from tests.proxy.tls.support import SECONDS, HttpsTestCase, request, trusting

SMALL_BUFFER_BYTES = 4096
SIZE = 16_000_000
BYTES_PER_SECOND = 20_000
STEP_SECONDS = 40
PATH = f"/big/{SIZE}"


class PaceTests(HttpsTestCase):
    """Fourteen minutes of a download on a clock of ours, at 20 KB a second."""

    timeout = 120

    def slow(self, *protocols: str) -> ssl.SSLSocket:
        """Return a connection with a small buffer."""
        raw = socket.socket()
        raw.settimeout(SECONDS)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        raw.connect((LOOPBACK, self.tls_port))
        return trusting(*protocols).wrap_socket(raw, server_hostname="site.localhost")

    async def step(self) -> None:
        """Let the time pass in which a client reads so much."""
        await self.settle()
        self.advance(STEP_SECONDS)

    async def test_http1(self) -> None:
        """Over HTTP/1.1."""
        with closing(await deferToThread(self.slow)) as wire:
            await deferToThread(wire.sendall, request(PATH, keep=True))
            got = 0
            while got < SIZE:
                wanted = min(BYTES_PER_SECOND * STEP_SECONDS, SIZE - got)
                part = await deferToThread(read, wire, wanted)
                self.assertGreater(part, 0, got)
                got += part
                await self.step()

    async def test_a_drip(self) -> None:
        """Who takes next to nothing is cut off all the same."""
        with closing(await deferToThread(self.slow)) as wire:
            await deferToThread(wire.sendall, request(PATH, keep=True))
            with self.assertRaises((OSError, AssertionError)):
                for _ in range(20):
                    self.assertGreater(await deferToThread(read, wire, 1000), 0)
                    await self.step()

    async def test_http2(self) -> None:
        """Over HTTP/2, with windows as the client reads."""
        with closing(await deferToThread(self.slow, "h2")) as wire:
            client = Http2Reader(wire)
            while not client.over:
                await deferToThread(client.read, BYTES_PER_SECOND * STEP_SECONDS)
                await self.step()
        self.assertGreater(client.got, SIZE)


class Http2Reader:
    """One request by HTTP/2; it blocks, so it is for a thread."""

    def __init__(self, wire: ssl.SSLSocket) -> None:
        self._wire = wire
        self._h2 = H2Connection(H2Configuration(client_side=True))
        self.got, self.over = 0, False
        self._h2.initiate_connection()
        fields = {"method": "GET", "scheme": "https", "authority": "site.localhost", "path": PATH}
        self._h2.send_headers(1, [(f":{name}", value) for name, value in fields.items()], True)
        wire.sendall(self._h2.data_to_send())

    def read(self, size: int) -> None:
        """Read so much of the body, or to its end."""
        until = self.got + size
        while self.got < until and not self.over:
            data = self._wire.recv(SMALL_BUFFER_BYTES)
            if not data:
                raise AssertionError(f"cut off after {self.got} bytes")
            for event in self._h2.receive_data(data):
                self._hear(event)
            self._wire.sendall(self._h2.data_to_send())

    def _hear(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            self.got += len(event.data)
            self._h2.acknowledge_received_data(event.flow_controlled_length, 1)
        elif isinstance(event, StreamEnded):
            self.over = True
        elif isinstance(event, StreamReset):
            raise AssertionError(f"reset after {self.got} bytes")


def read(wire: ssl.SSLSocket, size: int) -> int:
    """Read so much, or what comes before the end."""
    got = 0
    while got < size:
        data = wire.recv(min(size - got, 65_536))
        if not data:
            break
        got += len(data)
    return got
