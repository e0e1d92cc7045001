"""One app's rules, and the order in which they are asked."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from ood.model.rules import rate_of
from ood.model.urlpath import UrlPath, read_target
from ood.proxy.core import pages
from ood.proxy.core.errand import Errand
from ood.proxy.core.forward import Peer
from ood.proxy.core.pages import Page
from ood.proxy.core.request import Request
from ood.proxy.core.rules.auth import Check, Door, Verdicts, credentials, without_credentials
from ood.proxy.core.rules.headers import FieldChange, HeaderChange
from ood.proxy.core.rules.networks import Access, among
from ood.proxy.core.rules.places import Redirects, Rewrites, Routes, Way
from ood.proxy.core.rules.rate import RateLimit
from ood.proxy.core.rules.settings import SiteSettings
from ood.proxy.core.rules.trace import Fresh, named

RETRY_SECONDS = 120
"""After which time a client may ask again during maintenance: nobody knows how long it takes."""

LASTING_STATUSES = frozenset((301, 308))
"""Redirects that browsers may remember: their administrator wrote the status down."""


class Hold(msgspec.Struct, frozen=True):
    """A request that waits for the end of maintenance.

    :ivar app: whose maintenance it is.
    :ivar seconds: how long it may wait.
    :ivar page: its answer if that was not long enough.
    """

    app: str
    seconds: float
    page: Page


class Pending(msgspec.Struct, frozen=True):
    """A request whose password has to be checked.

    :ivar page: its answer if there are too many to check.
    """

    check: Check
    page: Page


Verdict = Errand | Page | Hold | Pending


class Moment(msgspec.Struct, frozen=True):
    """What deciding takes beside rules and request.

    :ivar now: the clock's seconds.
    :ivar again: the same request was decided before, and waited; it counts once.
    """

    now: float
    verdicts: Verdicts
    fresh: Fresh
    again: bool = False


class Site:
    """The rules of one app, ready to be asked.

    :ivar app: what they were made of.
    :ivar every_request: some rule must see every request of the app.
    :ivar error_pages: HTML of the site's own by status, or ``maintenance``.
    """

    def __init__(self, name: str, app: SiteSettings, before: Site | None = None) -> None:
        self.name = name
        self.app = app
        self.every_request = bool(app.proxied_because())
        self.error_pages: Mapping[str, bytes] = {} if before is None else before.error_pages
        self._access = Access(app.allow, app.deny) if app.allow or app.deny else None
        self._rate = _rate(app, before)
        self._bypass = among(app.maintenance_allow)
        self._door = Door(app.basic_auth, app.basic_auth_paths) if app.basic_auth else None
        self._redirects = Redirects(app.redirects) if app.redirects else None
        self._rewrites = Rewrites(app.rewrites) if app.rewrites else None
        self._routes = Routes(app.routes) if app.routes else None
        self._changes = (HeaderChange(app.headers),) if app.headers else ()
        self._own_fields = app.headers
        fields = app.request_headers
        self._request_change = FieldChange(fields, kin=True) if fields else None
        self._paths = bool(app.routes or app.redirects or app.rewrites or app.basic_auth_paths)

    # The gates: who comes in, which hold also for what another app's routes send here.

    def admit(self, peer: Peer, moment: Moment) -> Page | Hold | None:
        """Return what keeps a client out, if anything does."""
        if self._access is not None and not self._access.enters(peer.address):
            return self.dressed(pages.forbidden())
        if self._rate is not None and not moment.again:
            late = self._rate.take(peer.address, moment.now)
            if late:
                return self.dressed(pages.too_often(math.ceil(late)))
        maintenance = self.app.maintenance
        if maintenance is None or self._bypass.find(peer.address):
            return None
        page = self.dressed(pages.maintenance(maintenance.message, RETRY_SECONDS))
        if maintenance.hold:
            return Hold(self.name, maintenance.hold / 1000, page)
        return page

    def unlock(
        self, request: Request, path: bytes, moment: Moment
    ) -> tuple[str, Page | Pending | None]:
        """Return whose credentials were used, and what is between the client and the site."""
        if self._door is None or not self._door.guards(path):
            return "", None
        page = self.dressed(pages.unauthorized(self.name))
        given = credentials(request.fields)
        if given is None:
            return "", page
        verdict = self._door.check(given, moment.verdicts)
        if isinstance(verdict, Check):
            return "", Pending(verdict, self.dressed(pages.busy()))
        return (given.user, None) if verdict else ("", page)

    def body_limit(self, request: Request) -> Page | None:
        """Return the answer to a body that is too long by its own word."""
        longest = self.app.body_limit
        if longest is None or request.length <= longest:
            return None
        return self.dressed(pages.too_large(longest))

    # What happens to those that are in.

    def path(self, request: Request) -> UrlPath | Page:
        """Return the request's path, or the answer to one that can be read in two ways."""
        if not self._paths:
            return UrlPath(b"/", b"/", request.target, b"")
        try:
            return read_target(request.target)
        except ValueError as error:
            return self.dressed(pages.malformed(400, str(error)))

    def away(self, request: Request, peer: Peer, path: UrlPath) -> Page | None:
        """Return the redirect for a request, if there is one."""
        if self._redirects is None:
            return None
        found = self._redirects.find(request.host, peer.scheme, path)
        if found is None:
            return None
        return self.dressed(pages.redirect(*found, lasting=found[0] in LASTING_STATUSES))

    def placed(self, path: UrlPath) -> Way:
        """Return which app answers, and with which target."""
        target = path.sent + path.rest
        if self._rewrites is not None:
            rewritten = self._rewrites.apply(path)
            if rewritten is not None:
                target = rewritten
                path = read_target(target)
        if self._routes is not None:
            found = self._routes.find(path)
            if found is not None:
                return found
        return Way(self.name, target)

    def sent(self, request: Request, target: bytes, peer: Peer, moment: Moment) -> Request:
        """Return the request as the app is to see it."""
        fields = request.fields
        if self.app.request_id:
            fields = named(fields, trusted=peer.told, fresh=moment.fresh)
        if self._request_change is not None:
            fields = self._request_change.apply(fields)
        if fields is request.fields and target == request.target:
            return request
        return msgspec.structs.replace(request, target=target, fields=fields)

    @property
    def changes(self) -> tuple[HeaderChange, ...]:
        """What changes the site's answers."""
        return self._changes

    def dressed(self, page: Page) -> Page:
        """Return a page of ood's as this site shows it."""
        html = self.error_pages.get(page.name or str(page.status), b"")
        return msgspec.structs.replace(page, html=html, own_fields=self._own_fields)


