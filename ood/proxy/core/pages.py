"""Answers of the proxy's own: small, and clear about what is wrong.

A page tells a visitor what happened and an administrator what to do; it tells
nobody anything about the inside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape

import msgspec

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
    200: "OK",
    301: "Moved Permanently",
    302: "Found",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    421: "Misdirected Request",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}


_HTML_ACCEPTED = re.compile(rb"(?:^|,)[ \t]*(?:text/(?:html|\*)|\*/\*)")
_OURS_LASTING = frozenset(("content-type", "date", "retry-after", "location", "www-authenticate"))
"""Fields of a page that a site's own headers don't replace."""
_OURS = _OURS_LASTING | {"cache-control"}
"""The same for a page that nobody is to remember."""


class Page(msgspec.Struct, frozen=True):
    """An answer of the proxy's own.

    :ivar text: what is wrong, one sentence.
    :ivar hint: what the site's administrator can do; may be empty.
    :ivar retry_after: seconds after which another try makes sense; 0 is none.
    :ivar fields: further fields, each with its line end.
    :ivar name: under which a site may have a page of its own; its status if empty.
    :ivar html: the site's own page; empty for ours.
    :ivar own_fields: fields that the site sets on all its answers.
    :ivar raw: the body as a program wants it; empty for a text for people.
    :ivar lasting: browsers and caches may remember it.
    """

    status: int
    text: str
    hint: str = ""
    retry_after: int = 0
    fields: bytes = b""
    name: str = ""
    html: bytes = b""
    own_fields: Mapping[str, str] = {}
    raw: bytes = b""
    lasting: bool = False


def redirect(status: int, location: bytes, *, lasting: bool = False) -> Page:
    """Return the answer that sends a browser elsewhere.

    :param lasting: browsers may remember it.
    """
    where = location.decode("latin-1")
    field = b"Location: %b\r\n" % location
    return Page(status, f"It is at {where}.", fields=field, lasting=lasting)


def key_authorization(value: bytes) -> Page:
    """Return what a certificate authority asks for to see that a host is ours."""
    return Page(200, "", raw=value)


def https_only() -> Page:
    """Return the page for plain HTTP where only HTTPS is wanted and none is listened for."""
    return Page(403, "This site is served over HTTPS only.", "Set httpsPort, or the app's https.")


def misdirected() -> Page:
    """Return the page for a site that wants connections of its own."""
    return Page(421, "This site is not to be had on a connection that was made for another one.")


def unauthorized(realm: str) -> Page:
    """Return the page that asks for name and password."""
    challenge = f'WWW-Authenticate: Basic realm="{realm}", charset="UTF-8"\r\n'
    return Page(401, "A name and a password are needed here.", fields=challenge.encode("ascii"))


def forbidden() -> Page:
    """Return the page for a client that may not enter."""
    return Page(403, "This address may not enter here.")


def too_often(seconds: int) -> Page:
    """Return the page for a client that asks too often."""
    return Page(429, "That were too many requests at once.", retry_after=seconds)


def busy() -> Page:
    """Return the page for a moment in which too many passwords are being checked."""
    return Page(503, "Too many people are entering at once.", retry_after=1)


def maintenance(message: str, retry_after: int) -> Page:
    """Return the page of a site that is being worked on."""
    text = message or "This site is being worked on, and will be back soon."
    return Page(503, text, retry_after=retry_after, name="maintenance")


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


def render(page: Page, *, date: bytes, accept: bytes, to_head: bool, close: bool) -> bytes:
    """Return the whole response.

    :param date: the present as HTTP has it.
    :param accept: the request's Accept: HTML, JSON, or else plain text.
    :param to_head: it answers a HEAD request and has no body.
    :param close: the connection ends after it.
    """
    fields, body = parts(page, accept)
    head = f"HTTP/1.1 {page.status} {TITLES[page.status]}\r\n".encode("ascii")
    end = b"Connection: close\r\n\r\n" if close else b"\r\n"
    return head + b"Date: %b\r\n" % date + fields + end + (b"" if to_head else body)


def parts(page: Page, accept: bytes) -> tuple[bytes, bytes]:
    """Return the fields of a response that is ``page``, each with its line end, and its body."""
    kind, body = _body(page, accept)
    text = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    if not page.lasting:
        text += "Cache-Control: no-store\r\n"
    if page.retry_after:
        text += f"Retry-After: {page.retry_after}\r\n"
    for name, value in page.own_fields.items():
        if value and name.lower() not in (_OURS_LASTING if page.lasting else _OURS):
            text += f"{name}: {value}\r\n"
    return text.encode("latin-1") + page.fields, body


def _body(page: Page, accept: bytes) -> tuple[str, bytes]:
    title = TITLES[page.status]
    if page.raw:
        return "application/octet-stream", page.raw
    if page.html and (not accept or _HTML_ACCEPTED.search(accept)):
        return "text/html; charset=utf-8", page.html
    if b"text/html" in accept:
        hint = f"<p><small>{escape(page.hint)}</small></p>\n" if page.hint else ""
        text = _HTML.format(status=page.status, title=title, text=escape(page.text), hint=hint)
        return "text/html; charset=utf-8", text.encode()
    if b"application/json" in accept:
        error = {"code": page.status, "message": page.text, "hint": page.hint}
        return "application/json", json.dumps({"error": error}).encode() + b"\n"
    lines = [f"{page.status} {title}", page.text, page.hint]
    return "text/plain; charset=utf-8", "".join(f"{line}\n" for line in lines if line).encode()
