"""When a CA would like certificates to be renewed (RFC 9773)."""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ood.background import Background
from ood.certs.client import Client
from ood.certs.core.schedule import Window
from ood.certs.errors import AcmeError
from ood.certs.journal import Journal

FAILED_SECONDS = 3600.0
"""Pause after the CA could not say it: a certificate is renewed in time without that."""


class RenewalWindows:
    """Asks a CA, and remembers what it said, with a moment drawn in each window.

    :param current: returns the renewal id of what is served for a name now.
    :param seconds: returns the time of day.
    :param background: runs the questions.
    :param looked: called after each of them.
    """

    log = Logger()

    def __init__(
        self,
        client: Client,
        clock: IReactorTime,
        journal: Journal,
        *,
        current: Callable[[str], str],
        seconds: Callable[[], float],
        background: Background,
        looked: Callable[[], None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._journal = journal
        self._current = current
        self._seconds = seconds
        self._background = background
        self._looked = looked
        self._looking: set[str] = set()
        self._random = SystemRandom()

    def look_soon(self, name: str) -> None:
        """Ask about the certificate of ``name``, if it is time to."""
        ari_id = self._current(name)
        window = self._journal.entry(name).window
        key = f"{name} {ari_id}"
        if key in self._looking or (window is not None and window.look > self._seconds()):
            return
        self._looking.add(key)
        self._background.run(f"renewal information of {name}", self._look(name, ari_id, key))

    async def _look(self, name: str, ari_id: str, key: str) -> None:
        try:
            found = await self._client.renewal_info(ari_id)
        except AcmeError as error:
            self.log.info("no renewal information of {name}: {error}", name=name, error=error)
            await deferLater(self._clock, FAILED_SECONDS)
            self._looking.discard(key)
        else:
            # of a CA that has none, or tells nonsense, it is asked once a run
            if found is None or found[0] > found[1]:
                return
            self._looking.discard(key)
            if self._current(name) == ari_id:
                self._note(name, *found)
        self._looked()

    def _note(self, name: str, start: float, end: float, look: float) -> None:
        entry = self._journal.entry(name)
        before = entry.window
        keep = before is not None and start <= before.chosen <= end
        chosen = before.chosen if before and keep else self._random.uniform(start, end)
        window = Window(start, end, chosen, self._seconds() + look)
        self._journal.note(name, msgspec.structs.replace(entry, window=window))
