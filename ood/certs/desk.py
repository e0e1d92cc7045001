"""The certificates as people see them: listed, added, renewed, revoked, removed."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred

from ood.certs.acme import Acme
from ood.certs.core.names import covers
from ood.certs.core.schedule import Standing, standing
from ood.certs.keeper import Keeper
from ood.certs.own import OwnCertificate, absolute
from ood.certs.pem import Leaf
from ood.certs.report import TERMS, rfc3339
from ood.errors import ConflictError, NotFoundError
from ood.interfaces import Certificate
from ood.model.certificates import CertificateStatus
from ood.model.kinds import parse_domain


class Desk:
    """What can be asked of a keeper."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def statuses(self) -> list[CertificateStatus]:
        """Return every certificate, and every lack of one."""
        names = sorted({*self._keeper.held, *self._keeper.plan.public})
        own = self._keeper.own_names()
        acme = [name for name in names if name in self._keeper.held or not covers(own, name)]
        local = self._keeper.local.made.items()
        return [
            *(self._own_status(name, one) for name, one in self._keeper.own.certificates.items()),
            *(self._acme_status(name) for name in acme),
            *(
                self._status(name, *made, apps=self._keeper.plan.apps_of([name]))
                for name, made in local
            ),
        ]

    def _status(
        self, name: str, certificate: Certificate, leaf: Leaf, **more: Any
    ) -> CertificateStatus:
        now = self._keeper.now().timestamp()
        state = "valid" if standing(leaf.span, now) is Standing.VALID else "due"
        return CertificateStatus(
            name=name,
            names=certificate.names,
            source=certificate.source,
            state="expired" if leaf.span.end <= now else state,
            not_after=rfc3339(certificate.not_after),
            issuer=leaf.issuer,
            fingerprint=certificate.fingerprint,
            **more,
        )

    def _own_status(self, name: str, own: OwnCertificate) -> CertificateStatus:
        apps = self._keeper.plan.apps_of(own.certificate.names)
        return self._status(
            name,
            own.certificate,
            own.leaf,
            apps=apps,
            trouble=own.trouble or own.lacking,
            files=own.place.files(),
        )

    def _acme_status(self, name: str) -> CertificateStatus:
        entry, held = self._keeper.journal.entry(name), self._keeper.held.get(name)
        wanted = name in self._keeper.plan.public
        agreed = self._keeper.settings is not None and self._keeper.settings.acme_agree_tos
        next_try = datetime.fromtimestamp(entry.next_try, self._keeper.now().tzinfo)
        trouble = (self._keeper.acme_trouble if agreed else TERMS) if wanted else ""
        more: dict[str, Any] = {
            "apps": self._keeper.plan.apps_of([name]),
            "trouble": trouble or (entry.problem if wanted else ""),
            "next_try": rfc3339(next_try) if wanted and entry.failures else None,
        }
        if held is not None:
            return self._status(name, held.certificate, held.leaf, **more)
        state = "failed" if agreed and more["trouble"] else "pending"
        return CertificateStatus(name=name, names=(name,), source="acme", state=state, **more)

    def status(self, name: str) -> CertificateStatus:
        """Return the certificate that is called so, or else is valid for the name."""
        every = self.statuses()
        with suppress(ValueError):  # a certificate may be called what is no host name
            name = parse_domain(name)
        for one in every:
            if one.name == name:
                return one
        for one in every:
            if covers(one.names, name):
                return one
        raise NotFoundError(f"there is no certificate {name}", "see: ood cert list")

    def add(self, cert: str, key: str, chain: str) -> CertificateStatus:
        """Take a certificate from files."""
        name = self._keeper.own.add(absolute(cert, key, chain))
        self._keeper.want()
        self._keeper.tabulate()
        self._keeper.tell(name, f"the certificate of {name} is read from {cert}", "added")
        return self.status(name)

    def renew(self, name: str) -> Deferred[CertificateStatus]:
        """Get a certificate anew, now."""
        return Deferred.fromCoroutine(self._renew(self.status(name)))

    async def _renew(self, status: CertificateStatus) -> CertificateStatus:
        if status.source == "file":
            self._keeper.look_now()
        elif status.source == "acme" and status.name in self._keeper.plan.public:
            await self._keeper.look_again()
            await self._ca().service.issue_cert(status.name)
        elif status.source == "acme":
            raise ConflictError(f"{status.name} is not renewed", "no running app needs it")
        else:
            reason = f"{status.name} has a certificate that ood makes itself"
            raise ConflictError(reason, "it is renewed by itself; nothing is to do")
        return self.status(status.name)

    def _ca(self) -> Acme:
        """Return the CA in use.

        :raises ConflictError: there is none.
        """
        if self._keeper.acme is None:
            advice = self._keeper.acme_trouble or "ood config --set acmeAgreeTos true"
            raise ConflictError("there is no CA to ask", advice)
        return self._keeper.acme

    def revoke(self, name: str) -> Deferred[CertificateStatus]:
        """Get a certificate with a new key, then have the old one revoked."""
        return Deferred.fromCoroutine(self._revoke(self.status(name)))

    async def _revoke(self, status: CertificateStatus) -> CertificateStatus:
        held = self._keeper.held.get(status.name)
        if status.source != "acme" or held is None:
            raise ConflictError(f"{status.name} does not come from a CA that ood asks")
        renewed = await self._renew(status)
        await self._ca().client.revoke(held.certificate.chain_pem)
        self._keeper.tell(
            status.name, f"the old certificate of {status.name} is revoked", "revoked"
        )
        return renewed

    def remove(self, name: str) -> None:
        """Forget a certificate that nobody needs."""
        status = self.status(name)
        if status.source == "file":
            self._keeper.own.remove(status.name)
            self._keeper.want()
        elif status.source == "acme" and status.name not in self._keeper.plan.public:
            self._keeper.forget(status.name)
        else:
            users = ", ".join(status.apps) or "this machine"
            raise ConflictError(f"{status.name} is in use by {users}", "stop that first")
        text = f"the certificate of {status.name} is removed"
        self._keeper.tell(status.name, text, "removed")
        self._keeper.tabulate()
