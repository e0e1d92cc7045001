"""HTTP/2 sessions by ngh2, that is nghttp2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ngh2
from ngh2 import Setting

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

_CONFIGURATION = ngh2.Configuration(
    auto_window_update=False,
    max_continuations=limits.CONTINUATIONS_MAX,
    max_inbound_header_list_size=limits.HEAD_BYTES_MAX,
    max_inbound_header_count=limits.FIELDS_MAX,
    stream_reset_rate_limit=(limits.RESET_BURST, limits.RESETS_PER_SECOND),
)
_SETTINGS = {
    Setting.MAX_CONCURRENT_STREAMS: limits.STREAMS_MAX,
    Setting.INITIAL_WINDOW_SIZE: limits.STREAM_WINDOW_BYTES,
    Setting.MAX_HEADER_LIST_SIZE: limits.HEAD_BYTES_MAX,
    Setting.ENABLE_CONNECT_PROTOCOL: 1,
    Setting.NO_RFC7540_PRIORITIES: 1,
}
_GONE = (ngh2.StreamProtocolError, ngh2.ConnectionStateError)


class FastSession:
    """A :class:`~ood.proxy.http2.session.Session` on ngh2."""

    def __init__(self) -> None:
        self._connection = ngh2.Connection(ngh2.Role.SERVER, _CONFIGURATION)
        self._connection.initiate_connection(_SETTINGS)
        self._connection.set_local_window_size(limits.CONNECTION_WINDOW_BYTES)
        self._reset_by_peer: set[int] = set()
        self._failed = False

    def receive(self, data: bytes) -> list[SessionEvent]:
        """Take bytes from the client; return what they mean."""
        try:
            self._connection.receive_data(data)
        except ngh2.NGH2Error as error:
            self._failed = True
            raise SessionError(str(error)) from None
        return self._events()

    def take(self) -> tuple[bytes, list[SessionEvent]]:
        """Return the bytes that are to be sent now, and what came of making them."""
        if self._failed:
            return b"", []
        data = self._connection.data_to_send()
        return data, self._events()

    def _events(self) -> list[SessionEvent]:
        events = []
        for event in self._connection.events():
            translate = _TRANSLATED.get(type(event))
            if translate is not None:
                events.append(translate(self, event))
            elif isinstance(event, ngh2.StreamReset):
                self._reset_by_peer.add(event.stream_id)
        return events

    def _closed(self, event: ngh2.StreamClosed) -> Closed:
        by_peer = event.stream_id in self._reset_by_peer
        self._reset_by_peer.discard(event.stream_id)
        return Closed(event.stream_id, event.error_code, by_peer)

    def interim(self, stream: int, fields: Sequence[Field]) -> None:
        """Send a 1xx response."""
        try:
            self._connection.send_informational_response(stream, fields)
        except _GONE:
            return

    def respond(self, stream: int, fields: Sequence[Field], *, ended: bool) -> None:
        """Send a response's head."""
        try:
            self._connection.send_response(stream, fields, end_stream=ended)
        except _GONE:
            return

    def send(self, stream: int, data: bytes, *, ended: bool) -> None:
        """Send a piece of a response's body."""
        try:
            self._connection.send_data(stream, data, end_stream=ended)
        except _GONE:
            return

    def end(self, stream: int, trailers: Sequence[Field]) -> None:
        """End a response's body, with trailers if there are any."""
        try:
            if trailers:
                self._connection.send_trailers(stream, trailers)
            else:
                self._connection.end_stream(stream)
        except _GONE:
            return

    def reset(self, stream: int, code: int) -> None:
        """Break a stream off."""
        try:
            self._connection.reset_stream(stream, code)
        except _GONE:
            return

    def consumed(self, stream: int, amount: int) -> None:
        """Let the client send more of the stream's body."""
        try:
            self._connection.acknowledge_received_data(amount, stream)
        except (*_GONE, ValueError):  # ValueError: ngh2 gave a closed stream's bytes back itself
            return

    def unsent(self, stream: int) -> int:
        """Return how many bytes of the stream's body wait for the client's window."""
        return self._connection.queued_body_size(stream)

    def room(self, stream: int) -> int:
        """Return how many bytes the stream's own window takes, whatever the connection's does."""
        try:
            return int(self._connection.stream_remote_window_size(stream))
        except (*_GONE, ngh2.StreamUnavailableError):
            return 0

    def announce_end(self) -> None:
        """Tell the client to begin nothing more here."""
        try:
            self._connection.send_shutdown_notice()
        except ngh2.ConnectionStateError:
            return

    def finish(self, code: int) -> None:
        """Tell the client that nothing which it begins from now on is served."""
        try:
            self._connection.send_goaway(code)
        except ngh2.ConnectionStateError:
            return


_TRANSLATED: dict[type[Any], Any] = {
    ngh2.RequestReceived: lambda _, event: Head(event.stream_id, event.headers, event.end_stream),
    ngh2.DataReceived: lambda _, event: Data(event.stream_id, event.data, event.end_stream),
    ngh2.TrailersReceived: lambda _, event: Trailers(event.stream_id, event.headers),
    ngh2.StreamClosed: FastSession._closed,
    ngh2.ConnectionClosed: lambda _, event: Ended(event.error_code),
}
