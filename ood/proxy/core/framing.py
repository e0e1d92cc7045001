"""Where a body ends: by length, by chunks, or with the connection.

A body is fed what was read and returns what belongs to it and what does not;
it never takes a byte of the next message.
"""

from __future__ import annotations

import re
from typing import Protocol

from ood.proxy.core.grammar import FIELDS, TEXT, MalformedError

CHUNK_LINE_BYTES_MAX = 256
"""Longest line before a chunk: 16 digits, and extensions that nobody uses."""
CHUNK_EXTENSION_BYTES_MAX = 16_384
"""All extensions of a body together: they cost work and carry nothing."""
TRAILER_BYTES_MAX = 16_384
"""Longest trailer section, as long as a head may be."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})([ \t]*;" + TEXT + rb"*)?")
_TRAILER = re.compile(FIELDS)
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
_END = b"\r\n"


class Body(Protocol):
    """A body that is being read.

    :ivar done: its end has come.
    :ivar trailers: the fields after it, each with its line end.
    """

    done: bool
    trailers: bytes

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the payload in ``data`` and what follows the body's end.

        :raises MalformedError: the framing is broken.
        """


class LengthBody:
    """A body of a known number of bytes."""

    __slots__ = ("_left", "done", "trailers")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.trailers = b""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the payload in ``data`` and what follows the body's end."""
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data, b""
        cut = self._left
        self._left = 0
        self.done = True
        return (data, b"") if left == 0 else (data[:cut], data[cut:])


class CloseBody:
    """A body that ends when its connection does: whoever reads sets :attr:`done`."""

    __slots__ = ("done", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.trailers = b""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return all of ``data``."""
        return data, b""


class ChunkedBody:
    """A body in chunks, decoded; extensions are dropped."""

    __slots__ = ("_extensions", "_held", "_left", "_out", "_step", "done", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.trailers = b""
        self._held = b""
        self._left = 0
        self._extensions = 0
        self._out: list[bytes] = []
        self._step = ChunkedBody._size  # not bound: an object that refers to itself lives longer

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the payload in ``data`` and what follows the body's end."""
        if self._held:
            data = self._held + data
            self._held = b""
        self._out = []
        at = 0
        while not self.done:
            after = self._step(self, data, at)
            if after is None:
                self._held = data[at:]
                return b"".join(self._out), b""
            at = after
        return b"".join(self._out), data[at:]

    # Each step returns where the next one begins, or None if it needs more bytes.

    def _size(self, data: bytes, at: int) -> int | None:
        end = data.find(_END, at, at + CHUNK_LINE_BYTES_MAX + 2)
        if end < 0:
            _check_line(data, at, CHUNK_LINE_BYTES_MAX)
            return None
        match = _SIZE_LINE.fullmatch(data, at, end)
        if match is None:
            raise MalformedError(400, "a chunk's size is not a plain hexadecimal number")
        self._extensions += end - match.end(1)
        if self._extensions > CHUNK_EXTENSION_BYTES_MAX:
            raise MalformedError(400, "the chunks' extensions are too long")
        self._left = int(match[1], 16)
        self._step = ChunkedBody._data if self._left else ChunkedBody._trailer
        return end + 2

    def _data(self, data: bytes, at: int) -> int | None:
        if at == len(data):
            return None
        part = data[at : at + self._left]
        self._out.append(part)
        self._left -= len(part)
        if not self._left:
            self._step = ChunkedBody._data_end
        return at + len(part)

    def _data_end(self, data: bytes, at: int) -> int | None:
        if not _END.startswith(data[at : at + 2]):
            raise MalformedError(400, "a chunk is not as long as it says")
        if len(data) < at + 2:
            return None
        self._step = ChunkedBody._size
        return at + 2

    def _trailer(self, data: bytes, at: int) -> int | None:
        if data.startswith(_END, at):
            end = at
        else:
            end = data.find(b"\r\n\r\n", at, at + TRAILER_BYTES_MAX + 4) + 2
            if end == 1:
                _check_line(data, at, TRAILER_BYTES_MAX)
                return None
        match = _TRAILER.fullmatch(data, at, end)
        if match is None:
            raise MalformedError(400, "the trailer is malformed")
        self.trailers = match[1]
        self.done = True
        return end + 2


def _check_line(data: bytes, at: int, limit: int) -> None:
    if len(data) - at > limit:
        raise MalformedError(400, "a line of the chunked body is too long")
    if _BARE.search(data, at):
        raise MalformedError(400, "a line of the chunked body ends in a bare CR or LF")


def encode_chunk(payload: bytes) -> bytes:
    """Return ``payload``, which is not empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def encode_end(trailers: bytes) -> bytes:
    """Return the end of a chunked body."""
    return b"0\r\n%b\r\n" % trailers
