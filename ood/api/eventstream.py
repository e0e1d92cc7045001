"""``/api/v1/events``: what happens, and how everything is, as server-sent events.

Each event of the bus goes to every reader that wants it.  Once a second, while
somebody reads, the state of all apps is looked at once and what is different is
sent to all.  Whoever was away says which event it saw last and gets what it
missed, or the event ``reset``: read everything again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ood.api.follow import Follower
from ood.api.problems import WebRequest
from ood.api.query import read_query, whole_number
from ood.api.snapshot import Plain, Snapshot, only
from ood.api.types import (
    EVENT_STREAM_TYPE,
    EVENTS_LAST_MAX,
    EVENTS_SECONDS_MAX,
    STATUS_EVENT,
)
from ood.errors import Fault, InvalidError, UnavailableError
from ood.events import KINDS, Event, EventBus
from ood.interfaces import IController

STREAMS_MAX = 64
"""Most readers at once: each keeps a connection and up to a backlog of memory."""
TICK_SECONDS = 1.0
"""How often the state is looked at while somebody reads."""
HEARTBEAT_TICKS = 15
"""After so many ticks something is written, so that a connection that is gone is noticed and
no tunnel takes it for idle."""
RETRY_MS = 2000
"""How long a browser shall wait before it comes back."""
HEARTBEAT = b":\n\n"

_encode = msgspec.json.Encoder().encode
_log = Logger(namespace="ood.api")


@dataclass(frozen=True)
class Wanted:
    """What a reader wants to hear.

    :ivar kinds: kinds of events, ``status`` among them; all if empty.
    :ivar app: only what is about this app.
    :ivar last: how many of the last events to begin with.
    :ivar seconds: after how many to end; never if None.
    """

    kinds: frozenset[str] = frozenset()
    app: str | None = None
    last: int = 0
    seconds: int | None = None

    def wants(self, kind: str, app: str) -> bool:
        """Tell whether to send an event."""
        return (not self.kinds or kind in self.kinds) and self.app in {None, app}

    @property
    def status(self) -> bool:
        """Whether the state is wanted, too."""
        return not self.kinds or STATUS_EVENT in self.kinds


def message(kind: str, data: object, id_: str = "") -> bytes:
    """Return one server-sent event."""
    head = f"id: {id_}\n" if id_ else ""
    return f"{head}event: {kind}\ndata: ".encode() + _encode(data) + b"\n\n"


def wanted_of(request: WebRequest, queries: Iterable[str]) -> Wanted:
    """Return what a request's query asks for.

    :raises InvalidError: with every fault.
    """
    faults: list[Fault] = []
    values = read_query(request, queries, faults)
    kinds = frozenset(filter(None, values.get("kinds", "").split(",")))
    known = {*KINDS, STATUS_EVENT}
    if kinds - known or ("kinds" in values and not kinds):
        faults.append(Fault("kinds", "is not right", f"some of {', '.join(sorted(known))}"))
    last = whole_number(values, "last", 0, EVENTS_LAST_MAX, faults)
    seconds = whole_number(values, "seconds", 0, EVENTS_SECONDS_MAX, faults)
    if faults:
        raise InvalidError(faults)
    return Wanted(kinds, values.get("app"), last, seconds if "seconds" in values else None)


@dataclass
class _Changes:
    """One tick's change, encoded once for all, and once for each app that readers watch."""

    change: Plain
    _encoded: dict[str | None, bytes] = field(default_factory=dict)

    def of(self, app: str | None) -> bytes:
        if app not in self._encoded:
            part = self.change if app is None else only(self.change, app)
            self._encoded[app] = message(STATUS_EVENT, part) if part else b""
        return self._encoded[app]


