"""Paths that lead elsewhere: routes to other apps, redirects, rewrites."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

import msgspec

from ood.model.rules import Redirect, Route
from ood.model.urlpath import UrlPath, is_below
from ood.proxy.core.route import normalise

V = TypeVar("V")

_ORIGIN = re.compile(r"(?i:https?)://[^/?#]+")
_PORT = re.compile(rb":[0-9]{1,5}$")


class Patterns(Generic[V]):
    """What is said of paths: exactly of one, or of all below one; the longest decides.

    :param said: by ``/path``, or ``/path/*``.
    """

    def __init__(self, said: Iterable[tuple[str, V]]) -> None:
        self._exact: dict[bytes, V] = {}
        below: list[tuple[bytes, V]] = []
        for pattern, value in said:
            path = pattern.encode("ascii")
            if path.endswith(b"/*"):
                below.append((path[:-2], value))
            else:
                self._exact[path] = value
        self._below = sorted(below, key=lambda one: -len(one[0]))

    def __bool__(self) -> bool:
        return bool(self._exact or self._below)

    def find(self, path: bytes) -> tuple[V, bytes] | None:
        """Return what is said of a path, and what of the path is left below the pattern."""
        value = self._exact.get(path)
        if value is not None:
            return value, b""
        for prefix, said in self._below:
            if is_below(path, prefix):
                return said, path[len(prefix) :]
        return None


class Target(msgspec.Struct, frozen=True):
    """A path or an address, to which the rest of the asked path may be added.

    :ivar base: what is before that rest.
    :ivar open: whether the rest is added.
    :ivar query: the query that takes the place of the request's; with its ``?``.
    :ivar fragment: what comes last; with its ``#``.
    """

    base: bytes
    open: bool
    query: bytes
    fragment: bytes = b""


def _target(text: str, *, whole: bool = False) -> Target:
    """Read a target.

    :param whole: it stands for a whole host: without a path of its own, it is open.
    """
    address, mark, fragment = text.partition("#")
    path, question, query = address.partition("?")
    is_open = path.endswith("/*") or (whole and _ORIGIN.fullmatch(path.rstrip("/")) is not None)
    base = (path.removesuffix("/*").rstrip("/") if is_open else path).encode("ascii")
    return Target(
        base, is_open, (question + query).encode("ascii"), (mark + fragment).encode("ascii")
    )


class Away(msgspec.Struct, frozen=True):
    """A redirect, compiled.

    :ivar host: it leads to this host, with scheme, port, path and query of the request.
    """

    status: int
    target: Target | None
    host: bytes = b""


class Redirects:
    """Where browsers are sent instead."""

    def __init__(self, redirects: Mapping[str, Redirect]) -> None:
        paths = []
        self._hosts: dict[str, Away] = {}
        for source, redirect in redirects.items():
            if source.startswith("/"):
                paths.append((source, self._compiled(redirect, whole=False)))
            else:
                self._hosts[source] = self._compiled(redirect, whole=True)
        self._paths = Patterns(paths)

    @staticmethod
    def _compiled(redirect: Redirect, *, whole: bool) -> Away:
        to, status = redirect.to, redirect.status
        if to.startswith("/") or "://" in to:
            return Away(status, _target(to, whole=whole))
        return Away(status, None, to.encode("ascii"))

    def find(self, host: bytes | None, scheme: bytes, path: UrlPath) -> tuple[int, bytes] | None:
        """Return status and Location for a request; None if it stays."""
        away = self._hosts.get(normalise(host)) if self._hosts and host is not None else None
        whole = path.sent if path.sent.startswith(b"/") else b"/"
        if away is not None:
            rest = whole
        else:
            found = self._paths.find(path.exact)
            if found is None:
                return None
            away, rest = found
        query = path.rest.partition(b"#")[0]
        if away.target is not None:
            return away.status, _location(away.target, rest, query)
        port = _PORT.search(host or b"")
        origin = scheme + b"://" + away.host + (port[0] if port else b"")
        return away.status, origin + whole + query


def _location(target: Target, rest: bytes, query: bytes) -> bytes:
    rest = rest.replace(b"\\", b"%5C")  # a browser would take it for a slash
    where = target.base + rest if target.open else target.base
    return (where or b"/") + (target.query or query) + target.fragment


class Rewrites:
    """Paths that the app sees as others."""

    def __init__(self, rewrites: Mapping[str, str]) -> None:
        self._paths = Patterns((source, _target(to)) for source, to in rewrites.items())

    def apply(self, path: UrlPath) -> bytes | None:
        """Return the target that the app is to see; None if no rule is for it."""
        found = self._paths.find(path.exact)
        if found is None:
            return None
        target, rest = found
        where = (target.base + rest if target.open else target.base) or b"/"
        if target.query and path.rest.startswith(b"?"):
            return where + target.query + b"&" + path.rest[1:]
        return where + target.query + path.rest


class Way(msgspec.Struct, frozen=True):
    """Where a request goes.

    :ivar app: the app that answers.
    :ivar target: what it is to see.
    :ivar below: the path that was taken away before that.
    """

    app: str
    target: bytes
    below: bytes = b""


class Routes:
    """Paths that belong to other apps."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        said = ((path.rstrip("/") + "/*", route) for path, route in routes.items())
        self._paths = Patterns(said)

    def find(self, path: UrlPath) -> Way | None:
        """Return where a path leads to; None if it belongs to no other app."""
        found = self._paths.find(path.exact)
        if found is None:
            return None
        route, rest = found
        if not route.strip:
            return Way(route.app, path.sent + path.rest)
        taken = path.exact[: len(path.exact) - len(rest)]
        return Way(route.app, (rest or b"/") + path.rest, taken)
