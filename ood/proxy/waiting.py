"""A request that has to wait before it is clear what serves it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from ood.proxy.core.pages import Page
from ood.proxy.downstream import Downstream


class Waiting:
    """Waits for the end of maintenance, or for a password's check.

    It is a :class:`~ood.proxy.downstream.Flow` that gives way to another one.

    :param ready: what is waited for.
    :param seconds: how long at most.
    :param late: the answer after that.
    :param go_on: called when it is ready.
    """

    def __init__(
        self,
        downstream: Downstream,
        ready: Deferred[None],
        *,
        seconds: float,
        late: Page,
        go_on: Callable[[], None],
    ) -> None:
        self._downstream = downstream
        self._ready = ready
        self._seconds = seconds
        self._late = late
        self._go_on = go_on
        self._active = True

    def start(self) -> None:
        """Wait; the request's body stays where it is."""
        self._downstream.touch(self._seconds)
        self._downstream.watch()
        _ = self._ready.addBoth(self._done)

    def _done(self, _: object) -> None:
        if self._active:
            self._active = False
            self._go_on()

    def _give_up(self) -> None:
        self._active = False
        self._ready.cancel()

    def body(self, payload: bytes) -> None:
        """Never called: the body is held back."""
        raise AssertionError(payload)

    def body_ended(self, trailers: bytes) -> None:
        """Never called: the body is held back."""
        raise AssertionError(trailers)

    def body_failed(self, page: Page) -> None:
        """Answer."""
        self._give_up()
        self._downstream.page(page)

    def client_flushed(self) -> None:
        """Do nothing: nothing was written."""

    def client_drained(self) -> None:
        """Do nothing: nothing was written."""

    def client_failed(self) -> None:
        """Wait no more."""
        self._give_up()

    def expired(self) -> None:
        """Answer that it took too long."""
        self._give_up()
        self._downstream.page(self._late)

    def drain(self) -> None:
        """Answer at once: the service ends, and whoever asks again finds it running."""
        self.expired()

    def cancel(self) -> None:
        """End without an answer."""
        self._give_up()
        self._downstream.abort()
