"""An HTTP/2 client for loads: requests beside each other on one connection."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

READ_BYTES = 65_536
PIECE_BYTES = 16_384
"""The largest frame that everybody takes."""


class _Answer:
    """An answer that is coming in.

    :ivar over: is done with its body once that is whole.
    """

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, why: str) -> None:
        """Have who waits for it know that it does not come."""
        if not self.over.done():
            self.over.set_exception(ConnectionError(why))


class Http2Link:
    """One connection, made.

    :ivar gone: why nothing can be asked on it any more; empty while it can.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._answers: dict[int, _Answer] = {}
        self.gone = ""
        self._h2.initiate_connection()
        self._flush()
        self._task = asyncio.get_running_loop().create_task(self._read())

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())

    async def ask(self, path: str, body: bytes = b"") -> None:
        """Ask, with POST if there is a body; the answer has to be the right one."""
        answer, stream = _Answer(), self._h2.get_next_available_stream_id()
        self._answers[stream] = answer
        pseudo = {"method": "POST" if body else "GET", "scheme": "https"}
        pseudo |= {"authority": self._host, "path": path}
        fields = [(f":{name}", value) for name, value in pseudo.items()]
        self._h2.send_headers(stream, fields, end_stream=not body)
        for start in range(0, len(body), PIECE_BYTES):
            end = start + PIECE_BYTES
            self._h2.send_data(stream, body[start:end], end_stream=end >= len(body))
        self._flush()
        await answer.over
        if answer.status != 200 or answer.body.decode() != f"{path} {len(body)}":
            raise AssertionError(f"{path}: {answer.status} {answer.body[:200]!r}")

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(READ_BYTES):
                for event in self._h2.receive_data(data):
                    self._hear(event)
                self._flush()
            self._end("closed")
        except (OSError, ProtocolError) as error:
            self._end(f"{type(error).__name__} {error}")

    def _hear(self, event: object) -> None:
        if isinstance(event, ConnectionTerminated):
            self.gone = f"GOAWAY {event.error_code}"
            return
        answer = self._answers.get(getattr(event, "stream_id", None) or 0)
        if answer is None:
            return
        if isinstance(event, ResponseReceived):
            answer.status = int(dict(event.headers)[":status"])
        elif isinstance(event, DataReceived):
            answer.body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded) and not answer.over.done():
            answer.over.set_result(None)
        elif isinstance(event, StreamReset):
            answer.fail(f"reset with {event.error_code}")

    def _end(self, why: str) -> None:
        self.gone = self.gone or why
        for answer in self._answers.values():
            answer.fail(self.gone)

    async def close(self) -> None:
        """Close the connection."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._writer.close()
