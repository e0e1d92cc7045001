"""How a site's rules are written: the kinds that read them, and their keys."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ood.model import kinds
from ood.model.kinds import LIST_LENGTH_MAX, Kind
from ood.model.passwords import HASH
from ood.model.rules import (
    BODY_BYTES_MAX,
    ERROR_PAGES,
    HOLD_MS_MAX,
    MESSAGE_LENGTH_MAX,
    RATE_MAX,
    REDIRECT_STATUS_DEFAULT,
    REDIRECT_STATUSES,
    Maintenance,
    Redirect,
    Route,
)
from ood.model.units import parse_size_bytes
from ood.model.urlpath import is_below, parse_path

_RATE = re.compile(r"(\d{1,7})(?:\s*/\s*(s|m|h))?")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t -~]*")
_TARGET = re.compile(r"[!-~]+")
_ORIGIN = re.compile(r"(https?)://([^/?#]+)(/[^?#]*)?(\?[^#]*)?(#.*)?")
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")
_STATUS_FIRST = re.compile(r"(\d{3})\s+(\S+)")

HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
    )
)
"""Fields that describe one connection or the message's framing: ood sets them itself."""
OODS_OWN = frozenset(
    (
        "host",
        "expect",
        "http2-settings",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-server",
        "x-real-ip",
    )
)
"""Fields of requests by which ood tells an app who asks and for what."""


Entry = Callable[[str, Any], tuple[str, Any]]
"""``entry(name, value)``: one entry of an object, read; raises ValueError."""


def object_of(entry: Entry, allowed: str, one: str, schema: Mapping[str, Any]) -> Kind:
    """Return the kind of objects whose entries can be set one by one, as ``KEY.NAME``.

    :param one: how a single entry is written, for the one who wrote no JSON.
    :param schema: JSON schema of a value.
    """

    def parse(value: Any) -> dict[str, Any]:
        if isinstance(value, str):
            value = _decoded(value, f"is not a JSON object; one entry: {one}")
        if not isinstance(value, dict):
            raise ValueError(f"is {kinds.type_name(value)}, not an object")
        if len(value) > LIST_LENGTH_MAX:
            raise ValueError(f"has {len(value)} entries, more than {LIST_LENGTH_MAX}")
        found: dict[str, Any] = {}
        for name, inner in value.items():
            try:
                key, read = entry(name, inner)
            except ValueError as error:
                raise ValueError(f"{kinds.show(name)} {error}") from None
            if key in found:
                raise ValueError(f"{kinds.show(name)} is named twice")
            found[key] = read
        return found

    whole = {"type": "object", "additionalProperties": dict(schema)}
    return Kind(parse, allowed, whole, entries=True)


