"""Frames on a byte stream: a length (u32, big-endian), then msgpack."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

import msgspec

from ood.raft.calls import Frame
from ood.raft.errors import FrameError

# A batch of entries, a chunk of a snapshot or one big command has to fit.
FRAME_BYTES = 32 * 1024 * 1024

_LENGTH = Struct(">I")
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Frame)


def encode_frame(frame: Frame) -> bytes:
    """Return a frame as it travels."""
    body = _encode(frame)
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Cuts a stream into frames."""

    def __init__(self, frame_bytes: int = FRAME_BYTES) -> None:
        self._frame_bytes = frame_bytes
        self._buffer = bytearray()
        self._wanted = _LENGTH.size

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that ``data`` completes.

        :raises FrameError: this is no frame; what follows can't be trusted.
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._wanted:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        offset = 0
        try:
            while len(data) - offset >= _LENGTH.size:
                end = offset + _LENGTH.size + self._length(data, offset)
                if end > len(data):
                    self._wanted = end - offset
                    break
                yield _decoder.decode(memoryview(data)[offset + _LENGTH.size : end])
                offset = end
            else:
                self._wanted = _LENGTH.size
        except msgspec.MsgspecError as error:
            raise FrameError(f"a frame that can't be decoded: {error}") from error
        self._buffer += data[offset:]

    def _length(self, data: bytes, offset: int) -> int:
        length = int(_LENGTH.unpack_from(data, offset)[0])
        if length > self._frame_bytes:
            raise FrameError(
                f"a frame of {length} bytes, at most {self._frame_bytes} are allowed",
                "something else than ood.raft may be talking to this port",
            )
        return length
