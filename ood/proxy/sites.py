"""The sites' rules as the proxy's shells use them: kept, asked, and waited for."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping

import msgspec
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from ood.background import Background, InThread
from ood.clock import Seldom
from ood.model.document import App, Document
from ood.proxy import limits
from ood.proxy.core.errand import Errand
from ood.proxy.core.forward import Peer
from ood.proxy.core.pages import Page
from ood.proxy.core.request import Request
from ood.proxy.core.rules.auth import Check, Verdicts
from ood.proxy.core.rules.forwarded import real_peer
from ood.proxy.core.rules.networks import among
from ood.proxy.core.rules.rate import client_key
from ood.proxy.core.rules.site import Moment, Site, Verdict, decide
from ood.proxy.errorpages import read_pages


class Sites:
    """What is known of all sites beside their routes.

    :ivar watchful: connections of some peers must not be handed off, or begin with the
        PROXY protocol; if not, nobody's address has to be looked up.
    """

    log = Logger()

    def __init__(
        self, clock: IReactorTime, background: Background, in_thread: InThread = deferToThread
    ) -> None:
        self._clock = clock
        self._background = background
        self._in_thread = in_thread
        self._sites: Mapping[str, Site] = {}
        self._verdicts = Verdicts(secrets.token_bytes(32))
        self._trusted = among(())
        self._greeting = among(())
        self.watchful = False
        self._holding: dict[str, set[Deferred[None]]] = {}
        self._checks = DeferredSemaphore(limits.PASSWORD_THREADS)
        self._checking: Counter[str | int] = Counter()
        self._warning = Seldom(clock, limits.GREETING_WARNING_SECONDS)
        self._troubles: Mapping[str, tuple[str, ...]] = {}
        self._common_pages: Mapping[str, bytes] = {}

    # From the document.

    def converge(self, document: Document) -> None:
        """Be what ``document`` says; let those go on who waited for the end of maintenance."""
        settings = document.settings
        self._trusted = among(settings.trusted_proxies)
        self._greeting = among(settings.proxy_protocol)
        self.watchful = bool(settings.trusted_proxies or settings.proxy_protocol)
        self._sites = {
            name: Site(name, app, self._sites.get(name)) for name, app in document.apps.items()
        }
        for name in list(self._holding):
            app = document.apps.get(name)
            if app is None or app.maintenance is None:
                for waiting in list(self._holding.get(name, ())):
                    waiting.callback(None)
        self._converge_pages(document)

    def _converge_pages(self, document: Document) -> None:
        common = document.settings.error_pages
        apps = {name: app for name, app in document.apps.items() if app.error_pages}
        self._background.run("reading error pages", self._load_pages(self._sites, common, apps))

    async def _load_pages(
        self, sites: Mapping[str, Site], common: Mapping[str, str], apps: Mapping[str, App]
    ) -> None:
        """Read all pages anew; the files may have changed."""
        shared, missing = await self._read_pages("/", common)
        troubles = dict.fromkeys(sites, missing)
        pages = dict.fromkeys(sites, shared)
        for name, app in apps.items():
            own, texts = await self._read_pages(app.cwd, app.error_pages)
            pages[name], troubles[name] = {**shared, **own}, (*missing, *texts)
        if self._sites is sites:
            self._common_pages, self._troubles = shared, troubles
            for name, site in sites.items():
                site.error_pages = pages[name]

    async def _read_pages(
        self, cwd: str, paths: Mapping[str, str]
    ) -> tuple[Mapping[str, bytes], tuple[str, ...]]:
        if not paths:
            return {}, ()
        found, troubles = await self._in_thread(read_pages, cwd, paths)
        return found, tuple(troubles)

    def trouble(self, app: str) -> tuple[str, ...]:
        """Return what is wrong with an app's rules."""
        return self._troubles.get(app, ())

    # For the dispatcher.

    def every_request(self, app: str) -> bool:
        """Tell whether ood must see all requests of ``app``: none may be handed off."""
        site = self._sites.get(app)
        return site is not None and site.every_request

    def greets(self, address: str) -> bool:
        """Tell whether a peer's connections begin with the PROXY protocol."""
        return self._greeting.find(address) is not None

    def trusts(self, address: str) -> bool:
        """Tell whether a peer is a proxy whose word about its clients is taken."""
        return self._trusted.find(address) is not None

    def ungreeted(self, address: str, why: str) -> None:
        """Tell that a peer did not begin with the PROXY protocol."""
        if self._warning.allows():
            self.log.warn(
                "a connection from {address} (proxyProtocol) is refused: {why}",
                address=address,
                why=why,
            )

    # For requests.

    def real_peer(self, peer: Peer, request: Request) -> Peer:
        """Return whom a request comes from."""
        if self.watchful and self.trusts(peer.address):
            return real_peer(peer, request.fields, self._trusted)
        return peer

    def decide(self, app: str, request: Request, peer: Peer, *, again: bool = False) -> Verdict:
        """Ask the rules."""
        if not self.every_request(app):
            return Errand(app, request, peer)
        now = self._clock.seconds()
        moment = Moment(now, self._verdicts, secrets.token_hex, again)
        return decide(self._sites, app, request, peer, moment)

    def dressed(self, page: Page, app: str) -> Page:
        """Return a page of ood's as the site shows it; the site may be none."""
        site = self._sites.get(app)
        if site is not None:
            return site.dressed(page)
        html = self._common_pages.get(page.name or str(page.status), b"")
        return msgspec.structs.replace(page, html=html) if html else page

    # For those who wait.

    def held(self, app: str) -> Deferred[None] | None:
        """Return what fires at the end of an app's maintenance; None if too many wait."""
        waiting = self._holding.setdefault(app, set())
        if len(waiting) >= limits.HELD_PER_APP_MAX:
            return None
        one: Deferred[None] = Deferred()
        waiting.add(one)

        def gone(result: object) -> object:
            waiting.discard(one)
            if not waiting and self._holding.get(app) is waiting:
                del self._holding[app]
            return result

        return one.addBoth(gone)

    def checked(self, check: Check, address: str) -> Deferred[None] | None:
        """Return what fires when a password was checked; None if too many are being checked."""
        client = client_key(address)
        if self._checking[client] >= limits.PASSWORDS_PER_CLIENT_MAX:
            return None
        if self._checking.total() >= limits.PASSWORDS_MAX:
            return None
        self._checking[client] += 1
        done: Deferred[None] = Deferred()
        self._background.run("checking a password", self._check(check, client, done))
        return done

    async def _check(self, check: Check, client: str | int, done: Deferred[None]) -> None:
        try:
            await self._checks.run(self._verify, check)
        finally:
            self._checking[client] -= 1
            if not self._checking[client]:
                del self._checking[client]
            if not done.called:
                done.callback(None)

    def _verify(self, check: Check) -> Deferred[None] | None:
        if self._verdicts.find(check.key) is not None:
            return None  # the same was asked on another connection just before
        verdict: Deferred[bool] = self._in_thread(check.verify)
        return verdict.addCallback(lambda right: self._verdicts.remember(check.key, right))