def _decoded(text: str, otherwise: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(otherwise) from None


def _fields(value: Any, *names: str) -> dict[str, Any]:
    """Return an object of ``names`` that was written as JSON, or in JSON as text."""
    if isinstance(value, str):
        value = _decoded(value, "has a value that is no JSON")
    if not isinstance(value, dict):
        raise ValueError(f"has a value that is {kinds.type_name(value)}")
    unknown = [name for name in value if name not in names]
    if unknown or names[0] not in value:
        raise ValueError(f"has not just {', '.join(names)}")
    return value


def _prefix(name: str) -> str:
    """Return a path below which a rule holds, without slash or ``/*`` at its end."""
    return parse_path(name.removesuffix("*")).rstrip("/") or "/"


def _pattern(name: str) -> str:
    """Return a path, or with ``/*`` at its end the path and all below it."""
    if name.endswith("/*"):
        return _prefix(name).rstrip("/") + "/*"
    if "*" in name:
        raise ValueError("has a * elsewhere than in /* at its end")
    return parse_path(name)


def _route(name: str, value: Any) -> tuple[str, Route]:
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        app, _, flag = value.strip().partition(" ")
        if flag not in ("", "strip"):
            raise ValueError(f"has {kinds.show(flag)} after the app's name")
        value = {"app": app, "strip": bool(flag)}
    plain = _fields(value, "app", "strip")
    strip = kinds.BOOLEAN.parse(plain.get("strip", False))
    return _prefix(name), Route(kinds.parse_app_name(plain["app"]), strip)


def _redirect(name: str, value: Any) -> tuple[str, Redirect]:
    source = _pattern(name) if name.startswith("/") else kinds.parse_domain(name)
    if source.startswith("*"):
        raise ValueError("is many hosts; redirect each of them")
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        match = _STATUS_FIRST.fullmatch(value.strip())
        value = {"to": match[2], "status": int(match[1])} if match else {"to": value.strip()}
    plain = _fields(value, "to", "status")
    status = plain.get("status", REDIRECT_STATUS_DEFAULT)
    if status not in REDIRECT_STATUSES or isinstance(status, bool):
        raise ValueError(f"has the status {kinds.show(status)}")
    target = _redirect_target(plain["to"])
    if target.endswith("*") and source.startswith("/") and not source.endswith("/*"):
        raise ValueError("leads to a path with *, but does not end in /* itself")
    if source.endswith("/*") and is_below(target.encode(), source[:-2].encode()):
        raise ValueError("leads back below itself, again and again")
    if target == source or (not source.startswith("/") and target.lower() == source):
        raise ValueError("leads to itself")
    return source, Redirect(target, status)


def _redirect_target(value: Any) -> str:
    if not isinstance(value, str) or not _TARGET.fullmatch(value) or len(value) > 2000:
        raise ValueError(f"leads to {kinds.show(value)}")
    if "\\" in value or "*" in value.removesuffix("/*"):
        raise ValueError(f"leads to {kinds.show(value)}")
    if value.startswith("/"):
        if value.startswith("//"):
            raise ValueError("leads to another host by //; write https:// and its name")
        return value
    match = _ORIGIN.fullmatch(value)
    if match is not None:
        if not _AUTHORITY.fullmatch(match[2].lower()):
            raise ValueError(f"leads to {kinds.show(value)}")
        return value
    return kinds.parse_domain(value)


def _rewrite(name: str, value: Any) -> tuple[str, str]:
    source = _pattern(name)
    if not isinstance(value, str):
        raise ValueError(f"becomes {kinds.type_name(value)}")
    path, mark, query = value.partition("?")
    if mark and not _TARGET.fullmatch(query):
        raise ValueError("becomes a path with an odd query")
    try:
        target = _pattern(path)
    except ValueError as error:
        raise ValueError(f"becomes what {error}") from None
    if target.endswith("/*") and not source.endswith("/*"):
        raise ValueError("becomes a path with *, but does not end in /* itself")
    if target == source and not mark:
        raise ValueError("becomes itself")
    return source, target + mark + query


def _header(forbidden: frozenset[str]) -> Entry:
    def entry(name: str, value: Any) -> tuple[str, str]:
        if not _TOKEN.fullmatch(name) or len(name) > 100:
            raise ValueError("is not a header's name")
        lower = name.lower().replace("_", "-")
        if lower in forbidden or lower.startswith("x-ood-"):
            raise ValueError("can't be changed: ood sets it itself")
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError(f"has a value that is {kinds.type_name(value)}")
        text = str(value).strip(" \t")
        if not _VALUE.fullmatch(text) or len(text) > kinds.TEXT_LENGTH_MAX:
            raise ValueError("has a value with a line end or another character beyond ASCII")
        return name, text

    return entry


def _headers(forbidden: frozenset[str], example: str) -> Kind:
    kind = object_of(
        _header(forbidden),
        "an object of texts by header; an empty text removes the header",
        example,
        {"type": "string"},
    )

    def parse(value: Any) -> dict[str, str]:
        found: dict[str, str] = kind.parse(value)
        if len({name.lower() for name in found}) < len(found):
            raise ValueError("names the same header twice")
        return found

    return Kind(parse, kind.allowed, kind.json_schema, entries=True)


def _user(name: str, value: Any) -> tuple[str, str]:
    if not name or len(name) > 128 or ":" in name or not name.isprintable():
        raise ValueError("can't name a user")
    if not isinstance(value, str) or not HASH.fullmatch(value):
        # never the value itself: it may be a password
        raise ValueError("has something else than a password's hash; use: ood password APP USER")
    return name, value


def _error_page(name: str, value: Any) -> tuple[str, str]:
    if name not in ERROR_PAGES:
        raise ValueError("is not one of: " + ", ".join(ERROR_PAGES))
    return name, str(kinds.TEXT.parse(value))


def _common_page(name: str, value: Any) -> tuple[str, str]:
    key, path = _error_page(name, value)
    if not path.startswith("/"):
        raise ValueError("is not an absolute path: these pages are no app's")
    return key, path


def _network(value: Any) -> str:
    text = str(kinds.TEXT.parse(value))
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{kinds.show(text)} is no address and no network") from None
    raise ValueError(f"{text} has bits beyond its length; did you mean {meant}?")


def _rate(value: Any) -> str:
    text = str(value).strip() if isinstance(value, str | int) else ""
    match = _RATE.fullmatch(text)
    if match is None or isinstance(value, bool):
        raise ValueError(f"{kinds.show(value)} is not a rate")
    number, unit = int(match[1]), match[2] or "s"
    if not 1 <= number <= RATE_MAX:
        raise ValueError(f"{number} is out of range")
    return f"{number}/{unit}"


def _body_size(value: Any) -> int:
    try:
        size = parse_size_bytes(value) if isinstance(value, str) else int(value)
    except (ValueError, TypeError):
        raise ValueError(f"{kinds.show(value)} is not a size") from None
    if isinstance(value, bool | float) or not 1 <= size <= BODY_BYTES_MAX:
        raise ValueError(f"{kinds.show(value)} is out of range")
    return size


def _maintenance(value: Any) -> Maintenance:
    plain = {"message": "", **value} if isinstance(value, dict) else value
    plain = _fields(plain, "message", "hold")
    message, hold = plain["message"], kinds.DURATION.parse(plain.get("hold", 0))
    if not isinstance(message, str) or len(message) > MESSAGE_LENGTH_MAX:
        raise ValueError(f"has a message that is no text of up to {MESSAGE_LENGTH_MAX} characters")
    if any(ord(character) < 32 or ord(character) == 127 for character in message):
        raise ValueError("has a message with a control character")
    if hold > HOLD_MS_MAX:
        raise ValueError(f"holds requests longer than {HOLD_MS_MAX // 1000} s")
    return Maintenance(message, hold)


_TEXT_OR_OBJECT = {"type": ["string", "object"]}

ROUTES = object_of(
    _route,
    'an object of apps by path, as in {"/api": "api"}, or {"app": "api", "strip": true}',
    "--set routes./api APP, or 'APP strip'",
    _TEXT_OR_OBJECT,
)
REDIRECTS = object_of(
    _redirect,
    "an object of targets by path, path/* or host name; a target may begin with "
    "301, 302, 307 or 308",
    "--set redirects./old /new, or '301 /new'",
    _TEXT_OR_OBJECT,
)
REWRITES = object_of(
    _rewrite,
    "an object of paths by path or path/*",
    "--set rewrites./old/* /new/*",
    {"type": "string"},
)
RESPONSE_HEADERS = _headers(HOP_BY_HOP, "--set headers.X-Frame-Options DENY")
REQUEST_HEADERS = _headers(HOP_BY_HOP | OODS_OWN, "--set requestHeaders.X-Stage test")
USERS = object_of(
    _user,
    "an object of users, each with the hash that ood password makes",
    "ood password APP USER",
    {"type": "string"},
)
PATHS = kinds.list_of(lambda value: _prefix(kinds.TEXT.parse(value)), "paths such as /admin")
NETWORKS = kinds.list_of(_network, "addresses and networks such as 192.0.2.1 or 10.0.0.0/8")
RATE = Kind(
    _rate, "requests per second, or with a unit as in 10/s, 100/m, 1000/h", {"type": "string"}
)
BODY_SIZE = Kind(
    _body_size,
    "bytes, or a number with K, M or G, as in 10M",
    {"type": "integer", "minimum": 1, "maximum": BODY_BYTES_MAX},
)
PAGES = object_of(
    _error_page,
    "an object of HTML files by " + ", ".join(ERROR_PAGES),
    "--set errorPages.502 /srv/502.html",
    {"type": "string"},
)
COMMON_PAGES = object_of(
    _common_page,
    "an object of HTML files, absolute paths, by " + ", ".join(ERROR_PAGES),
    "--set errorPages.404 /srv/404.html",
    {"type": "string"},
)
MAINTENANCE = Kind(
    _maintenance,
    "an object of message and hold",
    {
        "type": "object",
        "properties": {"message": {"type": "string"}, "hold": {"type": "integer"}},
    },
)

RULE_KEYS: Mapping[str, tuple[Kind, str]] = {
    "routes": (ROUTES, "Other apps that answer below a path; strip takes the path away."),
    "redirects": (REDIRECTS, "Where browsers are sent; from a host name, path and query stay."),
    "rewrites": (REWRITES, "Paths that the app sees as others; the query stays."),
    "headers": (RESPONSE_HEADERS, "Headers of answers that are set or removed."),
    "requestHeaders": (REQUEST_HEADERS, "Headers that are set or removed for the app."),
    "basicAuth": (USERS, "Users who may enter, by HTTP Basic authentication."),
    "basicAuthPaths": (PATHS, "Below which paths basicAuth holds; everywhere if none is named."),
    "allow": (NETWORKS, "Who may enter; the longest network of allow and deny decides."),
    "deny": (NETWORKS, "Who may not enter; wins over allow where both name the same network."),
    "rateLimit": (RATE, "How often one client may ask; an IPv6 client is its /64."),
    "rateLimitBurst": (
        kinds.integer(1, RATE_MAX),
        "How many requests of one client may come at once; as many as rateLimit names if unset.",
    ),
    "bodyLimit": (BODY_SIZE, "Longest body of a request; beyond it the answer is 413."),
    "errorPages": (PAGES, "HTML files instead of ood's own pages; relative to cwd."),
    "maintenanceAllow": (NETWORKS, "Who enters even during maintenance."),
    "requestId": (
        kinds.BOOLEAN,
        "Whether the app gets X-Request-Id and traceparent with each request.",
    ),
}
"""The keys of an app that are rules."""
RULE_SETTINGS: Mapping[str, tuple[Kind, str]] = {
    "errorPages": (COMMON_PAGES, "HTML files for apps without own ones, and for unknown hosts."),
    "trustedProxies": (NETWORKS, "Proxies whose X-Forwarded-* and Forwarded are believed."),
    "proxyProtocol": (NETWORKS, "Who sends the PROXY protocol, and then must on every connection."),
}
"""The settings that are rules."""
