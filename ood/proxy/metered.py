"""Every request on the proxied path, whatever serves it: counted, timed, and written down."""

from __future__ import annotations

import re

from ood.clock import wall_time
from ood.net.filepart import FilePart
from ood.proxy.context import Context
from ood.proxy.core import pages
from ood.proxy.core.forward import Peer
from ood.proxy.core.pages import Page
from ood.proxy.core.request import Request
from ood.proxy.core.response import Response
from ood.proxy.downstream import Downstream, Flow
from ood.proxy.static.files import File
from ood.proxy.upstream import TCP
from ood.traffic.records import OFF, Record
from ood.traffic.traffic import AppTraffic

CLIENT_LEFT = 499
"""The status of a request whose client went before an answer had begun, as nginx has it."""
PAGE = "page"
"""The way of what ood answers itself."""

_TOLD = re.compile(rb"\n(?i:(referer|user-agent)):[ \t]*([^\r]*)")
_NAMED = re.compile(rb"\n(?i:x-request-id):[ \t]*([^\r]*)")


class Metered:
    """Stands between a downstream and a flow, and looks at what passes.

    To either it is the other one.  What serves the request may say how and by whom: a
    flow's ``way`` is what :class:`ood.traffic.records.Record` has as ``via``, its ``worker`` is a
    number.

    :param began: when the request came, if that is not now.
    :ivar named: the request's fields, with the name that the rules gave it.
    :ivar user: who gave ood a password.
    """

    __slots__ = (
        "_began",
        "_context",
        "_downstream",
        "_entry",
        "_flow",
        "_part",
        "_peer",
        "_request",
        "_size",
        "_source",
        "_status",
        "named",
        "user",
    )

    def __init__(
        self,
        context: Context,
        downstream: Downstream,
        request: Request,
        peer: Peer,
        app: str,
        *,
        began: float | None = None,
    ) -> None:
        self._context = context
        self._downstream = downstream
        self._request = request
        self.named = request.fields
        self.user = ""
        self._peer = peer
        self._flow: Flow | None = None
        self._source: Flow | None = None
        self._status = 0
        self._size = 0
        self._part: FilePart | None = None
        self._entry: AppTraffic | None = context.traffic.of(app)
        self._entry.in_flight += 1
        self._began = context.traffic.now() if began is None else began

    @property
    def flow(self) -> Flow | None:
        """What serves the request; None before that and after the request's end."""
        return self._flow

    @flow.setter
    def flow(self, flow: Flow | None) -> None:
        if hasattr(flow, "way"):
            self._source = flow
        self._flow = flow
        self._downstream.flow = None if flow is None else self

    @property
    def full(self) -> bool:
        """Whether more than the high-water mark waits to be sent."""
        return self._downstream.full

    @property
    def broken(self) -> bool:
        """Whether the client can't be written to any more."""
        return self._downstream.broken

    # What the flow calls.

    def interim(self, response: Response) -> None:
        """Pass it on."""
        self._downstream.interim(response)

    def reply(
        self, response: Response, data: bytes, *, end: bool = False, trailers: bytes = b""
    ) -> None:
        """Note the status, and the end."""
        self._status = response.status
        self._size = len(data)
        if end:
            self._over()
        self._downstream.reply(response, data, end=end, trailers=trailers)

    def data(self, payload: bytes) -> None:
        """Note the length."""
        self._size += len(payload)
        self._downstream.data(payload)

    def file(self, file: File, start: int, length: int) -> FilePart | None:
        """Have a part of a file sent as data; None if only :meth:`data` can send it.

        Else the file is the connection's.
        """
        send = getattr(self._downstream, "file", None)
        if send is not None:
            self._part = send(file, start, length)
        if self._part is not None:
            self._size += length
        return self._part

    def end(self, payload: bytes = b"", trailers: bytes = b"") -> None:
        """Note the end, unless it is a tunnel's."""
        self._size += len(payload)
        if self._status != 101:
            self._over()
        self._downstream.end(payload, trailers)

    def page(self, page: Page) -> None:
        """Note the status, and the end."""
        secured = self._context.secured
        if secured is not None and self._entry is not None:
            page = secured.marked_page(self._entry.app, page, self._peer)
        self._status = page.status
        self._size = self._length(page)
        self._over(PAGE)
        self._downstream.page(page)

    def abort(self) -> None:
        """Note the end."""
        self._over()
        self._downstream.abort()

    def tunnel(self, response: Response, data: bytes) -> None:
        """Count it now: its length in time says nothing of the app."""
        self._status = 101
        self._size = len(data)
        entry = self._entry
        if entry is not None:
            entry.tally(self._way()).classes[1] += 1
            entry.in_flight -= 1
        self._downstream.tunnel(response, data)

    def close(self) -> None:
        """Note the end."""
        self._over()
        self._downstream.close()

    def pause_body(self) -> None:
        """Pass it on."""
        self._downstream.pause_body()

    def resume_body(self) -> None:
        """Pass it on."""
        self._downstream.resume_body()

    def watch(self) -> None:
        """Pass it on."""
        self._downstream.watch()

    def touch(self, seconds: float) -> None:
        """Pass it on."""
        self._downstream.touch(seconds)

    # What the downstream calls: only while there is a flow.

    def start(self) -> None:
        """Not called: the flow is started by who makes it."""

    def body(self, payload: bytes) -> None:
        """Pass it on."""
        if self._flow is not None:
            self._flow.body(payload)

    def body_ended(self, trailers: bytes) -> None:
        """Pass it on."""
        if self._flow is not None:
            self._flow.body_ended(trailers)

    def body_failed(self, page: Page) -> None:
        """Pass it on."""
        if self._flow is not None:
            self._flow.body_failed(page)

    def client_flushed(self) -> None:
        """Pass it on."""
        if self._flow is not None:
            self._flow.client_flushed()

    def client_drained(self) -> None:
        """Pass it on."""
        if self._flow is not None:
            self._flow.client_drained()

    def client_failed(self) -> None:
        """Note the end."""
        flow = self._flow
        self._over()
        if flow is not None:
            flow.client_failed()

    def expired(self) -> None:
        """Pass it on."""
        if self._flow is not None:
            self._flow.expired()

    def drain(self) -> None:
        """Pass it on."""
        if self._flow is not None:
            self._flow.drain()

    def cancel(self) -> None:
        """Pass it on."""
        if self._flow is not None:
            self._flow.cancel()

    # The books.

    def _length(self, page: Page) -> int:
        if self._request.method == b"HEAD":
            return 0
        return len(pages.parts(page, pages.accepted(self._request.fields))[1])

    def _way(self) -> str:
        return getattr(self._source, "way", "") or PAGE

    def _over(self, way: str = "") -> None:
        """The request is over: once."""
        entry, self._entry = self._entry, None
        if entry is None:
            return
        way = way or self._way()
        now = self._context.traffic.now()
        seconds = now - self._began
        if self._part is not None:  # the client may have left in its midst
            self._size -= self._part.left
        status = self._status or CLIENT_LEFT
        worker: int | None = getattr(self._source, "worker", None)
        self._flow = self._source = None  # the flow knows this object: no circle must be left
        if status != 101:
            entry.in_flight -= 1
            entry.tally(way).count(now, status, seconds, self._size)
            if way == TCP and worker is not None:
                entry.worker(worker).count(now, status, seconds, self._size)
        if entry.form != OFF:
            entry.write(self._record(entry.app, status, seconds, way, worker))

    def _record(
        self, app: str, status: int, seconds: float, way: str, worker: int | None
    ) -> Record:
        request = self._request
        told = {name.lower(): value for name, value in _TOLD.findall(b"\n" + request.fields)}
        named = _NAMED.findall(b"\n" + self.named)
        return Record(
            time=wall_time().timestamp(),
            client=self._peer.address,
            user=self.user,
            method=request.method.decode("ascii"),
            target=request.target.decode("latin-1"),
            version=getattr(self._downstream, "version", "") or f"1.{request.minor}",
            status=status,
            size=self._size,
            seconds=seconds,
            referer=told.get(b"referer", b"").rstrip().decode("latin-1"),
            agent=told.get(b"user-agent", b"").rstrip().decode("latin-1"),
            host=(request.host or b"").decode("latin-1"),
            app=app,
            via=way,
            worker=worker,
            request_id=named[-1].rstrip().decode("latin-1") if named else "",
        )
