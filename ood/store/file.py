"""The document in a file of one machine: ``config.json`` in ood's home.

A new document is written beside the old one, brought to the disk, and renamed
into place; so a power cut leaves the old or the new one, never a mixture.  The
:data:`VERSIONS_KEPT` documents before it stay in ``versions/``.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from zope.interface import implementer

from ood.atomic import FULL_ERRORS
from ood.background import InThread
from ood.errors import InvalidError, StoreError
from ood.interfaces import IStore
from ood.model.document import Document, to_plain
from ood.model.schema import check_document
from ood.paths import DOCUMENT_FILE, VERSIONS_DIRECTORY
from ood.store.files import Files, RealFiles

VERSIONS_KEPT = 20
"""How many earlier documents are kept: some weeks of changes by hand."""
VERSIONS_KEPT_FULL = 2
"""How many are kept of them where the disk is full and a change needs their room."""

_VERSION = re.compile(r"config\.(\d{8})\.json")

T = TypeVar("T")


def encode(document: Document) -> bytes:
    """Return ``document`` as the JSON that a person can read."""
    plain = {"schema": document.schema, **to_plain(document)}
    return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"


def decode(content: bytes) -> Document:
    """Return the document in ``content``.

    :raises InvalidError: with every fault.
    :raises msgspec.DecodeError: it is not JSON.
    """
    return check_document(msgspec.json.decode(content))


@implementer(IStore)
class FileStore:
    """Keeps the document in ``directory``.

    :ivar document: the document in force.
    :param in_thread: runs a blocking function elsewhere, such as
        :func:`~twisted.internet.threads.deferToThread`.
    :raises StoreError: what stands there can't be read; it is left untouched.
    """

    log = Logger()

    def __init__(self, directory: Path, in_thread: InThread, files: Files | None = None) -> None:
        self.path = directory / DOCUMENT_FILE
        self._versions = directory / VERSIONS_DIRECTORY
        self._files: Files = files or RealFiles()
        self._in_thread = in_thread
        self._lock = DeferredLock()
        self._subscribers: list[Callable[[Document], None]] = []
        self.document = self._load()

    def _load(self) -> Document:
        try:
            content = self._files.read(self.path)
            return Document() if content is None else decode(content)
        except OSError as error:
            reason = f"can't read {self.path}: {error.strerror}"
            raise StoreError(reason, "look who owns it, and what kind of file it is") from None
        except msgspec.DecodeError as error:
            problem = f"{self.path} is damaged: {error}"
        except InvalidError as error:
            problem = f"{self.path} can't be used: {error.message}"
        hint = f"mend it, or put back one of the earlier documents in {self._versions}"
        raise StoreError(problem, hint)

    def update(self, change: Callable[[Document], Document]) -> Deferred[Document]:
        """Replace the document by ``change(document)``; see :class:`IStore`."""
        return Deferred.fromCoroutine(self._update(change))

    async def _update(self, change: Callable[[Document], Document]) -> Document:
        await self._lock.acquire()
        try:
            new = change(self.document)
            if new != self.document:
                content = encode(new)
                await self._in_thread(lambda: self._write(content))
                self.document = new
                self._tell(new)
            return new
        finally:
            self._lock.release()

    def subscribe(self, callback: Callable[[Document], None]) -> Callable[[], None]:
        """Call ``callback`` with every new document; return what ends that."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def _tell(self, document: Document) -> None:
        """Tell every subscriber; the document stands even if one of them fails."""
        for subscriber in list(self._subscribers):
            try:
                subscriber(document)
            except Exception:
                self.log.failure("a part of ood failed to take over a new configuration")

    def _write(self, content: bytes) -> None:
        """Make ``content`` the document on the disk, or raise and leave the old one."""
        fresh = self.path.with_suffix(".json.new")
        files = self._files
        try:
            files.make_directory(self._versions)
            self._write_fresh(fresh, content)
            kept = self._keep_version()
            files.rename(fresh, self.path)
        except OSError as error:
            self._discard(fresh)
            raise self._failed(error) from error
        try:
            files.sync_directory(self.path.parent)
        except OSError as error:
            self._put_back(kept)
            raise self._failed(error) from error
        self._prune()

    def _write_fresh(self, fresh: Path, content: bytes) -> None:
        """Write ``content``; on a full disk in the room of the oldest version.

        Who has an app that fills the disk must be able to stop it, and a stop is a change.
        """
        try:
            self._files.write(fresh, content)
        except OSError as error:
            numbers = self._numbers()
            if error.errno not in FULL_ERRORS or len(numbers) <= VERSIONS_KEPT_FULL:
                raise
            self._files.remove(self._version(numbers[0]))
            self._files.write(fresh, content)

    def _failed(self, error: OSError) -> StoreError:
        denied = error.errno in (errno.EACCES, errno.EPERM)
        remedy = (
            "look who owns it and what is beside it" if denied else "make room and check the disk"
        )
        hint = f"{remedy}; the configuration stays as it was"
        return StoreError(f"can't write {self.path}: {error.strerror}", hint)

    def _numbers(self) -> list[int]:
        matches = (_VERSION.fullmatch(name) for name in self._files.names(self._versions))
        return sorted(int(match[1]) for match in matches if match)

    def _version(self, number: int) -> Path:
        return self._versions / f"config.{number:08}.json"

    def _keep_version(self) -> Path | None:
        """Give the present document a further name among the versions."""
        if self._files.read(self.path) is None:
            return None
        kept = self._version((self._numbers() or [0])[-1] + 1)
        self._files.link(self.path, kept)
        self._files.sync_directory(self._versions)
        return kept

    def _discard(self, fresh: Path) -> None:
        with contextlib.suppress(OSError):  # the next write replaces it
            self._files.remove(fresh)

    def _put_back(self, kept: Path | None) -> None:
        """Undo a rename of which nobody knows whether it is on the disk."""
        try:
            if kept is None:
                self._files.remove(self.path)
            else:
                self._files.rename(kept, self.path)
        except OSError as error:
            message = f"can't tell which document is in {self.path}: {error.strerror}"
            raise StoreError(message, "check the disk, then look at it") from error

    def _prune(self) -> None:
        """Remove the oldest versions; a failure costs only room."""
        for number in self._numbers()[:-VERSIONS_KEPT]:
            self._discard(self._version(number))
