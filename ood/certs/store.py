"""The certificates on the disk: one ``NAME.pem`` each with key, leaf and chain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from ood.certs.files import write_private
from ood.certs.interfaces import ICertificateStore
from ood.certs.pem import split_pem

SUFFIX = ".pem"

_NAME = re.compile(r"(\*\.)?[a-z0-9_-][a-z0-9._-]*")


@implementer(ICertificateStore)
class DirectoryStore:
    """Files in a directory, 0600 in 0700; an empty one means that a certificate is wanted.

    A wildcard's file begins with ``_`` in place of the asterisk.  Nothing is ever removed
    or overwritten but by :meth:`store` and :meth:`remove`.
    """

    log = Logger()

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, server_name: str) -> Deferred[list[Any]]:
        """Fire with the PEM objects of a name; KeyError if there is none."""
        return maybeDeferred(self.read, server_name)

    def read(self, server_name: str) -> list[bytes]:
        """Return the PEM objects of a name.

        :raises KeyError: there are none.
        """
        try:
            return split_pem(self._path(server_name).read_bytes())
        except FileNotFoundError:
            raise KeyError(server_name) from None

    def store(self, server_name: str, pem_objects: list[Any]) -> Deferred[None]:
        """Keep the PEM objects of a name: bytes, or as txacme has them."""
        content = b"".join(one if isinstance(one, bytes) else one.as_bytes() for one in pem_objects)
        return maybeDeferred(write_private, self._path(server_name), content)

    def as_dict(self) -> Deferred[dict[str, list[Any]]]:
        """Fire with all PEM objects by name."""
        return maybeDeferred(self.read_all)

    def read_all(self) -> dict[str, list[bytes]]:
        """Return all PEM objects by name."""
        found = {}
        for path in sorted(self._directory.glob(f"[!.]*{SUFFIX}")):
            name = _from_file(path.name.removesuffix(SUFFIX))
            try:
                found[name] = self.read(name)
            except (OSError, KeyError) as error:
                self.log.error("{path} can't be read: {error}", path=str(path), error=error)
        return found

    def remove(self, server_name: str) -> None:
        """Forget a name's certificate."""
        self._path(server_name).unlink(missing_ok=True)

    def _path(self, server_name: str) -> Path:
        if not _NAME.fullmatch(server_name):
            raise KeyError(server_name)
        return self._directory / (server_name.replace("*", "_") + SUFFIX)


def _from_file(name: str) -> str:
    return "*" + name[1:] if name.startswith("_.") else name
