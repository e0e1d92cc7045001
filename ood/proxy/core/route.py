"""From a Host to an app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

REMEMBERED_HOSTS_MAX = 1024
"""Hosts whose route is remembered; a client can name any number of them."""


def normalise(host: bytes) -> str:
    """Return a Host field's name: lower case, without port and final dot."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0].removesuffix(".")


class Site(Protocol):
    """What is known of an app: :class:`ood.model.document.App`."""

    @property
    def default(self) -> bool:
        """Whether it gets what nobody claims."""

    def hosts(self, name: str) -> tuple[str, ...]:
        """Return the Host names that the app, called ``name``, answers to."""


class Table:
    """Which app answers to which Host.

    An exact name wins over ``*.example.com``, a longer wildcard over a shorter one,
    and what nobody claims goes to the default app: the one that says so, or the only one.
    """

    def __init__(self, apps: Mapping[str, Site]) -> None:
        self._exact: dict[str, str] = {}
        self._wild: dict[str, str] = {}
        for name, app in apps.items():
            for host in app.hosts(name):
                names, key = (
                    (self._wild, host[2:]) if host.startswith("*.") else (self._exact, host)
                )
                names.setdefault(key, name)
        chosen = [name for name, app in apps.items() if app.default]
        self._default = chosen[0] if chosen else next(iter(apps)) if len(apps) == 1 else None
        self._known: dict[bytes, str | None] = {}

    def find(self, host: bytes | None) -> str | None:
        """Return the app for a Host as it was sent; None if it is nobody's."""
        if host is None:
            return self._default
        try:
            return self._known[host]
        except KeyError:
            if len(self._known) >= REMEMBERED_HOSTS_MAX:
                self._known.clear()
            app = self._known[host] = self._look_up(normalise(host))
            return app

    def _look_up(self, name: str) -> str | None:
        app = self._exact.get(name)
        rest = name
        while app is None and "." in rest:
            rest = rest.partition(".")[2]
            app = self._wild.get(rest)
        return self._default if app is None else app
