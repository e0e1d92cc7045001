"""A non-blocking unix stream that carries bytes and descriptors, both ways."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorFDSet,
    IReactorTime,
    IReadWriteDescriptor,
)
from twisted.python.failure import Failure
from zope.interface import implementer

READ_BYTES = 65_536
"""Bytes of one read: what libuv reads at once, and the longest message."""
READ_DESCRIPTORS_MAX = 16
"""Descriptors of one read; peers send one a message, the kernel never joins two such."""
QUEUE_BYTES_MAX = 1 << 20
"""Bytes that wait for a peer that does not read: beyond, it is not going to."""
QUEUE_MESSAGES_MAX = 1024
"""Messages that wait: each may hold a descriptor, of which a process has few thousand."""
RETRY_SECONDS = 0.02
"""Pause when the kernel has too many descriptors in flight: the peer needs some turns."""

_RETRIED = frozenset({errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM})
_ANCILLARY_BYTES = socket.CMSG_SPACE(READ_DESCRIPTORS_MAX * 4)
_RIGHTS = (socket.SOL_SOCKET, socket.SCM_RIGHTS)
_pack = struct.Struct("i").pack

Received = Callable[[bytes, list[int]], None]


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that came along with a read."""
    found: list[int] = []
    for level, kind, data in ancillary:
        if (level, kind) == _RIGHTS:
            found += struct.unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4])
    return found


def close_all(descriptors: list[int]) -> None:
    """Close every descriptor of ``descriptors``."""
    for descriptor in descriptors:
        os.close(descriptor)


@implementer(IReadWriteDescriptor)
class FdChannel:
    """One end of such a stream, on the reactor.

    :ivar received: called with bytes and the descriptors that came with them; they
        belong to the callee.  May be replaced at any time.
    :ivar lost: called once, when the peer is gone or broke the rules; not after
        :meth:`close`.
    :ivar blocked_changed: called with whether the peer has stopped reading.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        sock: socket.socket,
        received: Received,
        lost: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._reactor = reactor
        self._clock = clock
        self._sock = sock
        self._sendmsg = sock.sendmsg
        self._queue: deque[tuple[bytes, int]] = deque()
        self._queued_bytes = 0
        self._retry: IDelayedCall | None = None
        self.received = received
        self.lost = lost
        self.blocked_changed: Callable[[bool], None] = lambda _: None
        self.open = True

    def start(self) -> None:
        """Begin to read."""
        self._reactor.addReader(self)

    @property
    def sock(self) -> socket.socket:
        """The socket, for its options and names."""
        return self._sock

    @property
    def blocked(self) -> bool:
        """Whether messages wait because the peer does not read."""
        return bool(self._queue)

    def fileno(self) -> int:
        """Return the descriptor the reactor watches."""
        return self._sock.fileno()

    def logPrefix(self) -> str:
        """Return what the reactor calls this in its log."""
        return "fdchannel"

    def send(self, data: bytes, fd: int = -1) -> bool:
        """Send ``data``, and ``fd`` with its first byte; False if that can't be.

        The caller keeps ``fd`` and may close it afterwards.  It is made non-blocking: the
        peer's libuv takes it as it is, and on a blocking socket one client that does not
        read would hold up the whole process in the midst of a write.
        """
        if fd >= 0:
            os.set_blocking(fd, False)
        if self._queue or not self.open:
            return self.open and self._enqueue(data, fd)
        try:
            sent = self._sendmsg((data,), ((*_RIGHTS, _pack(fd)),) if fd >= 0 else ())
        except OSError as error:
            return self._not_sent(error, data, fd)
        return sent == len(data) or self._enqueue(data[sent:], -1)

    def _not_sent(self, error: OSError, data: bytes, fd: int) -> bool:
        if error.errno != errno.EAGAIN and error.errno not in _RETRIED:
            return False  # the reader will find out what happened to the peer
        return self._enqueue(data, fd, pause=error.errno in _RETRIED)

    def _enqueue(self, data: bytes, fd: int, *, pause: bool = False) -> bool:
        if (
            len(self._queue) >= QUEUE_MESSAGES_MAX
            or self._queued_bytes + len(data) > QUEUE_BYTES_MAX
        ):
            return False
        try:
            copy = os.dup(fd) if fd >= 0 else -1
        except OSError:
            return False
        first = not self._queue
        self._queue.append((data, copy))
        self._queued_bytes += len(data)
        if first:
            self.blocked_changed(True)
            self._write_later(pause=pause)
        return True

    def _write_later(self, *, pause: bool) -> None:
        if pause:
            self._reactor.removeWriter(self)
            self._retry = self._clock.callLater(RETRY_SECONDS, self._resume)
        else:
            self._reactor.addWriter(self)

    def _resume(self) -> None:
        self._retry = None
        self._reactor.addWriter(self)

    def doWrite(self) -> None:
        """Send what waits; called by the reactor."""
        while self._queue:
            data, fd = self._queue[0]
            try:
                sent = self._sendmsg((data,), ((*_RIGHTS, _pack(fd)),) if fd >= 0 else ())
            except OSError as error:
                self._still_blocked(error)
                return
            self._queue.popleft()
            self._queued_bytes -= sent
            if fd >= 0:
                os.close(fd)
            if sent < len(data):
                self._queue.appendleft((data[sent:], -1))
        self._reactor.removeWriter(self)
        self.blocked_changed(False)

    def _still_blocked(self, error: OSError) -> None:
        if error.errno in _RETRIED:
            self._write_later(pause=True)
        elif error.errno != errno.EAGAIN:
            self._reactor.removeWriter(self)  # the reader finds the end of the stream

    def doRead(self) -> None:
        """Receive; called by the reactor."""
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(
                READ_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            self._end()
            return
        descriptors = _descriptors(ancillary)
        if not data or flags & socket.MSG_CTRUNC:
            close_all(descriptors)
            self._end()
            return
        self.received(data, descriptors)

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - the reactor's signature
        """Give up; called by the reactor when the descriptor failed."""
        self._end()

    def _end(self) -> None:
        if self.open:
            self.close()
            self.lost()

    def close(self) -> None:
        """Close the socket and forget what waits; ``lost`` is not called."""
        if not self.open:
            return
        self.open = False
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        close_all([fd for _, fd in self._queue if fd >= 0])
        self._queue.clear()
        self._sock.close()
