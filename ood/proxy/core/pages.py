"""Answers of the proxy's own: small, and clear about what is wrong.

A page tells a visitor what happened and an administrator what to do; it tells
nobody anything about the inside.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html import escape

_ACCEPT = re.compile(rb"\n(?i:accept):([^\r]*)")
_HTML = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{status} {title}</title>
<style>body{{font:1.1em/1.5 system-ui,sans-serif;max-width:38em;margin:12vh auto;padding:0 1em}}
small{{color:#666}}</style>
<h1>{title}</h1>
<p>{text}</p>
{hint}<hr><small>{status} &middot; ood</small>
</html>
"""
TITLES = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}


@dataclass(frozen=True)
class Page:
    """An answer of the proxy's own.

    :ivar text: what is wrong, one sentence.
    :ivar hint: what the site's administrator can do; may be empty.
    :ivar retry_after: seconds after which another try makes sense; 0 is none.
    """

    status: int
    text: str
    hint: str = ""
    retry_after: int = 0


def malformed(status: int, why: str) -> Page:
    """Return the page for a request that is refused."""
    return Page(status, f"The request can't be served: {why}.")


def not_tls() -> Page:
    """Return the page for plain HTTP on the port for HTTPS."""
    return Page(
        400,
        "This port speaks HTTPS, and the request came without encryption.",
        "Write https:// in front of the address.",
    )


def too_large(longest: int) -> Page:
    """Return the page for a body that is longer than the site takes."""
    return Page(413, f"The request's body is too large: at most {longest} bytes are taken here.")


def no_site(host: bytes | None) -> Page:
    """Return the page for a Host that no app answers to."""
    name = (host or b"").decode("latin-1")
    return Page(
        404,
        f"There is no site called {name or '(no name)'} here.",
        "If it should be here, add the name to its app: ood config -a APP -s domains NAME",
    )


def bad_upstream(app: str) -> Page:
    """Return the page for an app that answered with something else than HTTP, or not at all."""
    return Page(
        502,
        "The site's program ended the connection, or its answer was not valid HTTP.",
        f"Look into the app's log: ood log {app}",
    )


def upstream_late(app: str) -> Page:
    """Return the page for an app that does not answer in time."""
    return Page(
        504, "The site's program did not answer in time.", f"Look into the app's log: ood log {app}"
    )


def unavailable(message: str, hint: str) -> Page:
    """Return the page for an app that has no worker now."""
    text = message[:1].upper() + message[1:]
    return Page(503, text if text.endswith(".") else f"{text}.", hint, retry_after=5)


def accepted(fields: bytes) -> bytes:
    """Return the Accept field of a request's fields, or nothing."""
    match = _ACCEPT.search(b"\n" + fields)
    return match[1].strip().lower() if match else b""


def render(page: Page, *, accept: bytes, to_head: bool, close: bool) -> bytes:
    """Return the whole response.

    :param accept: the request's Accept: HTML, JSON, or else plain text.
    :param to_head: it answers a HEAD request and has no body.
    :param close: the connection ends after it.
    """
    kind, body = _body(page, accept)
    title = TITLES[page.status]
    head = (
        f"HTTP/1.1 {page.status} {title}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n"
    )
    if page.retry_after:
        head += f"Retry-After: {page.retry_after}\r\n"
    if close:
        head += "Connection: close\r\n"
    return head.encode("latin-1") + b"\r\n" + (b"" if to_head else body)


def _body(page: Page, accept: bytes) -> tuple[str, bytes]:
    title = TITLES[page.status]
    if b"text/html" in accept:
        hint = f"<p><small>{escape(page.hint)}</small></p>\n" if page.hint else ""
        text = _HTML.format(status=page.status, title=title, text=escape(page.text), hint=hint)
        return "text/html; charset=utf-8", text.encode()
    if b"application/json" in accept:
        error = {"code": page.status, "message": page.text, "hint": page.hint}
        return "application/json", json.dumps({"error": error}).encode() + b"\n"
    lines = [f"{page.status} {title}", page.text, page.hint]
    return "text/plain; charset=utf-8", "".join(f"{line}\n" for line in lines if line).encode()
