"""``/ui/``: the web page's files, and logging in and out.

The files are no secret and are given to everybody who may connect; what they show
comes from the API, which asks for a session.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

from twisted.web.resource import IResource
from zope.interface import implementer

from ood.api.assets import Asset, Assets
from ood.api.browser import cookie_of, set_cookie
from ood.api.problems import (
    MethodError,
    NoRouteError,
    NoTokenError,
    WebRequest,
    answer,
    refuse,
)
from ood.api.sessions import LogIn, Sessions
from ood.api.types import UI_PATH
from ood.errors import OodError

FILES = Path(__file__).parent / "admin"
"""The page."""
INDEX = "index.html"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
"""What the page may load: its own files, and no script or style written into it."""


@implementer(IResource)
class Page:
    """Everything below ``/ui``."""

    isLeaf = True

    def __init__(self, sessions: Sessions, assets: Assets | None = None) -> None:
        self._sessions = sessions
        self._assets = assets or Assets(FILES)

    def getChildWithDefault(self, name: bytes, request: WebRequest) -> IResource:
        """Never called: a leaf has nothing below it."""
        raise AssertionError(name, request)

    def putChild(self, path: bytes, child: IResource) -> None:
        """Refuse: files are put into the directory."""
        raise ValueError(path, child)

    def render(self, request: WebRequest) -> bytes:
        """Answer."""
        request.setHeader("Content-Security-Policy", POLICY)
        request.setHeader("Referrer-Policy", "no-referrer")
        request.setHeader("Cross-Origin-Opener-Policy", "same-origin")
        name = b"/".join(request.postpath).decode("utf-8")
        try:
            return self._answer(request, name)
        except OodError as error:
            return refuse(request, error)

    def _answer(self, request: WebRequest, name: str) -> bytes:
        reading = request.method in {b"GET", b"HEAD"}
        if name in {"login", "logout"} and request.method == b"POST":
            return self._log_in(request) if name == "login" else self._log_out(request)
        if name == "logout":
            raise MethodError(f"{UI_PATH}logout takes POST", ("POST",))
        if name == "login" and reading:
            return self._follow_link(request)
        if not reading:
            raise MethodError(f"{UI_PATH}{name} is only read", ("GET", "HEAD"))
        if not name and not request.path.endswith(b"/"):
            return _redirect(request, UI_PATH)
        asset = self._assets.find(name or INDEX)
        if asset is None:
            raise NoRouteError(f"there is no {UI_PATH}{name}", f"the page is {UI_PATH}")
        return _serve(request, asset)

    # -- log-in

    def _follow_link(self, request: WebRequest) -> bytes:
        """Exchange the code of a link for a session; without a code, show the page's form."""
        code = _first(request.args, b"code")
        if not code or request.method == b"HEAD":
            return _redirect(request, UI_PATH)
        made = self._sessions.use_code(code)
        if made is None:
            return _redirect(request, f"{UI_PATH}#expired")
        return self._enter(request, made)

    def _log_in(self, request: WebRequest) -> bytes:
        """Log in by the form, or by a script of the page, which gets JSON."""
        fields = parse_qs(request.content.read())
        code, token = _first(fields, b"code"), _first(fields, b"token").strip()
        made = self._sessions.use_code(code) if code else self._sessions.use_token(token)
        form = "text/html" in (request.getHeader("accept") or "")
        if made is None and form:
            return _redirect(request, f"{UI_PATH}#refused")
        if made is None:
            what = "the code is wrong, used or too old" if code else "the token is wrong"
            raise NoTokenError(what, "make a new link: ood web")
        if form:
            return self._enter(request, made)
        set_cookie(request, made.cookie)
        return answer(request, 200, {"key": made.key})

    def _enter(self, request: WebRequest, made: LogIn) -> bytes:
        set_cookie(request, made.cookie)
        return _redirect(request, f"{UI_PATH}#key={made.key}")

    def _log_out(self, request: WebRequest) -> bytes:
        cookie = cookie_of(request)
        if cookie is not None:
            self._sessions.end(cookie)
        set_cookie(request, "")
        request.setResponseCode(204)
        return b""


def _first(values: dict[bytes, list[bytes]], name: bytes) -> str:
    return next(iter(values.get(name, [])), b"").decode("utf-8", "replace")


def _redirect(request: WebRequest, target: str) -> bytes:
    request.setResponseCode(303)
    request.setHeader("Location", target)
    return b""


def _serve(request: WebRequest, asset: Asset) -> bytes:
    page = asset.media_type.startswith("text/html")
    request.setHeader("Content-Type", asset.media_type)
    if page:
        request.setHeader("Cache-Control", "no-store")
    else:
        request.setHeader("Cache-Control", "no-cache")
        request.setHeader("ETag", asset.etag)
    request.setHeader("Vary", "Accept-Encoding")
    if not page and asset.etag in (request.getHeader("if-none-match") or ""):
        request.setResponseCode(304)
        return b""
    body = asset.content
    if asset.compressed is not None and "gzip" in (request.getHeader("accept-encoding") or ""):
        request.setHeader("Content-Encoding", "gzip")
        body = asset.compressed
    request.setHeader("Content-Length", str(len(body)))
    return b"" if request.method == b"HEAD" else body


@implementer(IResource)
class ToPage:
    """Sends a browser that asks for nothing in particular to the page."""

    isLeaf = True

    def getChildWithDefault(self, name: bytes, request: WebRequest) -> IResource:
        """Never called: a leaf has nothing below it."""
        raise AssertionError(name, request)

    def putChild(self, path: bytes, child: IResource) -> None:
        """Refuse: there is nothing below."""
        raise ValueError(path, child)

    def render(self, request: WebRequest) -> bytes:
        """Answer."""
        return _redirect(request, UI_PATH)
