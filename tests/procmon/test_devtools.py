"""The talk with a process's inspector: what it sends is other people's."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.procmon.core import environment
from ood.procmon.core.devtools import FRAMES_MAX, DevtoolsError, Talk, listening

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
UUID = "0b6f88dd-36fc-4570-b223-df60fa02fd24"


def frame(message: object) -> bytes:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    if len(data) < 126:
        return bytes((0x81, len(data))) + data
    return b"\x81\x7f" + len(data).to_bytes(8, "big") + data


def script(number: str, url: str) -> bytes:
    params = {"scriptId": number, "url": url}
    return frame({"method": "Debugger.scriptParsed", "params": params})


def call(name: str, number: str, line: int) -> dict[str, Any]:
    location = {"scriptId": number, "lineNumber": line, "columnNumber": 4}
    return {"functionName": name, "location": location}


def paused(*calls: dict[str, Any]) -> bytes:
    return frame({"method": "Debugger.paused", "params": {"callFrames": calls}})


def flight(value: object) -> bytes:
    return frame({"id": 3, "result": {"result": {"value": value}}})


class TalkTests(SynchronousTestCase):
    """One talk."""

    def talk(self) -> Talk:
        return Talk(4711, UUID)

    @given(st.integers(1, 200))
    def test_pieces(self, size: int) -> None:
        """The stack is read with the files' names, however the bytes come."""
        talk = self.talk()
        self.assertIn(f"GET /{UUID} HTTP/1.1\r\nHost: 127.0.0.1:4711\r\n".encode(), talk.begin())
        data = UPGRADED + script("7", "file:///srv/a.js") + frame({"id": 1, "result": {}})
        data += paused(call("burn", "7", 2), call("", "8", 0))
        sent = b"".join(talk.feed(data[at : at + size]) for at in range(0, len(data), size))
        self.assertEqual(talk.stack, ("burn (/srv/a.js:3:5)", "<anonymous> (?:1:5)"))
        for method in (b"Debugger.enable", b"Debugger.pause", b"Runtime.evaluate"):
            self.assertEqual(sent.count(b'"' + method + b'"'), 1)
        self.assertFalse(talk.over)
        talk.feed(flight('[["GET","/a?b",12]]'))
        self.assertEqual([one.path for one in talk.requests], ["/a"])
        self.assertTrue(talk.over)

    def test_no_guard(self) -> None:
        """Where nobody answers for the requests the stack is enough."""
        talk = self.talk()
        talk.feed(UPGRADED + paused(call("f", "1", 0)) + flight(None))
        self.assertTrue(talk.over)
        self.assertEqual(talk.requests, ())

    def test_deep(self) -> None:
        """Of an endless recursion the innermost calls are kept."""
        talk = self.talk()
        talk.feed(UPGRADED + paused(*(call("f", "1", line) for line in range(900))))
        self.assertEqual(len(talk.stack), FRAMES_MAX)

    def test_refused(self) -> None:
        """What is no inspector's is not listened to."""
        for data in (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            UPGRADED + b"\x88\x00",
            UPGRADED + b"\x81\x7f" + (1 << 40).to_bytes(8, "big"),
            UPGRADED + frame(b"[]"),
            UPGRADED + frame(b"[" * 100_000),
            UPGRADED + frame({"method": "Debugger.paused", "params": {"callFrames": [1]}}),
            UPGRADED + flight("{}"),
        ):
            with self.assertRaises(DevtoolsError):
                self.talk().feed(data)

    @given(st.lists(st.binary(max_size=300)))
    def test_nonsense(self, pieces: list[bytes]) -> None:
        """Nothing that is sent does more harm than that."""
        talk = self.talk()
        with contextlib.suppress(DevtoolsError):
            for piece in (UPGRADED, *pieces):
                talk.feed(piece)

    def test_listening(self) -> None:
        """The address stands on stderr; the last one counts."""
        lines = [f"Debugger listening on ws://127.0.0.1:{port}/{UUID}" for port in (1, 2)]
        self.assertEqual(listening(["x", *lines, "For help, see"]), (2, UUID))
        self.assertIsNone(listening([f"Debugger listening on ws://10.0.0.1:1/{UUID}"]))


class OptionTests(SynchronousTestCase):
    """What the environment says of the inspector."""

    def options(self, own: str = "", *, debugged: bool = False) -> str:
        account = environment.Account("ann", "/home/ann")
        join = environment.Join("/guard.cjs", "/join", "/back", "token", debugged)
        env = {"NODE_OPTIONS": own}
        wish = environment.Wish("app", 0, 3000, account, inherited={}, own=env, join=join)
        return environment.build(wish)["NODE_OPTIONS"]

    def test_quiet(self) -> None:
        """Its address is told on stderr only, unless a person debugs the app."""
        self.assertIn("--inspect-publish-uid=stderr", self.options("--max-old-space-size=99"))
        self.assertNotIn("publish", self.options("--inspect=9300"))
        self.assertNotIn("publish", self.options(debugged=True))
