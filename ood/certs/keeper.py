"""All certificates together: those of a CA, those from files, those of this machine.

This is what :mod:`ood.certs.part` loads when the first certificate is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ood.background import Background
from ood.certs.acme import Acme
from ood.certs.core.names import covers, wildcard_of
from ood.certs.core.plan import NOTHING, Plan
from ood.certs.core.schedule import Standing, standing
from ood.certs.errors import CertificateError
from ood.certs.issuing import Held
from ood.certs.journal import Journal
from ood.certs.local import LocalAuthority
from ood.certs.own import OwnCertificate, OwnCertificates, absolute
from ood.certs.pem import Leaf, load_objects
from ood.certs.report import TERMS, NameState, rfc3339
from ood.certs.responders import HttpResponder, TlsResponder
from ood.certs.store import DirectoryStore
from ood.errors import ConflictError, NotFoundError, OodError
from ood.interfaces import Certificate
from ood.model.certificates import CertificateStatus
from ood.model.document import Settings

LOOK_SECONDS = 15.0
"""How often files of own certificates are looked at."""

Tell = Callable[[str, str, str], None]
"""``tell(name, text, outcome)``: something happened to a certificate."""


class Keeper:
    """Keeps every certificate, and finds the right one.

    :param directory: where they are.
    :param changed: called after what is served has changed.
    :param tell: called with what happened.
    """

    log = Logger()

    def __init__(
        self,
        directory: Path,
        reactor: Any,
        clock: IReactorTime,
        now: Callable[[], datetime],
        *,
        changed: Callable[[], None],
        tell: Tell,
    ) -> None:
        self._directory = directory
        self._reactor = reactor
        self._clock = clock
        self._now = now
        self._changed = changed
        self._tell = tell
        self._plan = NOTHING
        self._settings: Settings | None = None
        self._acme: Acme | None = None
        self._acme_trouble = ""
        self._failures_told: dict[str, int] = {}
        self._swapping = DeferredLock()
        self._background = Background()
        self._timer: IDelayedCall | None = None
        self._looked = now()
        self.http = HttpResponder()
        self.tls = TlsResponder(now)
        self._journal = Journal(directory)
        self._store = DirectoryStore(directory / "acme")
        self._held = self._load()
        self._local = LocalAuthority(directory / "local", now)
        self._own = OwnCertificates(directory / "own", now, self._apps_of)
        self._table = self._tabulated()

    def _load(self) -> dict[str, Held]:
        held: dict[str, Held] = {}
        for name, objects in self._store.read_all().items():
            try:
                if objects:
                    held[name] = Held(*load_objects(objects, "acme"))
            except CertificateError as error:
                self.log.error("certificate of {name}: {error}", name=name, error=error)
        return held

    def _apps_of(self, names: Iterable[str]) -> tuple[str, ...]:
        return self._plan.apps_of(names)

    def _own_names(self) -> list[str]:
        """Return the names that own certificates serve, so that no CA is asked for them."""
        own = [one.certificate for one in self._own.certificates.values()]
        return [name for one in own if one.not_after > self._now() for name in one.names]

    def start(self) -> None:
        """Watch the files of own certificates."""
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)

    async def stop(self) -> None:
        """End everything; return when it is gone."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        await self._background.stop()
        if self._acme is not None:
            await self._acme.stop()

    def _look(self) -> None:
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)
        changed = self._own.look()
        for name in changed:
            own = self._own.certificates[name]
            if own.trouble:
                self._tell(name, f"{name}: {own.trouble}", "refused")
            else:
                until = rfc3339(own.certificate.not_after)
                self._tell(name, f"{name} was read anew, valid until {until}", "read")
        ended = self._ended()
        if changed or ended or self._local.renew():
            self._want()
            self._tabulate()

    def _ended(self) -> bool:
        """Tell whether an own certificate has expired since the last look."""
        now, before = self._now(), self._looked
        self._looked = now
        own = self._own.certificates.values()
        return any(before < one.certificate.not_after <= now for one in own)

    # what is wanted

    def converge(self, plan: Plan, settings: Settings) -> None:
        """Want what ``plan`` wants, from the CA of ``settings``."""
        self._plan = plan
        before, self._settings = self._settings, settings
        if _acme_of(settings) != (None if before is None else _acme_of(before)):
            if before is not None:
                self._journal.retry_all()
            self._background.run("changing the CA", self._swap())
        self._want()

    def _want(self) -> None:
        if self._acme is not None:
            own = self._own_names()
            self._acme.service.want(name for name in self._plan.public if not covers(own, name))

    async def _swap(self) -> None:
        """Put a new CA in the place of the old one."""
        await self._swapping.acquire()
        try:
            old, self._acme = self._acme, None
            if old is not None:
                await old.stop()
            settings = self._settings
            if settings is None or not settings.acme_agree_tos:
                return
            self._acme_trouble = ""
            self._acme = self._make_acme(settings)
            self._want()
            await self._acme.start()
        except OodError as error:
            self._acme_trouble = str(error)
            self.log.error("no certificates from a CA: {error}", error=error)
        finally:
            self._swapping.release()

    def _make_acme(self, settings: Settings) -> Acme:
        return Acme(
            self._directory,
            self._reactor,
            self._clock,
            self._now,
            settings,
            store=self._store,
            journal=self._journal,
            responders=(self.http, self.tls),
            changed=self._acme_changed,
        )

    def _acme_changed(self, name: str) -> None:
        """Take a new certificate, or tell of a failure."""
        if self._acme is None or self._acme.service.is_issuing(name):
            return
        held = self._acme.service.held.get(name)
        if held is not None and held is not self._held.get(name):
            before = self._held.get(name)
            self._held[name] = held
            if before is None or before.certificate != held.certificate:
                until = rfc3339(held.certificate.not_after)
                self._tell(name, f"{name} has a certificate until {until}", "obtained")
                self._tabulate()
                return
        entry = self._journal.entry(name)
        if entry.failures > self._failures_told.get(name, 0):
            self._tell(name, f"no new certificate for {name}: {entry.problem}", "failed")
        self._failures_told[name] = entry.failures

    # what is served

    def _tabulate(self) -> None:
        """Serve what there is now, and tell who wants to know."""
        self._table = self._tabulated()
        self._changed()

    def _tabulated(self) -> dict[str, Certificate]:
        """Return which certificate serves which name."""
        now = self._now()
        table: dict[str, Certificate] = {}
        own = [one.certificate for one in self._own.certificates.values()]
        for certificate in (*(held.certificate for held in self._held.values()), *own):
            for name in certificate.names:
                before = table.get(name)
                if before is None or certificate.not_after > now or before.not_after <= now:
                    table[name] = certificate
        return table

    def find(self, server_name: str) -> Certificate | None:
        """Return the certificate for a host."""
        found = self._table.get(server_name)
        if found is not None:
            return found
        if server_name in self._plan.local:
            try:
                return self._local.get(server_name)
            except OSError as error:
                self.log.error("no certificate for {name}: {e}", name=server_name, e=error)
                return None
        return self._table.get(wildcard_of(server_name))

    def state_of(self, name: str) -> NameState:
        """Return how a public name stands."""
        found = self._table.get(name) or self._table.get(wildcard_of(name))
        if found is not None and found.not_after <= self._now():
            found = None
        return NameState(found, self._trouble(name))

    def _trouble(self, name: str) -> str:
        """Return what keeps a name from a new certificate, and when it is tried again."""
        entry = self._journal.entry(name)
        if self._acme_trouble and name in self._plan.public:
            return self._acme_trouble
        if not entry.failures or name not in self._plan.public:
            return ""
        again = rfc3339(datetime.fromtimestamp(entry.next_try, self._now().tzinfo))
        return f"{entry.problem}; next try {again}"

    # what people ask for

    def statuses(self) -> list[CertificateStatus]:
        """Return every certificate, and every lack of one."""
        names = sorted({*self._held, *self._plan.public})
        own = self._own_names()
        acme = [name for name in names if name in self._held or not covers(own, name)]
        local = self._local.made.items()
        return [
            *(self._own_status(name, one) for name, one in self._own.certificates.items()),
            *(self._acme_status(name) for name in acme),
            *(self._status(name, *made, apps=self._plan.apps_of([name])) for name, made in local),
        ]

    def _status(
        self, name: str, certificate: Certificate, leaf: Leaf, **more: Any
    ) -> CertificateStatus:
        now = self._now().timestamp()
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
        apps = self._plan.apps_of(own.certificate.names)
        return self._status(
            name,
            own.certificate,
            own.leaf,
            apps=apps,
            trouble=own.trouble,
            files=own.place.files(),
        )

    def _acme_status(self, name: str) -> CertificateStatus:
        entry, held = self._journal.entry(name), self._held.get(name)
        wanted = name in self._plan.public
        agreed = self._settings is not None and self._settings.acme_agree_tos
        next_try = datetime.fromtimestamp(entry.next_try, self._now().tzinfo)
        trouble = (self._acme_trouble if agreed else TERMS) if wanted else ""
        more: dict[str, Any] = {
            "apps": self._plan.apps_of([name]),
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
        for one in every:
            if one.name == name:
                return one
        for one in every:
            if covers(one.names, name):
                return one
        raise NotFoundError(f"there is no certificate {name}", "see: ood cert list")

    def add(self, cert: str, key: str, chain: str) -> CertificateStatus:
        """Take a certificate from files."""
        name = self._own.add(absolute(cert, key, chain))
        self._want()
        self._tabulate()
        self._tell(name, f"{name} is read from {cert}", "added")
        return self.status(name)

    def renew(self, name: str) -> Deferred[CertificateStatus]:
        """Get a certificate anew, now."""
        return Deferred.fromCoroutine(self._renew(self.status(name)))

    async def _renew(self, status: CertificateStatus) -> CertificateStatus:
        if status.source == "file":
            self._look_now()
        elif status.source == "acme" and status.name in self._plan.public:
            await self._ca().service.issue_cert(status.name)
        else:
            raise ConflictError(f"{status.name} is not renewed", "no running app needs it")
        return self.status(status.name)

    def _ca(self) -> Acme:
        """Return the CA in use.

        :raises ConflictError: there is none.
        """
        if self._acme is None:
            advice = self._acme_trouble or "ood config --set acmeAgreeTos true"
            raise ConflictError("there is no CA to ask", advice)
        return self._acme

    def revoke(self, name: str) -> Deferred[CertificateStatus]:
        """Get a certificate with a new key, then have the old one revoked."""
        return Deferred.fromCoroutine(self._revoke(self.status(name)))

    async def _revoke(self, status: CertificateStatus) -> CertificateStatus:
        held = self._held.get(status.name)
        if status.source != "acme" or held is None:
            raise ConflictError(f"{status.name} does not come from a CA that ood asks")
        renewed = await self._renew(status)
        await self._ca().client.revoke(held.certificate.chain_pem)
        self._tell(status.name, f"the old certificate of {status.name} is revoked", "revoked")
        return renewed

    def _look_now(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._look()

    def remove(self, name: str) -> None:
        """Forget a certificate that nobody needs."""
        status = self.status(name)
        if status.source == "file":
            self._own.remove(status.name)
            self._want()
        elif status.source == "acme" and status.name not in self._plan.public:
            self._store.remove(status.name)
            self._journal.forget(status.name)
            del self._held[status.name]
        else:
            users = ", ".join(status.apps) or "this machine"
            raise ConflictError(f"{status.name} is in use by {users}", "stop that first")
        self._tell(status.name, f"{status.name} is removed", "removed")
        self._tabulate()


def _acme_of(settings: Settings) -> tuple[Any, ...]:
    """Return what of the settings the CA depends on."""
    return (
        settings.acme_agree_tos,
        settings.acme_email,
        settings.acme_directory,
        settings.acme_challenges,
        settings.acme_dns_hook,
        settings.acme_profile,
        settings.acme_eab_kid,
        settings.acme_eab_key_file,
        settings.acme_ca_file,
    )
