"""Many descriptors behind one of the reactor's: edge-triggered, registered once.

The reactor asks for readability and writability by separate calls that change
its poll set; a relay would pay for that at every pause of every connection.
Here a descriptor is registered once for all events and reported when its
state changes, and the reactor sees a single descriptor: the epoll itself.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

Handler = Callable[[int], None]

EVENTS_PER_TURN = 512
"""Events worked off before the reactor gets a turn: a few milliseconds."""

EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
FAILED = select.EPOLLERR
WRITABLE = select.EPOLLOUT
READABLE = select.EPOLLIN | ENDED
REREAD = select.EPOLLIN | select.EPOLLRDHUP
"""What to act as if it had happened, to read a socket to where it blocks or ends."""


@implementer(IReadDescriptor)
class Poller:
    """Dispatches the events of registered sockets to their handlers."""

    log = Logger()

    def __init__(self, reactor: IReactorFDSet, clock: IReactorTime) -> None:
        self._reactor = reactor
        self._clock = clock
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._closing: list[socket.socket] = []
        self._unfinished: list[Callable[[], None]] = []
        self._call: IDelayedCall | None = None
        self._working = False
        reactor.addReader(self)

    def __len__(self) -> int:
        return len(self._handlers)

    def fileno(self) -> int:
        """Return the epoll's descriptor."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """Return how the reactor names this in its log."""
        return "balancer"

    def listen(self, sock: socket.socket, handler: Handler) -> None:
        """Call ``handler`` as long as ``sock`` is readable."""
        self._handlers[sock.fileno()] = handler
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def pause(self, sock: socket.socket) -> None:
        """Do not report ``sock`` until it is registered again."""
        if self._handlers.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def watch(self, sock: socket.socket, handler: Handler) -> None:
        """Call ``handler`` whenever ``sock`` becomes readable or writable."""
        self._handlers[sock.fileno()] = handler
        self._epoll.register(sock.fileno(), EDGES)

    def release(self, sock: socket.socket) -> None:
        """Forget ``sock`` and close it.

        Within a round of events it is closed only at the end, so that its
        number can't come back as another connection's while events for it wait.
        """
        number = sock.fileno()
        if number < 0:
            return
        if self._handlers.pop(number, None) is not None and self._working:
            self._epoll.unregister(number)
            self._closing.append(sock)
        else:
            sock.close()

    def again(self, work: Callable[[], None]) -> None:
        """Do ``work`` after the reactor had a turn: what an edge won't report again."""
        if not self._unfinished:
            self._call = self._clock.callLater(0, self._finish)
        self._unfinished.append(work)

    def _finish(self) -> None:
        self._call = None
        works, self._unfinished = self._unfinished, []
        self._working = True
        for work in works:
            self._guard(work)
        self._end_round()

    def _guard(self, work: Callable[..., None], *arguments: int) -> None:
        """Do ``work``; its failure must not keep others from theirs."""
        try:
            work(*arguments)
        except Exception:
            self.log.failure("A connection's handler failed")

    def doRead(self) -> None:
        """Work off what has happened."""
        handlers = self._handlers
        self._working = True
        for number, events in self._epoll.poll(0, EVENTS_PER_TURN):
            handler = handlers.get(number)
            if handler is not None:  # else it was released earlier in this round
                self._guard(handler, events)
        self._end_round()

    def _end_round(self) -> None:
        self._working = False
        closing, self._closing = self._closing, []
        for sock in closing:
            sock.close()

    def connectionLost(self, reason: Failure) -> None:
        """Nothing to do: the owner stops the poller."""

    def stop(self) -> None:
        """Close everything that is still registered."""
        self._reactor.removeReader(self)
        if self._call is not None:
            self._call.cancel()
        self._handlers.clear()
        self._epoll.close()
