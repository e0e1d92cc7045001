"""HTTP/2: flow control from end to end, and WebSockets, over each library."""

from __future__ import annotations

from h2.settings import SettingCodes

from ood.proxy.http2.hyper import HyperSession
from ood.proxy.http2.session import Session
from tests.proxy.h2client import (
    CONNECT,
    GET,
    OK,
    POST,
    Http2TestCase,
)


class FlowTests(Http2TestCase):
    """Back-pressure."""

    async def test_down(self) -> None:
        """What the client's window does not take is not read from the backend."""
        client = await self.h2()
        client.reads = False
        number = client.request(GET)
        wire = await self.asked()
        size = 8_000_000
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        answer = client.answers[number]
        await self.eventually(lambda: len(answer.body) >= 65_535)
        for _ in range(20):
            await self.settle()
        unsent = self.connection.session.unsent(number)
        self.assertLess(unsent, 400_000)
        client.reads = True
        client.h2.increment_flow_control_window(size, number)
        client.h2.increment_flow_control_window(size)
        client.flush()
        self.assertEqual(len((await client.answer(number)).body), size)

    async def test_up(self) -> None:
        """What the backend does not read, the client may not send."""
        client = await self.h2()
        number = client.request(POST, None)
        wire = await self.asked()
        wire.transport.pauseProducing()  # type: ignore[union-attr]
        sent = 0
        for _ in range(400):
            room = client.h2.local_flow_control_window(number)
            while room:
                piece = min(room, 16_384)
                client.h2.send_data(number, b"x" * piece)
                sent += piece
                room -= piece
            client.flush()
            await self.settle()
        self.assertLess(sent, 3_000_000)
        wire.transport.resumeProducing()  # type: ignore[union-attr]
        client.h2.end_stream(number)
        client.flush()
        await wire.until(b"0\r\n\r\n")

    async def test_a_small_window(self) -> None:
        """A client with a window of one byte gets its answer, slowly."""
        client = await self.h2()
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1})
        client.flush()
        number = client.request(GET)
        wire = await self.asked()
        wire.send(OK)
        self.assertEqual((await client.answer(number)).body, b"hello")


class WebSocketTests(Http2TestCase):
    """WebSockets over HTTP/2 (RFC 8441)."""

    async def test_a_web_socket(self) -> None:
        """The backend sees HTTP/1.1's handshake; then bytes go both ways until both ends."""
        client = await self.h2()
        number = client.request(CONNECT, None)
        wire = await self.backend.next()
        head = await wire.until(b"\r\n\r\n")
        self.assertIn(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", head)
        self.assertIn(b"sec-websocket-key: ", head)
        wire.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\nhi"
        )
        answer = client.answers[number]
        await self.eventually(lambda: answer.body == b"hi")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.fields, {b"sec-websocket-protocol": b"chat"})
        client.h2.send_data(number, b"ping")
        client.flush()
        self.assertEqual(await wire.take(4), b"ping")
        wire.send(b"pong")
        await self.eventually(lambda: answer.body == b"hipong")
        client.h2.end_stream(number)
        client.flush()
        wire.close()
        self.assertTrue((await client.answer(number)).ended)
        await wire.end()

    async def test_a_refused_one(self) -> None:
        """An app that does not switch answers as to any request."""
        client = await self.h2()
        number = client.request(CONNECT, None)
        wire = await self.asked()
        wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((await client.answer(number)).status, 403)


class HyperFlowTests(FlowTests):
    """The same by hyper-h2."""

    def session(self) -> Session:
        """Return the session to be tested."""
        return HyperSession()
