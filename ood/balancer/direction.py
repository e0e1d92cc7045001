"""One direction of a TCP connection that is relayed.

Short exchanges are copied through one buffer that all connections share: a
pipe would cost more than it saves.  A direction that fills the buffer twice in
a row carries bulk, and from then on the kernel moves its data through a pipe
with splice(2), without copying it here.
"""

from __future__ import annotations

import os
import socket

from ood.balancer.pipes import PIPE_BYTES, Pipe, PipeStock

BUFFER_BYTES = 65536
"""The shared buffer; larger ones do not make copying faster."""

BULK_READS = 2
"""Full buffers in a row after which a direction is spliced."""

TURN_PIECES = 16
"""Pieces passed on for one direction before other connections get a turn."""

_buffer = memoryview(bytearray(BUFFER_BYTES))
_SPLICE = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE


class Direction:
    """Data on its way from one socket to another.

    :ivar finished: the source has ended and the sink was told.
    """

    __slots__ = (
        "_full_reads",
        "_held",
        "_pending",
        "_pipe",
        "_pipes",
        "_sink",
        "_source",
        "finished",
        "moved",
        "pieces",
    )

    def __init__(self, source: socket.socket, sink: socket.socket, pipes: PipeStock) -> None:
        self._source = source
        self._sink = sink
        self._pipes = pipes
        self._pipe: Pipe | None = None
        self._held = 0
        self._pending: bytes = b""
        self._full_reads = 0
        self.finished = False
        self.moved = 0
        self.pieces = 0

    @property
    def blocked(self) -> bool:
        """Say whether data waits for the sink to take it."""
        return bool(self._pending) or self._held > 0

    def pump(self, *, ended: bool) -> bool:
        """Pass on what there is; return False when there may be more at once.

        :param ended: whether the source is known to have ended, so that it has
            to be read to its end.
        """
        for _ in range(TURN_PIECES):
            if self.finished or not self._flush():
                return True
            size = self._fill() if self._pipe is not None else self._copy()
            if size < 0:
                return True
            if size == 0:
                self._finish()
                return True
            self.moved += size
            self.pieces += 1
            # less than asked for: the source is drained, unless its end waits behind
            if size < BUFFER_BYTES and not ended and not self.blocked and self._pipe is None:
                return True
        return False

    def _copy(self) -> int:
        """Read once and write it; return the size, 0 at the end, -1 for nothing there."""
        try:
            size = self._source.recv_into(_buffer)
        except BlockingIOError:
            return -1
        if size == 0:
            return 0
        self._note_size(size)
        data = _buffer[:size]
        try:
            sent = self._sink.send(data)
        except BlockingIOError:
            sent = 0
        if sent < size:
            self._pending = bytes(data[sent:])
        return size

    def _note_size(self, size: int) -> None:
        self._full_reads = self._full_reads + 1 if size == BUFFER_BYTES else 0
        if self._full_reads >= BULK_READS:
            self._pipe = self._pipes.take()
            self._full_reads = 0

    def _fill(self) -> int:
        """Move data from the source into the empty pipe."""
        assert self._pipe is not None
        try:
            size = os.splice(self._source.fileno(), self._pipe.write_end, PIPE_BYTES, flags=_SPLICE)
        except BlockingIOError:
            return -1
        self._held = size
        return size

    def _flush(self) -> bool:
        """Write what waits; return whether nothing waits any more."""
        try:
            while self._pending:
                sent = self._sink.send(self._pending)
                self._pending = self._pending[sent:]
            while self._held:
                assert self._pipe is not None
                self._held -= os.splice(
                    self._pipe.read_end, self._sink.fileno(), self._held, flags=_SPLICE
                )
        except BlockingIOError:
            return False
        return True

    def rest(self) -> None:
        """Return an empty pipe; when bulk begins again, another one is taken."""
        if self._pipe is not None and not self._held:
            self._pipes.give(self._pipe)
            self._pipe = None

    def _finish(self) -> None:
        self.finished = True
        self.rest()
        self._sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let go of the pipe."""
        if self._pipe is not None:
            self._pipes.discard(self._pipe) if self._held else self._pipes.give(self._pipe)
            self._pipe = None
