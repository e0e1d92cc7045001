"""What HTTPS makes of requests: some are answered here, some are marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from ood.interfaces import ICertificates
from ood.model.document import App, Document
from ood.proxy.core import pages
from ood.proxy.core.errand import Errand
from ood.proxy.core.forward import Peer
from ood.proxy.core.pages import Page
from ood.proxy.core.request import Request
from ood.proxy.core.route import REMEMBERED_HOSTS_MAX, normalise
from ood.proxy.core.secure import (
    VALIDATIONS,
    HstsChange,
    hsts_change,
    https_location,
    is_local,
    validation_token,
)


class Place(Protocol):
    """Where a connection comes in: :class:`ood.proxy.context.Entry`."""

    @property
    def app(self) -> str | None:
        """The app whose own port it is."""

    @property
    def scheme(self) -> bytes:
        """``http`` or ``https``."""


class Secured:
    """Knows which apps want what of HTTPS.

    :param http_port: the port for HTTP.
    :param https_port: the port for HTTPS; 0 if nothing listens for it.
    """

    def __init__(self, certificates: ICertificates, http_port: int, https_port: int) -> None:
        self._certificates = certificates
        self._ports = http_port, https_port
        self._apps: Mapping[str, App] = {}
        self._kept: frozenset[str] = frozenset()
        self._hsts: dict[str, HstsChange] = {}
        self._known: dict[bytes, bool] = {}
        self._unsubscribe = certificates.subscribe(self._refresh)

    def stop(self) -> None:
        """Learn of no more certificates."""
        self._unsubscribe()

    def converge(self, document: Document) -> None:
        """Do as ``document`` says."""
        self._apps = document.apps
        wanting = {name: app.hsts for name, app in document.apps.items() if app.hsts}
        self._hsts = {name: hsts_change(seconds) for name, seconds in wanting.items()}
        self._refresh()

    def _refresh(self) -> None:
        """Find out anew whose plain requests are not to reach their app."""
        self._known.clear()
        self._kept = frozenset(
            name
            for name, app in self._apps.items()
            if app.https == "only"
            or any(self._moves(app, host) for host in app.hosts(name) if app.https != "off")
        )

    def _moves(self, app: App, host: str) -> bool:
        """Return whether plain requests for ``host`` are sent to HTTPS."""
        if app.https == "off" or is_local(host):
            return False
        if app.https == "only":
            return True
        if not self._ports[1]:
            return False
        if app.tls == "passthrough":
            return True  # it has certificates of its own
        found = self._certificates.find(host)
        # nobody's browser trusts what we signed ourselves
        return found is not None and found.source != "self-signed"

    # For the dispatcher.

    def passes(self, app: str, target: bytes, entry: Place) -> bool:
        """Tell whether a connection of ``app`` may be handed off for all we know of HTTPS.

        Later requests on it do not come here: the app must have no host that is to be
        answered here.
        """
        if entry.app is not None:
            return True
        kept = self._hsts if entry.scheme == b"https" else self._kept
        return app not in kept and not target.startswith(VALIDATIONS)

    # For requests.

    def answer(self, app: str | None, request: Request, peer: Peer, entry: Place) -> Page | None:
        """Return the answer to a request that goes to no app."""
        if entry.scheme == b"https" and app is not None and self._apps[app].tls == "passthrough":
            return pages.misdirected()
        if request.target.startswith(VALIDATIONS):
            # also over HTTPS: where another server has port 80, it may send the CA here
            page = self._validate(request)
            if page is not None:
                return page
        if peer.scheme == b"https":
            return None
        if app is None or app not in self._kept or not self._leaves(app, request.host or b""):
            return None
        http_port, https_port = self._ports
        if not https_port:
            return pages.https_only()
        return pages.redirect(308, https_location(request, http_port, https_port))

    def _validate(self, request: Request) -> Page | None:
        token = validation_token(request.target)
        if token is None:
            return None
        found = self._certificates.token(normalise(request.host or b""), token)
        return None if found is None else pages.key_authorization(found)

    def _leaves(self, app: str, host: bytes) -> bool:
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= REMEMBERED_HOSTS_MAX:
                self._known.clear()
            known = self._known[host] = self._moves(self._apps[app], normalise(host))
        return known

    def marked(self, app: str, errand: Errand) -> Errand:
        """Return the errand for ``app`` with what HTTPS adds to its answer."""
        change = self._hsts.get(app)
        if change is None or errand.peer.scheme != b"https":
            return errand
        return msgspec.structs.replace(errand, changes=(*errand.changes, change))

    def marked_page(self, app: str, page: Page, peer: Peer) -> Page:
        """Return a page of ood's for ``app`` with what HTTPS adds, as :meth:`marked` does."""
        change = self._hsts.get(app)
        if change is None or peer.scheme != b"https" or change.is_said(page.own_fields):
            return page
        return msgspec.structs.replace(page, fields=page.fields + change.line)
