"""The flow that answers a request with a file."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall

from ood.clock import wall_time
from ood.proxy import limits
from ood.proxy.context import Context
from ood.proxy.core import pages
from ood.proxy.core.errand import BodyFilter, Errand
from ood.proxy.core.pages import Page
from ood.proxy.core.response import Response
from ood.proxy.downstream import Downstream
from ood.proxy.static.answers import Answer, StaticSite, answer_to
from ood.proxy.static.files import File

TURN_BYTES = 262_144
"""Of what is compressed so much is read before others get their turn: some 5 ms."""
CHUNK_BYTES = 65_536
"""What is read at once: a file up to this goes out with its head, in one write."""


class StaticFlow:
    """Sends a file: small ones at once, longer ones as fast as the client takes them.

    :ivar way: for the books.
    """

    __slots__ = (
        "_context",
        "_downstream",
        "_errand",
        "_file",
        "_filters",
        "_later",
        "_left",
        "_position",
        "_site",
        "way",
    )

    def __init__(
        self, context: Context, downstream: Downstream, errand: Errand, site: StaticSite
    ) -> None:
        self._context = context
        self._later: IDelayedCall | None = None
        self._downstream = downstream
        self._errand = errand
        self._site = site
        self._file: File | None = None
        self._filters: list[BodyFilter] = []
        self._position = 0
        self._left = 0
        self.way = "static"
        context.counters.proxied += 1

    def start(self) -> None:
        """Find the file, and send what goes out at once."""
        if not self._site.running:
            name = self._errand.app
            self._page(pages.unavailable("the site is stopped", f"Start it: ood start {name}"))
            return
        errand, now = self._errand, wall_time().timestamp()
        answer = answer_to(errand.request, self._site, now, below=errand.below)
        if isinstance(answer, Page):
            self._page(answer)
        else:
            self._send(answer)

    def _page(self, page: Page) -> None:
        """Answer with a page, the site's own if it has one for that."""
        site = self._errand.site or self._errand.app
        self._downstream.page(self._context.sites.dressed(page, site))

    def _send(self, answer: Answer) -> None:
        response = self._changed(answer.response)
        file = answer.file
        if file is None:
            self._downstream.reply(response, b"", end=True)
            return
        self._file, self._position, self._left = file, answer.start, answer.length
        data = self._read()
        if data is None:
            self._let_go()
            self._page(Page(503, "The file is just being changed.", retry_after=1))
        elif not self._left:
            self._let_go()
            self._downstream.reply(response, self._filtered(data, end=True), end=True)
        else:
            self._downstream.watch()
            self._downstream.reply(response, self._filtered(data, end=False))
            self._go_on()

    def _changed(self, response: Response) -> Response:
        for one in self._errand.changes:
            response, body_filter = one.change(response)
            if body_filter is not None:
                self._filters.append(body_filter)
        return response

    def _filtered(self, data: bytes, *, end: bool) -> bytes:
        for one in self._filters:
            if data:
                data = one.feed(data)
            if end:
                data += one.end()
        return data

    def _read(self) -> bytes | None:
        """Return the next bytes; None if the file has become shorter."""
        assert self._file is not None
        size = min(self._left, CHUNK_BYTES)
        data = self._file.read(self._position, size)
        self._position += size
        self._left -= size
        return data if len(data) == size else None

    def _go_on(self) -> None:
        """Send until the client has enough for now."""
        downstream = self._downstream
        if downstream.broken:
            self.cancel()
            return
        downstream.touch(limits.BODY_IDLE_SECONDS)
        if not self._filters and self._left:
            self._hand_over()
        before = self._left
        while self._left and not downstream.full:
            if self._filters and before - self._left >= TURN_BYTES:
                self._later = self._context.clock.callLater(0, self._turn)
                return
            data = self._read()
            if data is None:
                self.cancel()
                return
            if not self._left:
                self._let_go()
                downstream.end(self._filtered(data, end=True))
                return
            shown = self._filtered(data, end=False)
            if shown:
                downstream.data(shown)
        if not self._left and not downstream.full:
            self._let_go()
            downstream.end()

    def _turn(self) -> None:
        self._later = None
        self._go_on()

    def _hand_over(self) -> None:
        """Let the kernel send the rest, where it can."""
        file = self._file
        send = getattr(self._downstream, "file", None)
        if file is None or send is None:
            return
        if send(file, self._position, self._left) is not None:
            self._file = None
            self._left = 0

    def _let_go(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        file, self._file = self._file, None
        if file is not None:
            file.close()

    # The client's events.

    def body(self, payload: bytes) -> None:
        """Not called: the request's body stays held back."""

    def body_ended(self, trailers: bytes) -> None:
        """Not called."""

    def body_failed(self, page: Page) -> None:
        """Not called."""

    def client_flushed(self) -> None:
        """Count that as progress."""
        self._downstream.touch(limits.BODY_IDLE_SECONDS)

    def client_drained(self) -> None:
        """Send more."""
        if self._later is None:
            self._go_on()

    def client_failed(self) -> None:
        """Close the file."""
        self._let_go()

    def expired(self) -> None:
        """Give up: the client took nothing for long."""
        self.cancel()

    def drain(self) -> None:
        """Go on to the file's end."""

    def cancel(self) -> None:
        """Stop so that the client sees that it is not whole."""
        self._let_go()
        self._downstream.abort()
