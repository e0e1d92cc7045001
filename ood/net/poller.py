"""Many descriptors behind one of the reactor's.

For each event Twisted's reactor sets up a logging context, which costs some two
microseconds: as much as parsing a request.  A :class:`Poller` has an epoll of
its own and is itself one descriptor of the reactor, so that this is paid once
for each batch of events.
"""

from __future__ import annotations

import select
from typing import TypeAlias

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor, IWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

EVENTS_PER_TURN = 256
"""Events taken in one turn of the reactor: its timers and other descriptors want theirs."""
ROUNDS_PER_TURN = 8
"""Looks at what has happened in one turn: one event may be a whole group of new connections."""
BUSY_EVENTS = 4
"""After a round with fewer events the next one hardly brings any: the reactor can wait for them."""

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_LOST = select.EPOLLERR | select.EPOLLHUP

Descriptor: TypeAlias = IReadDescriptor | IWriteDescriptor


@implementer(IReactorFDSet, IReadDescriptor)
class Poller:
    """A reactor for descriptors only, inside a reactor.

    Like Twisted's own it is level-triggered; a descriptor whose method raises loses
    its connection, and the error is logged.
    """

    log = Logger()

    def __init__(self, reactor: IReactorFDSet) -> None:
        self._reactor = reactor
        self._epoll = select.epoll()
        self._readers: dict[int, IReadDescriptor] = {}
        self._writers: dict[int, IWriteDescriptor] = {}
        self._fresh: set[int] = set()  # registered since the events at hand were polled
        self._delivering = False
        self._later: list[IWriteDescriptor] = []

    def start(self) -> None:
        """Deliver events from now on."""
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Deliver no more; what is still registered is forgotten."""
        if not self._epoll.closed:
            self._reactor.removeReader(self)
            self._readers.clear()
            self._writers.clear()
            self._later.clear()
            self._epoll.close()

    def soon(self, writer: IWriteDescriptor) -> bool:
        """Call ``doWrite`` once when the events at hand are delivered; false if there are none.

        What they lead to is then written together, and the kernel is not asked whether it
        has room.
        """
        if self._delivering:
            self._later.append(writer)
        return self._delivering

    # IReactorFDSet

    def addReader(self, reader: IReadDescriptor) -> None:
        """Call the reader's ``doRead`` when it can read."""
        fd = reader.fileno()
        if fd not in self._readers:
            self._readers[fd] = reader
            self._changed(fd, known=fd in self._writers)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """Call the writer's ``doWrite`` when it can write."""
        fd = writer.fileno()
        if fd not in self._writers:
            self._writers[fd] = writer
            self._changed(fd, known=fd in self._readers)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """Do not call it any more."""
        fd = reader.fileno()
        if self._readers.pop(fd, None) is not None:
            self._changed(fd, known=True)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """Do not call it any more."""
        fd = writer.fileno()
        if self._writers.pop(fd, None) is not None:
            self._changed(fd, known=True)

    def removeAll(self) -> list[Descriptor]:
        """Forget everything; return what was known."""
        known: list[Descriptor] = [*self._readers.values(), *self._writers.values()]
        for fd in {*self._readers, *self._writers}:
            self._readers.pop(fd, None)
            self._writers.pop(fd, None)
            self._changed(fd, known=True)
        return list(dict.fromkeys(known))

    def getReaders(self) -> list[IReadDescriptor]:
        """Return the readers."""
        return list(self._readers.values())

    def getWriters(self) -> list[IWriteDescriptor]:
        """Return the writers."""
        return list(self._writers.values())

    def _changed(self, fd: int, *, known: bool) -> None:
        mask = (_IN if fd in self._readers else 0) | (_OUT if fd in self._writers else 0)
        if not mask:
            self._epoll.unregister(fd)
        elif known:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
            self._fresh.add(fd)

    # IReadDescriptor: the reactor's side

    def fileno(self) -> int:
        """Return the descriptor of the epoll."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """Return the name under which the reactor logs."""
        return "poller"

    def doRead(self) -> None:
        """Deliver what has happened, and while there is much to do, what happens meanwhile.

        A turn of Twisted's reactor costs as much as several events.
        """
        left = EVENTS_PER_TURN
        for _ in range(ROUNDS_PER_TURN):
            delivered = self._round(left)
            left -= delivered
            if delivered < BUSY_EVENTS or not left or self._epoll.closed:
                return

    def _round(self, most: int) -> int:
        """Deliver the events that are there now, if not too many; return how many they were."""
        readers, writers = self._readers, self._writers
        events = self._epoll.poll(0, most)
        self._fresh.clear()
        self._delivering = True
        for fd, event in events:
            if fd in self._fresh:
                continue  # its number was another one's when this happened
            try:
                # A peer that is lost is found by reading, or else by writing.
                if event & (_IN | _LOST) and (reader := readers.get(fd)) is not None:
                    reader.doRead()
                if event & (_OUT | _LOST) and (writer := writers.get(fd)) is not None:
                    writer.doWrite()
            except Exception:
                self._broken(readers.get(fd) or writers.get(fd))
        self._delivering = False
        if self._later:
            self._write_later()
        return len(events)

    def _write_later(self) -> None:
        later, self._later = self._later, []
        for writer in later:
            try:
                writer.doWrite()
            except Exception:
                self._broken(writer)

    def _broken(self, descriptor: Descriptor | None) -> None:
        failure = Failure()  # type: ignore[no-untyped-call]
        self.log.failure("a connection failed", failure=failure)
        if descriptor is not None:
            lost = ConnectionLost(str(failure.value))
            descriptor.connectionLost(Failure(lost))  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:
        """Stop; the reactor found the epoll itself broken."""
        self.log.failure("the poller failed", failure=reason)
        self.stop()
