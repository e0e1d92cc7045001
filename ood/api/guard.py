"""Who may talk to the API: the check before every route.

Everything on this machine, and every page in a browser on it, can reach a
loopback port.  So each request must name this very address in Host (a page of
a foreign site that had its name resolved to 127.0.0.1 does not), must not come
from a foreign page (Origin), and must carry the token that only those can read
who may read the service's home; or the page must be logged in.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.web.resource import IResource
from zope.interface import implementer

from ood.api.browser import check_session, cookie_of
from ood.api.limits import LimitedRequest
from ood.api.page import ToPage
from ood.api.problems import (
    BadRequestError,
    ForbiddenError,
    NoTokenError,
    Refusal,
    TooLargeError,
    WebRequest,
)
from ood.api.sessions import Sessions
from ood.api.types import LOOPBACK
from ood.errors import OodError

PROXIES_SAY = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""Fields that tell that a request was passed on by a proxy."""
HOST_NAMES = (LOOPBACK, "localhost", "[::1]")
"""Names of the loopback interface in Host and Origin."""


@dataclass(frozen=True)
class Mount:
    """A further resource at the API's root, behind the same check.

    :ivar resource: what answers below the path segment it is mounted at.
    :ivar token_header: a header that may carry the token instead of ``Authorization``.
    :ivar checks_token: whether it checks tokens itself, in a way that its clients know.
    :ivar is_open: tells whether a request from this machine needs no token just now.
    """

    resource: IResource
    token_header: str = ""
    checks_token: bool = False
    is_open: Callable[[], bool] = lambda: False


@implementer(IResource)
class Guard:
    """The API's root: checks each request, then passes it on.

    :ivar inner: answers what no mount is for.
    :ivar mounts: further resources by first path segment.
    :ivar public: paths that need no token.
    :param tls_hosts: what Host may be where the request came with TLS.
    """

    isLeaf = False

    def __init__(
        self,
        inner: IResource,
        token: str,
        mounts: Mapping[str, Mount],
        public: frozenset[str],
        sessions: Sessions,
        *,
        tls_hosts: frozenset[str] = frozenset(),
    ) -> None:
        self.inner = inner
        self.mounts = mounts
        self.public = public
        self._sessions = sessions
        self._tls_hosts = tls_hosts
        self._token = token.encode()

    def getChildWithDefault(self, path: bytes, request: WebRequest) -> IResource:
        """Return what answers ``request``: a refusal, a mount or the API."""
        _set_headers(request)
        mount = self.mounts.get(path.decode("utf-8", "replace"))
        try:
            _check_target(request)
            self._check_host(request)
            if request.path == b"/" and "text/html" in (request.getHeader("accept") or ""):
                return ToPage()
            if not self._has_session(request, mount) and not self._may_pass(request, mount):
                self._check_token(request, mount.token_header if mount else "")
            if isinstance(request, LimitedRequest) and request.too_large:
                raise TooLargeError(*LimitedRequest.TOO_LARGE)
        except OodError as error:
            return Refusal(error)
        if mount is not None:
            return mount.resource
        # The routes below match the whole path, so the segment taken off goes back.
        request.postpath.insert(0, request.prepath.pop())
        return self.inner

    def putChild(self, path: bytes, child: IResource) -> None:
        """Refuse: what is mounted is named at the start."""
        raise ValueError(path, child)

    def render(self, request: WebRequest) -> bytes:
        """Never called: even ``/`` has a path segment, the empty one."""
        raise AssertionError(request)

    def _may_pass(self, request: WebRequest, mount: Mount | None) -> bool:
        """Tell whether no token is asked for here."""
        if mount is not None and mount.checks_token:
            return True
        if mount is not None and mount.is_open() and _is_from_here(request):
            return True
        return request.path.decode("utf-8") in self.public

    def _check_host(self, request: WebRequest) -> None:
        """Check that the request names this API, and comes from no page but its own."""
        secure = request.isSecure()
        own = self._tls_hosts if secure else _own_names(request)
        hosts = request.requestHeaders.getRawHeaders("host", [])
        if len(hosts) != 1 or hosts[0].lower() not in own:
            raise ForbiddenError(
                "the request's Host header does not name this API",
                f"one of {', '.join(sorted(own))}",
            )
        scheme = "https" if secure else "http"
        for origin in request.requestHeaders.getRawHeaders("origin", []):
            if origin.lower() not in {f"{scheme}://{name}" for name in own}:
                raise ForbiddenError(
                    "the request comes from a page of another site",
                    "the API serves its own page only",
                )

    def _has_session(self, request: WebRequest, mount: Mount | None) -> bool:
        """Tell whether the request comes from the web page, logged in.

        What checks tokens itself is shown the token then.

        :raises OodError: it has a session's cookie, but does not come from the page.
        """
        cookie = cookie_of(request)
        shows_token = request.getHeader("authorization") is not None
        if cookie is None or shows_token or not self._needs_proof(request, mount):
            return False
        check_session(request, self._sessions, cookie)
        if mount is not None and mount.checks_token:
            request.requestHeaders.setRawHeaders(mount.token_header, [self._token])
        return True

    def _needs_proof(self, request: WebRequest, mount: Mount | None) -> bool:
        """Tell whether this guard, or what is behind it, asks for the token."""
        if mount is not None:
            return not mount.checks_token or bool(mount.token_header)
        return not self._may_pass(request, mount)

    def _check_token(self, request: WebRequest, token_header: str) -> None:
        given = request.getHeader("authorization") or ""
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer":
            token = (request.getHeader(token_header) or "") if token_header else ""
        if hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), self._token):
            return
        what = "the token is wrong" if token else "the request carries no token"
        raise NoTokenError(
            what, "send 'Authorization: Bearer TOKEN' with the token in the file api-token"
        )


def _set_headers(request: WebRequest) -> None:
    request.setHeader("Server", "ood")
    request.setHeader("Cache-Control", "no-store")
    request.setHeader("X-Content-Type-Options", "nosniff")
    request.setHeader("Cross-Origin-Resource-Policy", "same-origin")


def _check_target(request: WebRequest) -> None:
    try:
        for part in (*request.prepath, *request.postpath, request.path):
            part.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequestError("the path is not UTF-8") from None
    try:
        for _, values in request.requestHeaders.getAllRawHeaders():
            b"".join(values).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequestError("a header is not UTF-8") from None


def _is_from_here(request: WebRequest) -> bool:
    """Tell whether a request comes from this machine, and to its loopback address.

    What a proxy on this machine passes on comes from somewhere else.
    """
    address = getattr(request.getClientAddress(), "host", "")
    passed_on = any(request.getHeader(name) is not None for name in PROXIES_SAY)
    local = address == "::1" or address.startswith("127.")
    return local and not passed_on and not request.isSecure()


def _own_names(request: WebRequest) -> set[str]:
    """Return what Host may be: the loopback's names with our port."""
    address = request.getHost()
    port = address.port if isinstance(address, IPv4Address | IPv6Address) else 0
    names = {f"{name}:{port}" for name in HOST_NAMES}
    return names | set(HOST_NAMES) if port == 80 else names
