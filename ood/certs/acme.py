"""The issuing service, put together as the settings want it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread

from ood.certs.client import Client
from ood.certs.diagnose import RESOLVE_SECONDS, diagnose, lookup
from ood.certs.dnshook import DnsHookResponder
from ood.certs.errors import CertificateError
from ood.certs.files import write_private
from ood.certs.http import CaHttp
from ood.certs.interfaces import IResponder
from ood.certs.issuing import AcmeIssuingService
from ood.certs.jose import AccountKey
from ood.certs.journal import Journal
from ood.certs.responders import HttpResponder, TlsResponder
from ood.certs.session import Binding, Session
from ood.certs.store import DirectoryStore
from ood.model.document import Settings
from ood.registry import plugin

SECRET_BYTES_MAX = 4096
"""Longest secret of an external account."""


class Acme:
    """One CA, as the settings name it, with what gets certificates from it.

    :param responders: those that answer through the proxy.
    :param changed: called with a name whose certificate or problem changed.
    :raises OodError: the settings can't be followed.
    """

    def __init__(
        self,
        directory: Path,
        reactor: Any,
        clock: IReactorTime,
        now: Callable[[], datetime],
        settings: Settings,
        *,
        store: DirectoryStore,
        journal: Journal,
        responders: tuple[HttpResponder, TlsResponder],
        changed: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._reactor = reactor
        self._clock = clock
        self.hook: DnsHookResponder | None = None
        if settings.acme_dns_hook:
            journal_file = directory / "dnshook.json"
            command = settings.acme_dns_hook
            self.hook = DnsHookResponder(reactor, clock, command, journal_file)
        able = {one.challenge_type: one for one in (*responders, self.hook) if one is not None}
        ca_file = Path(settings.acme_ca_file) if settings.acme_ca_file else None
        if settings.http_port == 0:
            del able[HttpResponder.challenge_type]  # nobody could ask
        session_key = self._account_key(settings.acme_directory)
        binding = _binding(settings)
        self._http = CaHttp(reactor, clock, ca_file)
        session = Session(
            self._http, clock, now, settings.acme_directory, session_key, binding=binding
        )
        self.client = Client(session, clock)
        self.service = AcmeIssuingService(
            store,
            self.client,
            clock,
            _chosen(settings.acme_challenges, able),
            now=now,
            journal=journal,
            email=settings.acme_email or "",
            profile=settings.acme_profile or "",
            preferred_chain=settings.acme_preferred_chain or "",
            diagnose=lambda name: Deferred.fromCoroutine(diagnose(name, self._resolve)),
            changed=changed,
        )

    def _account_key(self, url: str) -> AccountKey:
        """Return the key of our account at a CA; the first time one is made."""
        host = urlsplit(url).hostname or "ca"
        slug = f"{host}-{sha256(url.encode()).hexdigest()[:8]}"
        path = self._directory / "accounts" / f"{slug}.key"
        try:
            return AccountKey.load(path.read_bytes())
        except FileNotFoundError:
            key = AccountKey.generate()
            write_private(path, key.pem())
            return key

    def _resolve(self, name: str) -> Deferred[list[str]]:
        found: Deferred[list[str]] = deferToThread(lookup, name)
        return found.addTimeout(RESOLVE_SECONDS, self._clock).addErrback(lambda _: [])

    async def start(self) -> None:
        """Clean up after an earlier run, then begin."""
        self.service.startService()
        if self.hook is not None:
            await self.hook.remove_leftovers()

    async def stop(self) -> None:
        """Give everything up; return when it is gone."""
        await self.service.stopService()
        await self._http.close()


def _chosen(names: tuple[str, ...], able: dict[str, Any]) -> list[IResponder]:
    """Return the responders that are asked for; a hook that is not set is left out."""
    own = {HttpResponder.challenge_type, TlsResponder.challenge_type, "dns-01"}
    return [
        able[name] if name in able else plugin(IResponder, name)
        for name in names
        if name in able or name not in own
    ]


def _binding(settings: Settings) -> Binding | None:
    """Return what ties our account to a customer of the CA.

    :raises CertificateError: only half of it is set, or the secret can't be used.
    """
    kid, file = settings.acme_eab_kid, settings.acme_eab_key_file
    if not kid and not file:
        return None
    if not kid or not file:
        raise CertificateError("acmeEabKid and acmeEabKeyFile go together", "set both")
    path = Path(file)
    try:
        mode = path.stat().st_mode
        secret = path.read_text("ascii")[:SECRET_BYTES_MAX].strip()
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or error
        hint = "put it right, then: ood cert renew NAME"
        raise CertificateError(f"acmeEabKeyFile {file} can't be read: {said}", hint) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CertificateError(f"others can read {file}", f"chmod 600 {file}")
    return Binding(kid, secret)