class EventStreams:
    """All readers of events.

    :param run: names this run of the service in the events' ids: another one counts anew.
    """

    def __init__(
        self, controller: IController, events: EventBus, clock: IReactorTime, run: str = ""
    ) -> None:
        self._controller = controller
        self._events = events
        self._clock = clock
        self._run = run or secrets.token_hex(4)
        self._streams: dict[Follower, Wanted] = {}
        self._may_go_on: dict[Follower, Callable[[], bool]] = {}
        self._snapshot: Snapshot | None = None
        self._timer: IDelayedCall | None = None
        self._ticks = 0
        self._stopped = False
        self._unsubscribe: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._streams)

    def stop(self) -> None:
        """End every stream."""
        self._stopped = True
        for stream in tuple(self._streams):
            stream.finish()

    async def serve(
        self, request: WebRequest, wanted: Wanted, may_go_on: Callable[[], bool] = lambda: True
    ) -> None:
        """Send events until either side ends it.

        :param may_go_on: asked each second; a reader that has logged out gets no more.
        :raises OodError: there is no such app, or there are too many readers.
        """
        if self._stopped or len(self._streams) >= STREAMS_MAX:
            raise UnavailableError(
                f"{len(self._streams)} readers of events are there already", "close one of them"
            )
        if wanted.app is not None:
            self._controller.status(wanted.app)
        stream = Follower(request, EVENT_STREAM_TYPE, bytes)
        first = [*self._missed(request.getHeader("last-event-id"), wanted)]
        if wanted.status:
            first.append(message(STATUS_EVENT, self._present().whole(wanted.app)))
        self._add(stream, wanted, may_go_on)
        end = None
        if wanted.seconds is not None:
            end = self._clock.callLater(wanted.seconds, stream.finish)
        try:
            stream.start(first)
            await stream.done
        finally:
            if end is not None and end.active():
                end.cancel()
            self._remove(stream)

    def _add(self, stream: Follower, wanted: Wanted, may_go_on: Callable[[], bool]) -> None:
        if not self._streams:
            self._unsubscribe = self._events.subscribe(self._happened)
            self._timer = self._clock.callLater(TICK_SECONDS, self._tick)
        self._streams[stream] = wanted
        self._may_go_on[stream] = may_go_on

    def _remove(self, stream: Follower) -> None:
        del self._streams[stream], self._may_go_on[stream]
        if self._streams:
            return
        self._unsubscribe()
        self._snapshot = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- events

    def _id(self, number: int) -> str:
        return f"{self._run}.{number}"

    def _message(self, event: Event) -> bytes:
        return message(event.kind, event, self._id(event.id))

    def _missed(self, last_seen: str | None, wanted: Wanted) -> Iterable[bytes]:
        """Yield what a reader has to know before what comes now."""
        yield f"retry: {RETRY_MS}\n".encode()
        last_id = self._events.last_id
        if last_seen:
            events = self._after(last_seen)
            if events is None:
                yield message("reset", {"lastId": last_id}, self._id(last_id))
        else:
            events = self._events.after(max(last_id - wanted.last, 0))
            events = events if wanted.last else []
        for event in events or ():
            if wanted.wants(event.kind, event.app):
                yield self._message(event)
        yield f"id: {self._id(last_id)}\n\n".encode()

    def _after(self, last_seen: str) -> list[Event] | None:
        run, _, number = last_seen.rpartition(".")
        if run != self._run or not (number.isascii() and number.isdigit() and len(number) < 16):
            return None
        return self._events.after(int(number))

    def _happened(self, event: Event) -> None:
        encoded = self._message(event)
        for stream, wanted in tuple(self._streams.items()):
            if wanted.wants(event.kind, event.app):
                stream.send(encoded)

    # -- state

    def _present(self) -> Snapshot:
        """Return the state that readers know; the first reader finds it fresh."""
        if self._snapshot is None:
            self._snapshot = Snapshot()
            self._snapshot.update(self._controller.status(None))
        return self._snapshot

    def _tick(self) -> None:
        self._timer = self._clock.callLater(TICK_SECONDS, self._tick)
        self._ticks += 1
        for stream in [one for one, may in self._may_go_on.items() if not may()]:
            stream.finish()
        try:
            self._tell_changes()
        except Exception:
            _log.failure("the apps' state could not be sent")
        if self._ticks % HEARTBEAT_TICKS == 0:
            for stream in tuple(self._streams):
                stream.send(HEARTBEAT)

    def _tell_changes(self) -> None:
        readers = [(one, wanted.app) for one, wanted in self._streams.items() if wanted.status]
        if not readers:
            self._snapshot = None
            return
        change = self._present().update(self._controller.status(None))
        if change is None:
            return
        changes = _Changes(change)
        for stream, app in readers:
            encoded = changes.of(app)
            if encoded:
                stream.send(encoded)
