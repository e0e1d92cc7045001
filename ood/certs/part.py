"""The certificates as a part of the service.

Many installations serve no HTTPS.  So nothing else of the package, and none of the
libraries it uses, is imported before a certificate is there or wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ood.certs.core.plan import NOTHING, plan
from ood.certs.report import NameState, app_certificate, measures
from ood.clock import wall_time
from ood.interfaces import Certificate, ICertificateDesk, ICertificates, Measure
from ood.model.certificates import AppCertificate, CertificateStatus
from ood.model.document import Document, Settings

if TYPE_CHECKING:
    from ood.certs.desk import Desk
    from ood.certs.keeper import Keeper

T = TypeVar("T")
Publish = Callable[..., Any]
"""``publish(kind, text, app, **data)``, as the bus of events has it."""


@implementer(ICertificates, ICertificateDesk)
class CertificatesPart(Service):
    """Keeps certificates as the document wants them.

    :param directory: where they are kept.
    :param publish: tells what happens.
    :param root: whether ood runs as root, on whose ports the default depends.
    """

    log = Logger()

    def __init__(
        self,
        directory: Path,
        reactor: Any,
        clock: IReactorTime,
        *,
        root: bool,
        publish: Publish = lambda *_, **__: None,
        now: Callable[[], datetime] = wall_time,
    ) -> None:
        self._directory = directory
        self._reactor = reactor
        self._clock = clock
        self._root = root
        self._publish = publish
        self._now = now
        self._keeper: Keeper | None = None
        self._plan = NOTHING
        self._settings = Settings()
        self._subscribers: dict[object, Callable[[], None]] = {}

    def startService(self) -> None:
        """Begin; what was loaded before waits for it."""
        self.running = True
        if self._keeper is not None:
            self._begin(self._keeper)

    def _begin(self, keeper: Keeper) -> None:
        keeper.start()
        keeper.converge(self._plan, self._settings)

    def stopService(self) -> Deferred[None]:
        """Give up what is under way; fire when all of it is gone."""
        self.running = False
        if self._keeper is None:
            return succeed(None)
        return Deferred.fromCoroutine(self._keeper.stop())

    def converge(self, document: Document) -> None:
        """Want what ``document`` wants; returns at once."""
        _, https = document.settings.ports(root=self._root)
        self._settings = document.settings
        # who passes TLS on to its app has certificates there
        apps = {name: app for name, app in document.apps.items() if app.tls == "terminate"}
        hosts = {name: app.hosts(name) for name, app in apps.items()}
        running = [name for name, app in apps.items() if app.running]
        self._plan = plan(hosts, running) if https else NOTHING
        if self._keeper is None:
            ordered = self._plan.public and self._settings.acme_agree_tos
            if self._plan is not NOTHING and (ordered or self._has_kept()):
                self._load()
        elif self.running:
            self._keeper.converge(self._plan, self._settings)

    def _has_kept(self) -> bool:
        """Tell whether certificates are kept from an earlier run."""
        acme, own = self._directory / "acme", self._directory / "own"
        return any(acme.glob("*.pem")) or any(own.glob("*.json"))

    def _load(self) -> Keeper:
        if self._keeper is None:
            from ood.certs.keeper import Keeper  # noqa: PLC0415 - see the module's docstring

            keeper = Keeper(
                self._directory,
                self._reactor,
                self._clock,
                self._now,
                changed=self._notify,
                tell=self._tell,
            )
            self._keeper = keeper
            self._notify()
            if self.running:
                self._begin(keeper)
        return self._keeper

    def _desk(self) -> Desk:
        from ood.certs.desk import Desk  # noqa: PLC0415 - see the module's docstring

        return Desk(self._load())

    def _notify(self) -> None:
        for callback in tuple(self._subscribers.values()):
            try:
                callback()
            except Exception:
                self.log.failure("a subscriber of the certificates failed")

    def _tell(self, name: str, text: str, outcome: str) -> None:
        apps = self._plan.apps_of([name]) or ("",)
        for app in apps:
            self._publish("certificate", text, app, name=name, outcome=outcome)

    # what the proxy asks

    def find(self, server_name: str) -> Certificate | None:
        """Return the certificate for a host: one that names it, else one with a wildcard."""
        if self._keeper is None and server_name in self._plan.local:
            self._load()
        return self._keeper.find(server_name) if self._keeper is not None else None

    def challenge(self, server_name: str) -> Certificate | None:
        """Return what answers a tls-alpn-01 validation of that host, if one is under way."""
        return self._keeper.tls.certificate(server_name) if self._keeper is not None else None

    def token(self, host: str, path_token: str) -> bytes | None:  # noqa: ARG002
        """Return the key authorization of an http-01 validation, if one is under way."""
        return self._keeper.http.token(path_token) if self._keeper is not None else None

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` after certificates have changed; return what ends that."""
        key = object()
        self._subscribers[key] = callback

        def end() -> None:
            self._subscribers.pop(key, None)

        return end

    # what people ask

    def app_certificate(self, app: str) -> AppCertificate | None:
        """Return how HTTPS stands for an app; None if that is off."""
        return app_certificate(
            self._plan, app, self._state_of, agreed=self._settings.acme_agree_tos
        )

    def _state_of(self, name: str) -> NameState:
        return NameState() if self._keeper is None else self._keeper.state_of(name)

    def certificates(self) -> list[CertificateStatus]:
        """Return every certificate, and every lack of one."""
        return self._desk().statuses()

    def certificate(self, name: str) -> CertificateStatus:
        """Return one of them by its name, or by a name it is valid for."""
        return self._desk().status(name)

    def add_certificate(self, cert: str, key: str, chain: str) -> Deferred[CertificateStatus]:
        """Take a certificate from files."""
        return maybeDeferred(lambda: self._desk().add(cert, key, chain))

    def renew_certificate(self, name: str) -> Deferred[CertificateStatus]:
        """Get a certificate anew, now."""
        return maybeDeferred(lambda: self._desk().renew(name))

    def revoke_certificate(self, name: str) -> Deferred[CertificateStatus]:
        """Get a certificate with a new key; fires when the CA has revoked the old one."""
        return maybeDeferred(lambda: self._desk().revoke(name))

    def remove_certificate(self, name: str) -> Deferred[None]:
        """Forget a certificate that nobody needs."""
        return maybeDeferred(lambda: self._desk().remove(name))

    def measures(self) -> list[Measure]:
        """Return what is measured of certificates; nothing is loaded for it."""
        return [] if self._keeper is None else measures(self._desk().statuses())
