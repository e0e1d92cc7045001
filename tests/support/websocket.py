"""As much of RFC 6455 as a test needs to talk to an echo."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct

ANSWER_SECONDS = 60
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE = 1, 2, 8


class WebSocket:
    """A client's end of a WebSocket to 127.0.0.1.

    :raises AssertionError: the server does not answer with a proper 101.
    """

    def __init__(self, port: int, host: str, path: str = "/") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self._input = self._socket.makefile("rb")
        key = base64.b64encode(os.urandom(16))
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\n\r\n".encode()
        )
        head = b"".join(iter(self._input.readline, b"\r\n")).lower()
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).lower()
        assert head.startswith(b"http/1.1 101 ") and accept in head, head

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()
        self._socket.close()

    def send(self, payload: bytes, opcode: int = TEXT) -> None:
        """Send one frame."""
        size = len(payload)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 1 << 16:
            length = bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            length = bytes([0x80 | 127]) + struct.pack(">Q", size)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self._socket.sendall(bytes([0x80 | opcode]) + length + mask + masked)

    def receive(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame; ``CLOSE`` with b"" at the end."""
        head = self._input.read(2)
        if len(head) < 2:
            return CLOSE, b""
        size = head[1] & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self._input.read(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._input.read(8))
        return head[0] & 0x0F, self._input.read(size)

    def echo(self, payload: bytes, opcode: int = TEXT) -> bytes:
        """Send ``payload`` and return what comes back."""
        self.send(payload, opcode)
        answered, echoed = self.receive()
        assert answered == opcode, (answered, echoed[:100])
        return echoed
