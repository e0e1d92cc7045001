"""The calls of one connection: matching answers to what was asked.

Shared by the transports, which only differ in how frames travel.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.defer import Deferred

from ood.errors import OodError
from ood.raft.errors import BusyError, ConnectionClosedError, FrameError, RemoteError
from ood.raft.interfaces import OnInvoke, Reply

# Calls without an answer yet, in one direction; beyond it somebody hangs.
PENDING_CALLS = 16_384

SEND, CALL, RESULT, ERROR = range(4)


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What travels on a connection.

    :ivar kind: SEND (no answer), CALL, RESULT or ERROR.
    :ivar call: tells calls apart; an answer has its call's.
    :ivar type: the call's type, the error's code.
    :ivar body: arguments, result, or the error's message.
    """

    kind: int
    call: int
    type: str
    body: bytes


class Calls:
    """Both directions' calls.

    :param transmit: sends a frame, or returns False when too much is waiting.
    """

    def __init__(self, transmit: Callable[[Frame], bool]) -> None:
        self._transmit = transmit
        self._listener: OnInvoke | None = None
        self._pending: dict[int, Deferred[bytes]] = {}
        self._last = 0
        self._closed = False

    def listen(self, callback: OnInvoke) -> None:
        """Set who takes the peer's calls; before, they are refused."""
        self._listener = callback

    def send(self, type: str, arguments: bytes) -> bool:
        """Send without an answer."""
        return not self._closed and self._transmit(Frame(SEND, 0, type, arguments))

    def invoke(self, type: str, arguments: bytes) -> Deferred[bytes]:
        """Call the peer."""
        answer: Deferred[bytes] = Deferred()
        if self._closed:
            answer.errback(ConnectionClosedError("the connection is closed"))
            return answer
        self._last += 1
        if len(self._pending) >= PENDING_CALLS or not self._transmit(
            Frame(CALL, self._last, type, arguments)
        ):
            answer.errback(BusyError("too much is waiting for this peer", "try again later"))
            return answer
        self._pending[self._last] = answer
        return answer

    def receive(self, frame: Frame) -> None:
        """Take a frame of the peer.

        :raises FrameError: it answers what was never asked, or is of no known kind.
        """
        if frame.kind in (SEND, CALL):
            self._receive_call(frame)
            return
        answer = self._pending.pop(frame.call, None)
        if answer is None or frame.kind not in (RESULT, ERROR):
            raise FrameError(f"frame of kind {frame.kind} for call {frame.call}")
        if frame.kind == RESULT:
            answer.callback(frame.body)
        else:
            answer.errback(RemoteError(frame.body.decode("utf-8", "replace"), frame.type))

    def _receive_call(self, frame: Frame) -> None:
        reply = self._replier(frame.call) if frame.kind == CALL else _no_reply
        if self._listener is None:
            reply(RemoteError("nobody listens on this connection"), b"")
        else:
            self._listener(frame.type, frame.body, reply)

    def _replier(self, call: int) -> Reply:
        def reply(error: Exception | None, result: bytes = b"") -> None:
            if self._closed:
                return
            if error is None:
                self._transmit(Frame(RESULT, call, "", result))
            else:
                code = error.code if isinstance(error, OodError) else "failed"
                self._transmit(Frame(ERROR, call, code, str(error).encode()))

        return reply

    def close(self, reason: str) -> None:
        """The connection is gone: nobody knows what became of pending calls."""
        self._closed = True
        pending, self._pending = self._pending, {}
        for answer in pending.values():
            answer.errback(ConnectionClosedError(f"the connection was lost: {reason}"))


def _no_reply(error: Exception | None, result: bytes) -> None:
    """Nobody waits for an answer."""
