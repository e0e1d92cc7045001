"""A terminal's whole screen, drawn anew each second and after every key."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ood.cli.keys import Keys
from ood.cli.live import LiveApps
from ood.cli.output import Output

DRAW_SECONDS = 1.0
"""How often the screen is drawn though nothing happens: times go on."""

Draw = Callable[[int, int], RenderableType]
"""``draw(width, height)`` returns what is to be seen."""


class Screen:
    """Shows what ``draw`` returns, until somebody quits.

    :param pressed: called with each key's meaning.
    :param second: called each second before it is drawn.
    """

    def __init__(
        self,
        output: Output,
        clock: IReactorTime,
        draw: Draw,
        pressed: Callable[[str], None] = lambda _: None,
        second: Callable[[], None] = lambda: None,
    ) -> None:
        self._console = Console(file=output.out, highlight=False, no_color=not output.colours)
        self._clock = clock
        self._draw = draw
        self._pressed = pressed
        self._second = second
        self._live: Live | None = None
        self._done: Deferred[None] = Deferred()

    def refresh(self) -> None:
        """Draw now."""
        if self._live is not None:
            width, height = self._console.size
            self._live.update(self._draw(width, height), refresh=True)

    async def show(self, apps: LiveApps) -> None:
        """Follow ``apps`` and show them until somebody quits.

        :raises OodError: they can't be followed.
        """
        following = Deferred.fromCoroutine(apps.run())
        _ = following.addErrback(self._failed)
        try:
            screen = Live(console=self._console, screen=True, auto_refresh=False)
            with screen as self._live, self._keys():
                self._tick()
                await self._done
        finally:
            self._live = None
            following.cancel()

    @contextmanager
    def _keys(self) -> Iterator[None]:
        """Listen to keys, if there are any."""
        if not sys.stdin.isatty():
            yield
            return
        from twisted.internet import reactor as installed

        reactor: Any = installed
        keys = Keys(reactor, sys.stdin.fileno(), self._key)
        try:
            yield
        finally:
            keys.stop()

    def _key(self, meaning: str) -> None:
        if meaning == "quit":
            if not self._done.called:
                self._done.callback(None)
            return
        self._pressed(meaning)
        self.refresh()

    def _tick(self) -> None:
        if self._live is not None:
            self._second()
            self.refresh()
            self._clock.callLater(DRAW_SECONDS, self._tick)

    def _failed(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError) and not self._done.called:
            self._done.errback(failure)
