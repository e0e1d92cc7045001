"""An :class:`~ood.interfaces.ICertificateDesk` that keeps nothing on a disk."""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ood.errors import ConflictError, NotFoundError, OodError
from ood.interfaces import ICertificateDesk
from ood.model.certificates import CertificateStatus

UNTIL = "2027-01-31T00:00:00Z"
RENEWED_UNTIL = "2027-04-30T00:00:00Z"


@implementer(ICertificateDesk)
class MemoryDesk:
    """Certificates as values.

    :ivar kept: all of them, by name.
    :ivar failure: if set, the next command fails with it.
    """

    def __init__(self) -> None:
        self.kept: dict[str, CertificateStatus] = {}
        self.failure: OodError | None = None

    def put(self, name: str, source: str = "acme", **more: object) -> CertificateStatus:
        """Add a certificate."""
        values = {"state": "valid", "not_after": UNTIL, "issuer": "a CA", **more}
        status = msgspec.structs.replace(
            CertificateStatus(name=name, names=(name,), source=source, state="valid"), **values
        )
        self.kept[name] = status
        return status

    def certificates(self) -> list[CertificateStatus]:
        """Return all."""
        return list(self.kept.values())

    def certificate(self, name: str) -> CertificateStatus:
        """Return one."""
        if name not in self.kept:
            raise NotFoundError(f"there is no certificate {name}", "see: ood cert list")
        return self.kept[name]

    def add_certificate(self, cert: str, key: str, chain: str) -> Deferred[CertificateStatus]:
        """Add one with the name of its file."""
        if self.failure is not None:
            return fail(self.failure)
        files = tuple(filter(None, (cert, key, chain)))
        name = cert.rpartition("/")[2].removesuffix(".pem")
        return succeed(self.put(name, "file", files=files))

    def renew_certificate(self, name: str) -> Deferred[CertificateStatus]:
        """Let one be valid for longer."""
        try:
            found = self.certificate(name)
        except OodError as error:
            return fail(error)
        self.kept[name] = msgspec.structs.replace(found, not_after=RENEWED_UNTIL)
        return succeed(self.kept[name])

    def revoke_certificate(self, name: str) -> Deferred[CertificateStatus]:
        """Renew one, which is all that shows."""
        return self.renew_certificate(name)

    def remove_certificate(self, name: str) -> Deferred[None]:
        """Forget one that no app needs."""
        try:
            found = self.certificate(name)
        except OodError as error:
            return fail(error)
        if found.apps:
            return fail(ConflictError(f"{name} is in use"))
        del self.kept[name]
        return succeed(None)
