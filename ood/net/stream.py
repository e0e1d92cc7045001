"""A connected stream socket on an own reactor descriptor.

Twisted's transports cost about twice as much for each event.  A
:class:`Stream` reads and writes at once where it can, enters the reactor only
where it must, and tells its owner by overridden methods.  It never calls back
out of one of its own methods: a failure to write sets :attr:`Stream.broken`.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import cast

from twisted.internet.interfaces import IReactorFDSet, IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ood.agreement import Agreement
from ood.net.filepart import FilePart, OpenFile
from ood.net.listen import RawSocket

READ_BYTES = 16_384
"""Bytes of a read, as long as little comes: most messages are shorter."""
READ_BYTES_MAX = 122_880
"""Bytes of a read where much comes: a quarter less work for large bodies than with half as many.
From 128 KiB on glibc maps memory anew for each read, which costs more than it brings."""
WRITE_HIGH_BYTES = 262_144
"""With more than this unsent, whoever produces should stop: a stream's memory is bounded by it."""
WRITE_LOW_BYTES = 65_536
"""With no more than this unsent, production goes on: enough to keep the socket busy meanwhile."""


_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
DONTWAIT = int(socket.MSG_DONTWAIT)  # the enumeration's own operators take a microsecond
SEND_LAST = DONTWAIT | int(socket.MSG_MORE)
"""For what is sent right before the socket is closed: data and end then go in one packet."""


class WriteFirstError(BlockingIOError):
    """Nothing can be read before something of the socket's own is sent: TLS answers by itself."""


