"""What is remembered of getting certificates, over a restart or a crash."""

from __future__ import annotations

from pathlib import Path

import msgspec
from twisted.logger import Logger

from ood.certs.core.schedule import Window
from ood.certs.files import read_record, write_record


class Entry(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What is known of one name.

    :ivar terms: CA and profile that its certificate was ordered by; empty if unknown.
    :ivar failures: in a row, since it was last obtained.
    :ivar next_try: not before this moment.
    :ivar problem: the last failure, in words.
    :ivar window: when the CA would like it to be renewed.
    """

    terms: str = ""
    failures: int = 0
    next_try: float = 0.0
    problem: str = ""
    window: Window | None = None


class Progress(msgspec.Struct, kw_only=True, rename="camel"):
    """An order that was placed and has not come to an end.

    :ivar url: where the CA keeps it.
    :ivar key: the private key that its certificate will be for.
    """

    url: str
    key: str
    terms: str


class Journal:
    """Keeps entries in one file, and each order in progress in one of its own."""

    log = Logger()

    def __init__(self, directory: Path) -> None:
        self._file = directory / "journal.json"
        self._orders = directory / "orders"
        self._entries: dict[str, Entry] = read_record(self._file, dict[str, Entry], {})

    def entry(self, name: str) -> Entry:
        """Return what is known of a name; change it by :meth:`note`."""
        return self._entries.get(name) or Entry()

    def note(self, name: str, entry: Entry) -> None:
        """Remember ``entry``; where the disk does not take it, for this run."""
        self._entries[name] = entry
        self._write()

    def _write(self) -> None:
        try:
            write_record(self._file, self._entries)
        except OSError as error:
            self.log.error("{path} can't be written: {error}", path=self._file, error=error)

    def forget(self, name: str) -> None:
        """Remember nothing of a name any more."""
        self.ended(name)
        if self._entries.pop(name, None) is not None:
            self._write()

    def retry_all(self) -> None:
        """Let every name be tried at once: what kept them away may have changed.

        A name that needs nothing now is not tried, so nothing may be said against it either.
        """
        for name, entry in self._entries.items():
            fresh = msgspec.structs.replace(entry, next_try=0.0, failures=0, problem="")
            self._entries[name] = fresh
        self._write()

    def progress(self, name: str, terms: str) -> Progress | None:
        """Return a name's order, if it was placed under the same terms."""
        found: Progress | None = read_record(self._order(name), Progress, None)
        return found if found is not None and found.terms == terms else None

    def began(self, name: str, progress: Progress) -> None:
        """Remember that an order was placed."""
        write_record(self._order(name), progress)

    def ended(self, name: str) -> None:
        """Forget a name's order."""
        self._order(name).unlink(missing_ok=True)

    def _order(self, name: str) -> Path:
        return self._orders / f"{name.replace('*', '_')}.json"