def _rate(app: SiteSettings, before: Site | None) -> RateLimit | None:
    """Return the app's limit; the one from before goes on if it is the same."""
    if app.rate_limit is None:
        return None
    wanted = (app.rate_limit, app.rate_limit_burst)
    if before is not None and (before.app.rate_limit, before.app.rate_limit_burst) == wanted:
        return before._rate
    requests, seconds = rate_of(app.rate_limit)
    return RateLimit(requests, seconds, app.rate_limit_burst or requests)


def decide(
    sites: Mapping[str, Site], name: str, request: Request, peer: Peer, moment: Moment
) -> Verdict:
    """Return what is to be done for a request that names the app ``name``."""
    site = sites.get(name)
    if site is None or not site.every_request:
        return Errand(name, request, peer)
    path = site.path(request)
    if isinstance(path, Page):
        return path
    stop = site.admit(peer, moment) or site.away(request, peer, path)
    if stop is not None:
        return stop
    user, refused = _unlocked(site, request, path, moment)
    if refused is not None:
        return refused
    way = site.placed(path)
    app = way.app
    longest = site.app.body_limit
    if app != name and app in sites:
        there = sites[app]
        user_there, kept_out = _entered(there, request, way.target, peer, moment)
        if kept_out is not None:
            return kept_out
        user = user or user_there
        longest = min(
            (one for one in (longest, there.app.body_limit) if one is not None), default=None
        )
    if user:
        request = msgspec.structs.replace(request, fields=without_credentials(request.fields))
    return Errand(
        app,
        site.sent(request, way.target, peer, moment),
        peer,
        changes=site.changes,
        body_bytes_max=longest,
        site=name,
        below=way.below,
        user=user,
    )


def _unlocked(
    site: Site, request: Request, path: UrlPath, moment: Moment
) -> tuple[str, Page | Pending | None]:
    """Return whose credentials ood itself used, and what refuses the request."""
    user, closed = site.unlock(request, path.wide, moment)
    return user, closed or site.body_limit(request)


def _entered(
    site: Site, request: Request, target: bytes, peer: Peer, moment: Moment
) -> tuple[str, Page | Hold | Pending | None]:
    """Ask the gates of an app that another app's route leads to, as :func:`_unlocked` does."""
    moved = msgspec.structs.replace(request, target=target)
    path = site.path(moved)
    if isinstance(path, Page):
        return "", path
    stop = site.admit(peer, moment)
    return ("", stop) if stop is not None else _unlocked(site, moved, path, moment)
