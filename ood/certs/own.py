"""Certificates of one's own, read from files and read again when these change."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec
from twisted.logger import Logger

from ood.certs.errors import CertificateError
from ood.certs.files import make_private, read_record, write_private, write_record
from ood.certs.pem import Leaf, load_objects, load_pair, split_pem
from ood.certs.strength import missing_signer, weakness
from ood.errors import ConflictError, NotFoundError
from ood.interfaces import Certificate

FILE_BYTES_MAX = 1 << 20
"""Longest file: a chain is some kilobytes."""

Stamp = tuple[tuple[int, int, int], ...]
"""What changes when files change: of each, inode, size and time."""


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a certificate is read from.

    :ivar cert: the certificate, with those between it and a root behind it.
    :ivar key: its private key.
    :ivar chain: a file with just those between, if they are not in the first.
    """

    cert: str
    key: str
    chain: str = ""

    def files(self) -> tuple[str, ...]:
        """Return its files."""
        return tuple(filter(None, (self.cert, self.key, self.chain)))


@dataclass
class OwnCertificate:
    """One certificate from files.

    :ivar trouble: why what is in the files now is not used; empty if it is.
    :ivar lacking: what many clients will not trust it for.
    """

    place: Place
    stamp: Stamp
    certificate: Certificate
    leaf: Leaf
    trouble: str = ""
    lacking: str = field(init=False)

    def __post_init__(self) -> None:
        """Look what is missing."""
        signer = missing_signer(self.certificate.chain_pem)
        self.lacking = (
            f"the certificate of {signer}, who signed it, is missing in {self.place.cert}: "
            "many clients don't trust it (add it there, or with --chain)"
            if signer
            else ""
        )


class OwnCertificates:
    """All of them.

    :param directory: keeps the list, and a copy of each certificate as it was last good:
        one that is served must not be lost to a restart while its files are wrong.
    :param useful: tells which apps a certificate for these names is of use to.
    """

    log = Logger()

    def __init__(
        self,
        directory: Path,
        now: Callable[[], datetime],
        useful: Callable[[Iterable[str]], tuple[str, ...]],
    ) -> None:
        self._directory = directory
        self._list = directory / "list.json"
        self._now = now
        self._useful = useful
        self.certificates: dict[str, OwnCertificate] = {}
        places: dict[str, Place] = read_record(self._list, dict[str, Place], {})
        for name, place in places.items():
            self._restore(name, place)

    def _restore(self, name: str, place: Place) -> None:
        """Take the files, or what they last held."""
        stamp = _stamp(place)
        try:
            certificate, leaf = self._read(place)
            trouble = ""
        except CertificateError as error:
            trouble = _unused(place, error)
            try:
                copy = self._copy(name).read_bytes()
                certificate, leaf = load_objects(split_pem(copy), "file")
            except (OSError, CertificateError):
                self.log.error("own certificate {name}: {why}", name=name, why=trouble)
                return
        self.certificates[name] = OwnCertificate(place, stamp, certificate, leaf, trouble)

    def add(self, place: Place) -> str:
        """Read a certificate and keep it; return its name.

        :raises CertificateError: it can't be used; the message says why.
        """
        certificate, leaf = self._read(place)
        if not self._useful(leaf.names):
            raise CertificateError(
                f"it is valid for {', '.join(leaf.names)}, and no app answers to that",
                "add the app or the domain first",
            )
        name = leaf.names[0]
        self._keep(name, OwnCertificate(place, _stamp(place), certificate, leaf))
        self._write_list()
        return name

    def remove(self, name: str) -> None:
        """Read it no more; the files stay."""
        if name not in self.certificates:
            raise NotFoundError(f"there is no own certificate {name}", "see: ood cert list")
        del self.certificates[name]
        self._write_list()
        self._copy(name).unlink(missing_ok=True)

    def look(self) -> list[str]:
        """Read again what has changed; return the names of those that did."""
        return [name for name in tuple(self.certificates) if self._look(name)]

    def _look(self, name: str) -> bool:
        """Return whether something is different.

        What was refused is read at each look: it becomes valid with time, readable with other
        rights, and of use with another app, and no file need change for that.
        """
        own = self.certificates[name]
        before, own.stamp = (own.stamp, own.trouble), _stamp(own.place)
        if before == (own.stamp, ""):
            return False
        try:
            certificate, leaf = self._read(own.place)
            if not self._useful(leaf.names):
                raise CertificateError(f"it is valid only for {', '.join(leaf.names)}")
        except CertificateError as error:
            own.trouble = _unused(own.place, error)
            if before == (own.stamp, own.trouble):
                return False
            self.log.warn("{name}: {trouble}", name=name, trouble=own.trouble)
        else:
            self._keep(name, OwnCertificate(own.place, own.stamp, certificate, leaf))
        return True

    def _keep(self, name: str, own: OwnCertificate) -> None:
        pem = own.certificate.key_pem + own.certificate.chain_pem
        try:
            write_private(self._copy(name), pem)
        except OSError as error:  # serving it matters more than having a copy
            self.log.error("no copy of {name} can be kept: {error}", name=name, error=error)
        self.certificates[name] = own

    def _write_list(self) -> None:
        make_private(self._directory)
        write_record(self._list, {name: own.place for name, own in self.certificates.items()})

    def _copy(self, name: str) -> Path:
        return self._directory / f"{name.replace('*', '_').replace('/', '_')}.pem"

    def _read(self, place: Place) -> tuple[Certificate, Leaf]:
        chain = _content(place.cert) + b"\n" + (_content(place.chain) if place.chain else b"")
        try:
            certificate, leaf = load_pair(_content(place.key), chain, "file")
        except CertificateError as error:
            raise CertificateError(f"{place.cert}: {error.message}", error.hint) from None
        weak = weakness(certificate.chain_pem)
        if weak:
            raise CertificateError(f"{place.cert}: {weak}", "browsers would refuse it")
        if not leaf.names:
            raise CertificateError(f"{place.cert} names no host", "browsers want subjectAltName")
        now = self._now().timestamp()
        if leaf.span.end <= now:
            expired = certificate.not_after
            raise CertificateError(f"{place.cert} has expired on {expired:%Y-%m-%d}")
        if leaf.span.start > now:
            raise CertificateError(f"{place.cert} is not valid yet", "is the clock right?")
        return certificate, leaf


def absolute(cert: str, key: str, chain: str) -> Place:
    """Return where a certificate is.

    :raises ConflictError: a path depends on where one stands.
    """
    for path in filter(None, (cert, key, chain)):
        if not path.startswith("/"):
            raise ConflictError(f"{path} is not an absolute path", "begin it with /")
    return Place(cert, key, chain)


def _unused(place: Place, error: CertificateError) -> str:
    return f"what is in {place.cert} now is not used: {error}"


def _content(path: str) -> bytes:
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CertificateError(f"{path} is not a file")
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise CertificateError(f"{path} can't be read: {said}") from None
    if len(content) > FILE_BYTES_MAX:
        raise CertificateError(f"{path} is far too long for a certificate")
    return content


def _at_once(path: str, flags: int) -> int:
    """Open a file; a pipe would have the whole service wait for who writes into it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _stamp(place: Place) -> Stamp:
    stamps = []
    for path in place.files():
        try:
            found = Path(path).stat()
            stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
        except OSError:
            stamps.append((0, 0, 0))
    return tuple(stamps)
