"""HTTP/2 sessions by hyper-h2: slower, without compiled code, a second opinion for tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from h2 import events, exceptions
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings

from ood.proxy.http2 import session as limits
from ood.proxy.http2.session import (
    Closed,
    Data,
    Ended,
    Field,
    Head,
    SessionError,
    SessionEvent,
    Trailers,
)

_CONFIGURATION = H2Configuration(client_side=False, header_encoding=None)
_SETTINGS = {
    SettingCodes.MAX_CONCURRENT_STREAMS: limits.STREAMS_MAX,
    SettingCodes.INITIAL_WINDOW_SIZE: limits.STREAM_WINDOW_BYTES,
    SettingCodes.MAX_HEADER_LIST_SIZE: limits.HEAD_BYTES_MAX,
    SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
}
_GONE = (exceptions.ProtocolError, KeyError)


class _Queue:
    """What waits to be sent on a stream.

    :ivar ended: the stream ends after it, with ``trailers``.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self.trailers: Sequence[Field] = ()


class HyperSession:
    """A :class:`~ood.proxy.http2.session.Session` on hyper-h2."""

    def __init__(self) -> None:
        self._connection = connection = H2Connection(_CONFIGURATION)
        connection.local_settings = Settings(client=False, initial_values=_SETTINGS)
        connection.initiate_connection()
        connection.increment_flow_control_window(limits.CONNECTION_WINDOW_BYTES - 65_535)
        self._queues: dict[int, _Queue] = {}
        self._unread: dict[int, int] = {}
        self._ended_by_peer: set[int] = set()
        self._ended_by_us: set[int] = set()
        self._later: deque[SessionEvent] = deque()
        self._failed = False

    def receive(self, data: bytes) -> list[SessionEvent]:
        """Take bytes from the client; return what they mean."""
        try:
            received = self._connection.receive_data(data)
        except exceptions.ProtocolError as error:
            self._failed = True
            raise SessionError(str(error) or type(error).__name__) from None
        translated = [event for one in received for event in self._translate(one)]
        return [*translated, *self._ended_in_both_ways()]

    def take(self) -> tuple[bytes, list[SessionEvent]]:
        """Return the bytes that are to be sent now, and what came of making them."""
        if not self._failed:
            for stream in list(self._queues):
                self._push(stream)
        came = [*self._later, *self._ended_in_both_ways()]
        self._later.clear()
        return self._connection.data_to_send(), came

    def _ended_in_both_ways(self) -> list[SessionEvent]:
        streams = self._ended_by_peer & self._ended_by_us
        for stream in streams:
            self._forget(stream)
        return [Closed(stream, 0, by_peer=False) for stream in streams]

    def _translate(self, event: Any) -> Iterable[SessionEvent]:
        if isinstance(event, events.RequestReceived):
            self._unread[event.stream_id] = 0
            self._queues[event.stream_id] = _Queue()
            yield Head(event.stream_id, event.headers, event.stream_ended is not None)
        elif isinstance(event, events.DataReceived):
            padding = event.flow_controlled_length - len(event.data)
            if padding:
                self._connection.acknowledge_received_data(padding, event.stream_id)
            if event.stream_id in self._unread:
                self._unread[event.stream_id] += len(event.data)
            yield Data(event.stream_id, event.data, event.stream_ended is not None)
        elif isinstance(event, events.TrailersReceived):
            yield Trailers(event.stream_id, event.headers)
        elif isinstance(event, events.StreamEnded):
            self._ended_by_peer.add(event.stream_id)
        elif isinstance(event, events.StreamReset):
            self._forget(event.stream_id)
            yield Closed(event.stream_id, int(event.error_code), bool(event.remote_reset))
        elif isinstance(event, events.ConnectionTerminated) and event.error_code:
            yield Ended(int(event.error_code))

    def _forget(self, stream: int) -> None:
        """Give the connection's window back what nobody will read any more."""
        self._queues.pop(stream, None)
        self._ended_by_peer.discard(stream)
        self._ended_by_us.discard(stream)
        unread = self._unread.pop(stream, 0)
        if unread:
            self._connection.increment_flow_control_window(unread)

    def _push(self, stream: int) -> None:
        """Send of a stream's body what the client's windows take."""
        queue = self._queues[stream]
        try:
            while queue.data:
                room = min(
                    self._connection.local_flow_control_window(stream),
                    self._connection.max_outbound_frame_size,
                )
                if room <= 0:
                    return
                piece = bytes(queue.data[:room])
                del queue.data[:room]
                self._connection.send_data(stream, piece)
            if queue.ended:
                self._end_now(stream, queue.trailers)
        except _GONE:
            self._forget(stream)

    def _end_now(self, stream: int, trailers: Sequence[Field]) -> None:
        if trailers:
            self._connection.send_headers(stream, trailers, end_stream=True)
        else:
            self._connection.end_stream(stream)
        del self._queues[stream]
        self._ended_by_us.add(stream)

    def interim(self, stream: int, fields: Sequence[Field]) -> None:
        """Send a 1xx response."""
        try:
            self._connection.send_headers(stream, fields)
        except _GONE:
            return

    def respond(self, stream: int, fields: Sequence[Field], *, ended: bool) -> None:
        """Send a response's head."""
        try:
            self._connection.send_headers(stream, fields)
            self._queues[stream].ended |= ended
        except _GONE:
            return

    def send(self, stream: int, data: bytes, *, ended: bool) -> None:
        """Send a piece of a response's body."""
        queue = self._queues.get(stream)
        if queue is not None:
            queue.data += data
            queue.ended |= ended

    def end(self, stream: int, trailers: Sequence[Field]) -> None:
        """End a response's body, with trailers if there are any."""
        queue = self._queues.get(stream)
        if queue is not None:
            queue.ended, queue.trailers = True, trailers

    def reset(self, stream: int, code: int) -> None:
        """Break a stream off."""
        if stream not in self._unread:
            return
        self._forget(stream)
        try:
            self._connection.reset_stream(stream, code)
        except _GONE:
            return
        self._later.append(Closed(stream, code, by_peer=False))

    def consumed(self, stream: int, amount: int) -> None:
        """Let the client send more of the stream's body."""
        if stream not in self._unread:
            return
        self._unread[stream] -= amount
        try:
            self._connection.acknowledge_received_data(amount, stream)
        except _GONE:
            return

    def unsent(self, stream: int) -> int:
        """Return how many bytes of the stream's body wait for the client's window."""
        queue = self._queues.get(stream)
        return 0 if queue is None else len(queue.data)

    def room(self, stream: int) -> int:
        """Return how many bytes the stream's own window takes, whatever the connection's does."""
        found = self._connection.streams.get(stream)
        return 0 if found is None else int(found.outbound_flow_control_window)

    def announce_end(self) -> None:
        """Do nothing: hyper-h2 can only say so for good, and then streams under way are lost."""

    def finish(self, code: int) -> None:
        """Tell the client that nothing which it begins from now on is served."""
        if not self._failed:
            self._connection.close_connection(
                ErrorCodes(code), last_stream_id=self._connection.highest_inbound_stream_id
            )
