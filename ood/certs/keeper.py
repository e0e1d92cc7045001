"""All certificates together: those of a CA, those from files, those of this machine.

This is what :mod:`ood.certs.part` loads when the first certificate is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ood.background import Background
from ood.certs.acme import Acme
from ood.certs.core.names import covers, wildcard_of
from ood.certs.core.plan import NOTHING, Plan
from ood.certs.errors import CertificateError
from ood.certs.issuing import Held
from ood.certs.journal import Journal
from ood.certs.local import LocalAuthority
from ood.certs.own import OwnCertificates
from ood.certs.pem import load_objects
from ood.certs.report import NameState, rfc3339
from ood.certs.responders import HttpResponder, TlsResponder
from ood.certs.store import DirectoryStore
from ood.errors import OodError
from ood.interfaces import Certificate
from ood.model.document import Settings

WARNING_DAYS = (14, 3, 0)
"""So long before the end of an own certificate, which nobody else renews, it is told of."""
LOOK_SECONDS = 15.0
"""How often files of own certificates are looked at."""

Tell = Callable[[str, str, str], None]
"""``tell(name, text, outcome)``: something happened to a certificate."""


class Keeper:
    """Keeps every certificate, and finds the right one.

    :param directory: where they are.
    :param changed: called after what is served has changed.
    :param tell: called with what happened.
    :ivar plan: the names that need a certificate.
    :ivar acme: the CA in use; None without the terms, or with settings that can't be followed.
    :ivar acme_trouble: why the settings can't be followed.
    :ivar held: what came from a CA, by name.
    :ivar http: answers http-01, and ``tls`` tls-alpn-01.
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
        self.now = now
        self._changed = changed
        self.tell = tell
        self.plan = NOTHING
        self.settings: Settings | None = None
        self.acme: Acme | None = None
        self.acme_trouble = ""
        self._files: tuple[tuple[int, int], ...] = ()
        self._failures_told: dict[str, int] = {}
        self._swapping = DeferredLock()
        self._background = Background()
        self._timer: IDelayedCall | None = None
        self._looked = now()
        self.http = HttpResponder()
        self.tls = TlsResponder(now)
        self.journal = Journal(directory)
        self.store = DirectoryStore(directory / "acme")
        self.held = self._load()
        self.local = LocalAuthority(directory / "local", now)
        self.own = OwnCertificates(directory / "own", now, self._apps_of)
        self._table = self._tabulated()

    def _load(self) -> dict[str, Held]:
        held: dict[str, Held] = {}
        for name, objects in self.store.read_all().items():
            try:
                if objects:
                    held[name] = Held(*load_objects(objects, "acme"))
            except CertificateError as error:
                self.log.error("certificate of {name}: {error}", name=name, error=error)
        return held

    def _apps_of(self, names: Iterable[str]) -> tuple[str, ...]:
        return self.plan.apps_of(names)

    def own_names(self) -> list[str]:
        """Return the names that own certificates serve, so that no CA is asked for them."""
        own = [one.certificate for one in self.own.certificates.values()]
        return [name for one in own if one.not_after > self.now() for name in one.names]

    def start(self) -> None:
        """Watch the files of own certificates."""
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)

    async def stop(self) -> None:
        """End everything; return when it is gone."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        await self._background.stop()
        if self.acme is not None:
            await self.acme.stop()

    def _look(self) -> None:
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)
        changed = self.own.look()
        for name in changed:
            own = self.own.certificates[name]
            if own.trouble:
                self.tell(name, f"the certificate of {name}: {own.trouble}", "refused")
            else:
                until = rfc3339(own.certificate.not_after)
                text = f"the certificate of {name} was read anew, valid until {until}"
                self.tell(name, text, "read")
        ended = self._ended()
        if changed or ended or self.local.renew():
            self.want()
            self.tabulate()
        if self._files_changed():
            self._change_ca()

    def look_now(self) -> None:
        """Look at the files without waiting."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._look()

    def _ended(self) -> bool:
        """Tell whether an own certificate has expired since the last look; warn before that."""
        now, before = self.now(), self._looked
        self._looked = now
        ended = False
        for name, own in self.own.certificates.items():
            end = own.certificate.not_after
            if any(before < end - timedelta(days=days) <= now for days in WARNING_DAYS):
                over = end <= now
                text = "has expired" if over else f"ends on {rfc3339(end)}: put a new one there"
                outcome = "expired" if over else "ending"
                self.tell(name, f"the certificate of {name} in {own.place.cert} {text}", outcome)
                ended = ended or over
        return ended

    # what is wanted

    def converge(self, plan: Plan, settings: Settings) -> None:
        """Want what ``plan`` wants, from the CA of ``settings``."""
        self.plan = plan
        before, self.settings = self.settings, settings
        if _acme_of(settings) != (None if before is None else _acme_of(before)):
            if before is None:
                self._background.run("choosing the CA", self._swap())
            else:
                self._change_ca()
        self.want()

    def _change_ca(self) -> None:
        """Let everything be tried anew."""
        self.journal.retry_all()
        self._failures_told.clear()
        self._background.run("changing the CA", self._swap())

    def _files_changed(self) -> bool:
        """Tell whether the files that the settings name are others than when they were read."""
        return self.settings is not None and self._files != _files_of(self.settings)

    def want(self) -> None:
        """Ask the CA for what it shall vouch for."""
        if self.acme is not None:
            own = self.own_names()
            self.acme.service.want(name for name in self.plan.public if not covers(own, name))

    async def look_again(self) -> None:
        """Ask the CA after all, if what the settings name was not in order and now is."""
        if self.acme_trouble or self._files_changed():
            await self._swap()

    async def _swap(self) -> None:
        """Put a new CA in the place of the old one."""
        await self._swapping.acquire()
        try:
            old, self.acme = self.acme, None
            if old is not None:
                await old.stop()
            self.acme_trouble = ""
            settings = self.settings
            self._files = () if settings is None else _files_of(settings)
            if settings is None or not settings.acme_agree_tos:
                return
            self.acme = self._make_acme(settings)
            self.want()
            await self.acme.start()
        except (OodError, OSError) as error:
            self.acme_trouble = str(error)
            self.log.error("no certificates from a CA: {error}", error=error)
        finally:
            self._swapping.release()

    def _make_acme(self, settings: Settings) -> Acme:
        return Acme(
            self._directory,
            self._reactor,
            self._clock,
            self.now,
            settings,
            store=self.store,
            journal=self.journal,
            responders=(self.http, self.tls),
            changed=self._acme_changed,
        )

    def _acme_changed(self, name: str) -> None:
        """Take a new certificate, or tell of a failure."""
        if self.acme is None or self.acme.service.is_issuing(name):
            return
        held = self.acme.service.held.get(name)
        if held is not None and held is not self.held.get(name):
            before = self.held.get(name)
            self.held[name] = held
            if before is None or before.certificate != held.certificate:
                until = rfc3339(held.certificate.not_after)
                self.tell(name, f"{name} has a certificate until {until}", "obtained")
                self.tabulate()
                return
        entry = self.journal.entry(name)
        if entry.failures > self._failures_told.get(name, 0):
            self.tell(name, f"no new certificate for {name}: {entry.problem}", "failed")
        self._failures_told[name] = entry.failures

    def forget(self, name: str) -> None:
        """Have no certificate of a CA for a name any more, and know nothing of it."""
        self.store.remove(name)
        self.journal.forget(name)
        del self.held[name]
        if self.acme is not None:
            self.acme.service.held.pop(name, None)  # else it would never order another

    # what is served

    def tabulate(self) -> None:
        """Serve what there is now, and tell who wants to know."""
        self._table = self._tabulated()
        self._changed()

    def _tabulated(self) -> dict[str, Certificate]:
        """Return which certificate serves which name."""
        now = self.now()
        table: dict[str, Certificate] = {}
        own = [one.certificate for one in self.own.certificates.values()]
        for certificate in (*(held.certificate for held in self.held.values()), *own):
            for name in certificate.names:
                before = table.get(name)
                if before is None or certificate.not_after > now or before.not_after <= now:
                    table[name] = certificate
        return table

    def find(self, server_name: str) -> Certificate | None:
        """Return the certificate for a host."""
        found = self._tabled(server_name)
        if found is None and server_name in self.plan.local:
            try:
                return self.local.get(server_name)
            except OSError as error:
                self.log.error("no certificate for {name}: {e}", name=server_name, e=error)
        return found

    def _tabled(self, name: str) -> Certificate | None:
        """Return what a CA or a file has for a name.

        A valid one before one that has expired, then one's own before a CA's: that is not
        renewed any more.  Then the one for just that name before a wildcard.
        """
        exact, wild = self._table.get(name), self._table.get(wildcard_of(name))
        if exact is None or wild is None:
            return exact or wild
        now = self.now()
        return max(exact, wild, key=lambda one: (one.not_after > now, one.source == "file"))

    def state_of(self, name: str) -> NameState:
        """Return how a public name stands."""
        found = self._tabled(name)
        if found is not None and found.not_after <= self.now():
            found = None
        return NameState(found, self._trouble(name))

    def _trouble(self, name: str) -> str:
        """Return what keeps a name from a new certificate, and when it is tried again."""
        entry = self.journal.entry(name)
        for own in self.own.certificates.values():
            trouble = own.trouble or own.lacking
            if trouble and covers(own.certificate.names, name):
                return trouble
        if self.acme_trouble and name in self.plan.public:
            return self.acme_trouble
        if not entry.failures or not entry.next_try or name not in self.plan.public:
            return ""  # or it is to be tried at once
        again = rfc3339(datetime.fromtimestamp(entry.next_try, self.now().tzinfo))
        return f"{entry.problem}; next try {again}"


def _acme_of(settings: Settings) -> tuple[Any, ...]:
    """Return what of the settings the CA depends on."""
    return (
        settings.acme_agree_tos,
        settings.acme_email,
        settings.acme_directory,
        settings.acme_challenges,
        settings.acme_dns_hook,
        settings.acme_profile,
        settings.acme_preferred_chain,
        settings.acme_eab_kid,
        settings.acme_eab_key_file,
        settings.acme_ca_file,
    )


def _files_of(settings: Settings) -> tuple[tuple[int, int], ...]:
    """Return what changes when the files do that are read for the CA, or their rights."""
    paths = (settings.acme_eab_key_file, settings.acme_ca_file)
    return tuple(_stamp(path) for path in paths if path)


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return 0, 0
    return found.st_ino, found.st_ctime_ns
