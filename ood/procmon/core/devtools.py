"""A short talk with Node's inspector: pause a process that hangs, and ask where it is.

The inspector speaks JSON over a WebSocket.  What comes is of the app's process: it is
bounded and never believed to be well-formed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ood.model.death import RequestInFlight
from ood.procmon.core.lastwords import requests_of

LISTENING = re.compile(r"Debugger listening on ws://127\.0\.0\.1:(\d{1,5})/([0-9a-f-]{36})")
"""What a process says on stderr when its inspector opens."""
BYTES_MAX = 64 << 20
"""Everything that a process may send: it tells of each of its scripts, by name only."""
MESSAGE_BYTES_MAX = 4 << 20
FRAMES_MAX = 30
"""Calls of the stack that are kept, innermost first: an endless recursion has thousands."""
NAME_LENGTH_MAX = 200
FLIGHT = "process[Symbol.for('ood.flight')]()"
"""What the guard answers with the requests in flight."""

_UPGRADE = (
    "GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)
_KEY = "b29kIGFza3Mgd2hlcmUhIQ=="  # sixteen bytes, as the protocol wants; they guard nothing here
_NONSENSE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_TEXT_LAST = 0x81
_MASKED = 0x80
_entries = msgspec.json.Decoder(list[tuple[str, str, float]]).decode


class DevtoolsError(Exception):
    """The other end does not speak as an inspector does."""


def listening(lines: Iterable[str]) -> tuple[int, str] | None:
    """Return port and path of the inspector that opened last."""
    found = [match for match in map(LISTENING.search, lines) if match is not None]
    return (int(found[-1][1]), found[-1][2]) if found else None


def _frame(message: Mapping[str, Any]) -> bytes:
    """Return a message of ours as a frame; the mask of zeros changes nothing.

    The length always has two bytes, which is not the shortest way; Node does not mind.
    """
    data = json.dumps(message).encode()
    size = bytes((_MASKED | 126, *len(data).to_bytes(2, "big")))
    return bytes((_TEXT_LAST,)) + size + bytes(4) + data


class Talk:
    """One talk, without the connection.

    :ivar stack: where the process is, innermost call first; once it is known.
    :ivar requests: its requests in flight.
    :ivar over: whether everything is known.
    """

    def __init__(self, port: int, path: str) -> None:
        self._begin = _UPGRADE.format(port=port, path=path, key=_KEY).encode()
        self._rest = b""
        self._got = 0
        self._upgraded = False
        self._scripts: dict[str, str] = {}
        self.stack: tuple[str, ...] = ()
        self.requests: tuple[RequestInFlight, ...] = ()
        self.over = False

    def begin(self) -> bytes:
        """Return what is to be sent first."""
        return self._begin

    def feed(self, data: bytes) -> bytes:
        """Take what the process sent; return what is to be sent then.

        :raises DevtoolsError: it is no inspector's, or too much.
        """
        self._rest += data
        self._got += len(data)
        if self._got > BYTES_MAX:
            raise DevtoolsError("it talks too much")
        answers = b""
        if not self._upgraded:
            head, end, rest = self._rest.partition(b"\r\n\r\n")
            if not end:
                return b""
            if not head.startswith(b"HTTP/1.1 101 "):
                raise DevtoolsError("it refused")
            self._upgraded, self._rest = True, rest
            answers = _frame({"id": 1, "method": "Debugger.enable"})
            answers += _frame({"id": 2, "method": "Debugger.pause"})
        while (message := self._next()) is not None:
            answers += self._heard(message)
        return answers

    def _next(self) -> bytes | None:
        """Return the next message of the process, None if it is not complete."""
        rest = self._rest
        if len(rest) < 2:
            return None
        size, start = rest[1] & 0x7F, 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(rest[2:start], "big")
        if rest[0] != _TEXT_LAST or rest[1] & _MASKED or size > MESSAGE_BYTES_MAX:
            raise DevtoolsError("it sent what an inspector does not")
        if len(rest) < start + size:
            return None
        self._rest = rest[start + size :]
        return rest[start : start + size]

    def _heard(self, data: bytes) -> bytes:
        try:
            return self._understood(json.loads(data))
        except (*_NONSENSE, msgspec.MsgspecError) as error:
            raise DevtoolsError(f"it sent nonsense: {error}") from None

    def _understood(self, message: dict[str, Any]) -> bytes:
        match message.get("method"):
            case "Debugger.scriptParsed":
                params = message["params"]
                self._scripts[params["scriptId"]] = params["url"]
            case "Debugger.paused" if not self.stack:
                frames = message["params"]["callFrames"][:FRAMES_MAX]
                self.stack = tuple(self._call(frame) for frame in frames)
                about = {"expression": FLIGHT, "returnByValue": True}
                return _frame({"id": 3, "method": "Runtime.evaluate", "params": about})
            case None if message.get("id") == 3:
                self.over = True
                value = message.get("result", {}).get("result", {}).get("value")
                if isinstance(value, str):
                    self.requests = requests_of(_entries(value))
            case _:
                pass  # answers to the first two, and what else happens there
        return b""

    def _call(self, frame: dict[str, Any]) -> str:
        """Return a call as Node writes it in its own stacks."""
        location = frame["location"]
        url = self._scripts.get(location["scriptId"], "") or "?"
        line, column = location["lineNumber"] + 1, location.get("columnNumber", 0) + 1
        name = frame["functionName"] or "<anonymous>"
        place = f"{url.removeprefix('file://')}:{line}:{column}"
        return f"{name[:NAME_LENGTH_MAX]} ({place[-NAME_LENGTH_MAX:]})"
