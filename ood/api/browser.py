"""The check of requests that come from the web page: a session instead of the token.

Beside the two secrets of :mod:`ood.api.sessions` a request has to show that it
comes from the page's own scripts: a header that no form and no foreign page can
send, and no word of the browser against it.
"""

from __future__ import annotations

from ood.api.problems import ForbiddenError, NoTokenError, WebRequest
from ood.api.sessions import Sessions
from ood.api.types import KEY_HEADER, KEY_QUERY, PAGE_HEADER, PAGE_NAME, PREFIX
from ood.errors import OodError

EVENTS_PATH = f"{PREFIX}/events".encode()
"""Read with EventSource, which sends no headers of its own: its key is in the query."""
SAFE_METHODS = (b"GET", b"HEAD")


def cookie_name(request: WebRequest) -> str:
    """Return the name of the session's cookie: other ports of this host may be other oods."""
    return f"ood-{getattr(request.getHost(), 'port', 0)}"


def cookie_of(request: WebRequest) -> str | None:
    """Return the session that a request's cookie names."""
    value: bytes | None = request.getCookie(cookie_name(request).encode())
    return None if value is None else value.decode("utf-8", "replace")


def set_cookie(request: WebRequest, value: str) -> None:
    """Give the browser a session's cookie, or with an empty value take it away."""
    secure = "; Secure" if request.isSecure() else ""
    end = "" if value else "; Max-Age=0"
    text = f"{cookie_name(request)}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{end}"
    request.responseHeaders.addRawHeader("Set-Cookie", text)


def check_session(request: WebRequest, sessions: Sessions, cookie: str) -> None:
    """Check that ``request`` comes from the page of a session.

    :raises OodError: it does not.
    """
    _check_source(request)
    key = request.getHeader(KEY_HEADER) or ""
    if request.path == EVENTS_PATH and request.method in SAFE_METHODS and not key:
        key = next(iter(request.args.get(KEY_QUERY.encode(), [])), b"").decode("utf-8", "replace")
    elif request.getHeader(PAGE_HEADER) != PAGE_NAME:
        raise ForbiddenError(
            "the request does not come from ood's page",
            f"with a session, send {PAGE_HEADER}: {PAGE_NAME}",
        )
    if not sessions.fits(cookie, key):
        raise _ended()


def _check_source(request: WebRequest) -> None:
    """Check what the browser says about where a request comes from."""
    site = request.getHeader("sec-fetch-site")
    unsafe = request.method not in SAFE_METHODS
    if (site or "same-origin") != "same-origin":
        raise ForbiddenError(
            "the request comes from a page of another site", "the API serves its own page only"
        )
    if unsafe and site is None and request.getHeader("origin") is None:
        raise ForbiddenError(
            "the request does not say which page it comes from", "use a browser that sends Origin"
        )


def _ended() -> OodError:
    return NoTokenError("the session has ended, or is of another run of ood", "log in: ood web")