@implementer(IReadWriteDescriptor)
class Stream:
    """A connected (or connecting) stream socket: TCP, or one end of a unix pair.

    It does not read before :meth:`resume_reading`.  Subclasses override
    :meth:`received`, :meth:`ended`, :meth:`backed_up`, :meth:`drained`, :meth:`flushed`,
    :meth:`agreeing`, :meth:`connected`, :meth:`failed` and :meth:`gone`.

    :param agreement: what both sides have to do before anything is said on the connection.
    :ivar sock: the socket.
    :ivar backlog: bytes accepted by :meth:`write` that the kernel has not taken yet.
    :ivar queued_bytes: bytes that were ever part of the backlog.
    :ivar connecting: the connection is not established yet; writes are kept.
    :ivar broken: the peer can't be written to any more; nobody was called.
    :ivar error: why the connection failed, if the socket said so.
    :ivar closed: the socket is closed; nothing is called any more.
    """

    __slots__ = (
        "_agreement",
        "_fd",
        "_finishing",
        "_out",
        "_owing",
        "_parts",
        "_reactor",
        "_read_bytes",
        "_reading",
        "_shutting",
        "_writing",
        "backlog",
        "broken",
        "closed",
        "connecting",
        "error",
        "queued_bytes",
        "sock",
    )

    def __init__(
        self,
        reactor: IReactorFDSet,
        sock: RawSocket,
        *,
        connecting: bool = False,
        agreement: Agreement | None = None,
    ) -> None:
        self.sock = sock
        self.backlog = 0
        self.queued_bytes = 0
        self.connecting = connecting
        self.broken = False
        self.closed = False
        self.error: OSError | None = None
        self._agreement = agreement
        self._reactor = reactor
        self._fd = sock.fileno()
        self._out: list[bytes | memoryview | FilePart] = []
        self._parts = 0  # how many of these are files
        self._reading = False
        self._read_bytes = READ_BYTES
        self._writing = False
        self._finishing = False
        self._shutting = False
        self._owing = False  # reading waits until the socket takes something
        if connecting:
            self._start_writing()

    # What subclasses override.

    def received(self, data: bytes) -> None:
        """Take what was read."""

    def ended(self) -> None:
        """Learn that the peer will send no more; reading has stopped."""

    def backed_up(self) -> None:
        """Learn that the kernel did not take all; must neither write nor close."""

    def drained(self) -> None:
        """Learn that the backlog fell to the low-water mark."""

    def flushed(self) -> None:
        """Learn that some of the backlog was sent."""

    def agreeing(self) -> None:
        """Learn that the peer is there, and that the agreement begins."""

    def connected(self) -> None:
        """Learn that the connection is established."""

    def failed(self) -> None:
        """Learn that the connection broke (or was not made); :meth:`gone` follows."""

    def gone(self) -> None:
        """Learn that the socket is closed, for whatever reason: called once, last."""

    # What owners call.

    def resume_reading(self) -> None:
        """Read from now on."""
        if not self._reading and not self.closed:
            self._reading = True
            self._reactor.addReader(self)

    def pause_reading(self) -> None:
        """Leave what comes in the kernel; the peer stops when that is full."""
        if self._reading:
            self._reading = False
            self._reactor.removeReader(self)

    def write(self, data: bytes, *, last: bool = False) -> None:
        """Send ``data``, at once if nothing waits before it.

        :param last: the stream is closed right after it: data and end then go in one packet.
        """
        if not self._out and not self.connecting and not self.closed:
            try:
                sent = self.sock.send(data, SEND_LAST if last else DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.broken = True
                return
            if sent == len(data):
                return
            self._queue(memoryview(data)[sent:])
        elif data:
            self._queue(data)

    def undelivered(self) -> int:
        """Return how many of the bytes written the peer has not acknowledged yet."""
        try:
            ioctl(self._fd, TIOCOUTQ, left := bytearray(4))
        except OSError:
            return self.backlog
        return self.backlog + int.from_bytes(left, sys.byteorder)

    def write_file(self, file: OpenFile, start: int, length: int) -> FilePart | None:
        """Have the kernel send a part of a file after what was written before.

        None if it can't do that on this socket; then nothing was done.  Else the file is the
        stream's, which closes it, and what is returned knows how much of it is left to be sent.
        """
        sock: object = self.sock
        if not isinstance(sock, RawSocket):
            return None
        part = FilePart(file, start, length)
        if self.closed or self.broken:
            part.close()
            return part
        self._out.append(part)
        self._parts += 1
        self._grown(length)
        return part

    def end_writing(self) -> None:
        """Tell the peer, after everything written, that no more will come."""
        if self._out or self.connecting:
            self._shutting = True
            return
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            self._shutting = True
            self._start_writing()
        except OSError:
            self.broken = True

    def finish(self) -> None:
        """Close when everything written was sent."""
        if self._out and not self.broken:
            self._finishing = True
            self.pause_reading()
        else:
            self.close()

    def close(self) -> None:
        """Close at once; what the kernel has taken is still delivered."""
        if self.closed:
            return
        self.closed = True
        self._release()
        self.sock.close()
        self.gone()

    def reset(self) -> None:
        """Close at once so that the peer sees an error, not a regular end."""
        if not self.closed:
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            except OSError:
                self.broken = True
            self.close()

    def detach(self) -> RawSocket:
        """Leave the reactor and give the socket away; :meth:`gone` is called."""
        self.closed = True
        self._release()
        self.gone()
        return self.sock

    # The reactor's side.

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def logPrefix(self) -> str:
        """Return the name under which the reactor logs."""
        return type(self).__name__

    def doRead(self) -> None:
        """Read once."""
        if self.connecting:
            self._queue_agreement()
            return
        try:
            data = self.sock.recv(self._read_bytes, DONTWAIT)
        except BlockingIOError as blocked:
            if isinstance(blocked, WriteFirstError):
                self._owing = True
                self._reactor.removeReader(self)
                self._start_writing()
            return
        except OSError as error:
            self._fail(error)
            return
        size = len(data)
        if size:
            self._read_bytes = READ_BYTES if size < READ_BYTES else READ_BYTES_MAX
            self.received(data)
        else:
            self.pause_reading()
            self.ended()

    def doWrite(self) -> None:
        """Send what waits."""
        if self.connecting and not self._finish_connecting():
            return
        if self._owing and not self._pay():
            return
        try:
            if self._out:
                self._send_queue()
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        if not self._out and not self._owing:
            self._stop_writing()

    def connectionLost(self, _reason: Failure) -> None:
        """Take the reactor's word that the connection is lost."""
        if not self.closed:
            self._fail(self._pending_error())

    def _pending_error(self) -> OSError | None:
        """Return what the kernel has to say of the connection, once."""
        number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return OSError(number, os.strerror(int(number))) if number else None

    def _finish_connecting(self) -> bool:
        error = self._pending_error()
        if error is not None:
            self._fail(error)
            return False
        if self._agreement is not None:
            self._queue_agreement()
            return False
        self.connecting = False
        self.connected()
        return not self.closed

    def _queue_agreement(self) -> None:
        """Wait until it is this connection's turn to agree."""
        assert self._agreement is not None
        self._leave_reactor()
        if not self._agreement.begun:
            self.agreeing()
        self._agreement.queue(self)

    def step(self) -> None:
        """Agree on what can be agreed on now; the agreement's queue calls it."""
        if self.closed or self._agreement is None:
            return
        try:
            self.sock = self._agreement.step(self.sock)
        except WriteFirstError:
            self._start_writing()
        except BlockingIOError:
            self.resume_reading()
        except OSError as error:
            self._fail(error)
        else:
            self._agreement = None
            self.connecting = False
            self._start_writing()  # what was written meanwhile
            self.connected()

    def give_up(self) -> None:
        """Fail: the agreement can't go on."""
        self._fail()

    def _pay(self) -> bool:
        """Read once more, so that the socket sends what it owes; false if it is closed then."""
        self._owing = False
        if self._reading:
            self._reactor.addReader(self)
            self.doRead()
        return not self.closed

    def _queue(self, data: bytes | memoryview) -> None:
        if self.closed or self.broken:
            return
        self._out.append(data)
        self._grown(len(data))

    def _grown(self, size: int) -> None:
        before = self.backlog
        self.backlog = before + size
        self.queued_bytes += size
        self._start_writing()
        if not before:
            self.backed_up()

    def _send_queue(self) -> None:
        if self._parts:
            self._sent(self._send_first())
            return
        waiting = cast("list[bytes | memoryview]", self._out)
        data = waiting[0] if len(waiting) == 1 else b"".join(waiting)
        sent = self.sock.send(data, DONTWAIT)
        self._out = [memoryview(data)[sent:]] if sent < self.backlog else []
        self._sent(sent)

    def _send_first(self) -> int:
        """Send of the first thing in the queue what the socket takes."""
        first = self._out[0]
        if isinstance(first, FilePart):
            sent = first.send(self._fd)
            if not first.left:
                first.close()
                self._parts -= 1
                del self._out[0]
        else:
            sent = self.sock.send(first, DONTWAIT)
            rest = memoryview(first)[sent:]
            self._out[:1] = [rest] if rest else []
        return sent

    def _sent(self, count: int) -> None:
        before, self.backlog = self.backlog, self.backlog - count
        self.flushed()
        if self.backlog <= WRITE_LOW_BYTES < before and not self.closed:
            self.drained()

    def _start_writing(self) -> None:
        if not self._writing:
            self._writing = True
            self._reactor.addWriter(self)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._reactor.removeWriter(self)
        if self._finishing:
            self.close()
        elif self._shutting and not self.closed:
            self._shutting = False
            self.end_writing()

    def _leave_reactor(self) -> None:
        self.pause_reading()
        if self._writing:
            self._writing = False
            self._reactor.removeWriter(self)

    def _release(self) -> None:
        self._leave_reactor()
        for part in self._out if self._parts else ():
            if isinstance(part, FilePart):
                part.close()
        self._out, self._parts = [], 0
        self.backlog = 0

    def _fail(self, error: OSError | None = None) -> None:
        if not self.closed:
            self.error = error
            self.broken = True
            self.closed = True
            self._release()
            self.sock.close()
            self.failed()
            self.gone()
