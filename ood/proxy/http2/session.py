"""HTTP/2 framing without I/O, as the connection sees it.

Two libraries provide it: ngh2 (nghttp2 of the browsers' test beds, fast but
young) and hyper-h2.  Nothing else of ood knows either of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import msgspec

Field: TypeAlias = tuple[bytes, bytes]
"""A field of a head, name in lower case; pseudo-fields begin with a colon."""

STREAMS_MAX = 128
"""Requests under way on a connection: browsers send about a hundred at most.  A client that does
not read can have us hold some 128 KiB for each."""
STREAM_WINDOW_BYTES = 262_144
"""Unread request body that a stream may have; uploads over long ways need some room."""
CONNECTION_WINDOW_BYTES = 1_048_576
"""Unread request bodies of all streams of a connection: what one client can have us hold."""
HEAD_BYTES_MAX = 32_768
"""A request's decoded head with HTTP/2's 32 bytes for each field; beyond it the connection ends.
What is less but more than the edge takes is answered with 431."""
FIELDS_MAX = 200
"""Fields of a request's decoded head, cookies' crumbs each counted."""
CONTINUATIONS_MAX = 8
"""CONTINUATION frames of one head (CVE-2024-27316)."""
RESET_BURST, RESETS_PER_SECOND = 1_000, 33
"""Streams that a client may reset at once, and for long (CVE-2023-44487), as nghttp2 has it."""


class Head(msgspec.Struct, frozen=True):
    """A request begins.

    :ivar fields: as they came, checked by the library for what HTTP/2 itself demands.
    :ivar ended: it has no body.
    """

    stream: int
    fields: Sequence[Field]
    ended: bool


class Data(msgspec.Struct, frozen=True):
    """A piece of a request's body.

    :ivar ended: it is the last one, and no trailers follow.
    """

    stream: int
    data: bytes
    ended: bool


class Trailers(msgspec.Struct, frozen=True):
    """A request's body ended with these fields."""

    stream: int
    fields: Sequence[Field]


class Closed(msgspec.Struct, frozen=True):
    """A stream is no more.

    :ivar code: HTTP/2's error code; 0 after a regular end.
    :ivar by_peer: the client reset it.
    """

    stream: int
    code: int
    by_peer: bool


class Ended(msgspec.Struct, frozen=True):
    """The connection is to be closed once what :meth:`Session.take` gives is written."""

    code: int


SessionEvent: TypeAlias = Head | Data | Trailers | Closed | Ended


class SessionError(Exception):
    """The client broke the protocol; the connection is to be closed.

    What :meth:`Session.take` still gives tells it why, where the library can.
    """


class Session(Protocol):
    """The server's side of one HTTP/2 connection.

    Calls about a stream that is gone are ignored: its end may have come just now.
    After any of them :meth:`take` may have something to send.
    """

    def receive(self, data: bytes) -> list[SessionEvent]:
        """Take bytes from the client; return what they mean.

        :raises SessionError: the connection can't go on.
        """

    def take(self) -> tuple[bytes, list[SessionEvent]]:
        """Return the bytes that are to be sent now, and what came of making them."""

    def interim(self, stream: int, fields: Sequence[Field]) -> None:
        """Send a 1xx response; it has ``:status``."""

    def respond(self, stream: int, fields: Sequence[Field], *, ended: bool) -> None:
        """Send a response's head."""

    def send(self, stream: int, data: bytes, *, ended: bool) -> None:
        """Send a piece of a response's body; it waits for the client's window."""

    def end(self, stream: int, trailers: Sequence[Field]) -> None:
        """End a response's body, with trailers if there are any."""

    def reset(self, stream: int, code: int) -> None:
        """Break a stream off."""

    def consumed(self, stream: int, amount: int) -> None:
        """Let the client send ``amount`` more bytes of the stream's body."""

    def unsent(self, stream: int) -> int:
        """Return how many bytes of the stream's body wait for the client's window."""

    def room(self, stream: int) -> int:
        """Return how many bytes the stream's own window takes, whatever the connection's does."""

    def announce_end(self) -> None:
        """Tell the client to begin nothing more here; what it began meanwhile is served."""

    def finish(self, code: int) -> None:
        """Tell the client that nothing which it begins from now on is served."""
