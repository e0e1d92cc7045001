"""Which worker a client stays with."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import Protocol

import msgspec

from ood.interfaces import IWorkerPool, Worker
from ood.model.document import App
from ood.net.listen import RawSocket
from ood.proxy.core import cookie
from ood.proxy.core.errand import Errand
from ood.proxy.core.response import Response
from ood.rendezvous import address_key, by_key

SECRET_BYTES = 32
"""Length of the key under which cookies are hashed: that of the hash itself."""


class Affinity(Protocol):
    """By what one request's client stays with its worker."""

    def worker(self, pool: IWorkerPool, tried: Collection[Worker]) -> Worker | None:
        """Return the worker that the request goes to; None if any may have it."""

    def shown(self, response: Response, worker: Worker, now: float) -> Response:
        """Return the response by which ``worker`` will be found again."""


class ByAddress:
    """The same address, the same worker."""

    __slots__ = ("_app", "_key")

    def __init__(self, app: str, address: str) -> None:
        self._app = app
        self._key = address_key(address)

    def worker(self, pool: IWorkerPool, tried: Collection[Worker]) -> Worker | None:
        """Return the worker that the address belongs to."""
        ready = [one for one in pool.workers(self._app) if one.accepting and one not in tried]
        return by_key(ready, self._key) if ready else None

    def shown(self, response: Response, worker: Worker, now: float) -> Response:  # noqa: ARG002
        """Return the response: there is nothing to tell."""
        return response


class ByCookie:
    """The worker that a cookie names; while it drains, too."""

    __slots__ = ("_app", "_name", "_secret", "_secure", "_sent")

    def __init__(self, secret: bytes, errand: Errand) -> None:
        self._secret = secret
        self._app = errand.app
        self._secure = errand.peer.scheme == b"https"
        routed = errand.site not in ("", errand.app)
        self._name = cookie.routed_name(secret, errand.app) if routed else cookie.NAME
        self._sent = cookie.sent(errand.request.fields, self._name)

    def worker(self, pool: IWorkerPool, tried: Collection[Worker]) -> Worker | None:
        """Return the worker that the cookie names, if there is one."""
        if not self._sent:
            return None
        there = [one for one in pool.workers(self._app) if one not in tried]
        return cookie.find(self._secret, there, self._sent)

    def shown(self, response: Response, worker: Worker, now: float) -> Response:
        """Set the cookie, unless the client has it already."""
        worker.visited = now
        value = cookie.value(self._secret, worker)
        if value == self._sent:
            return response
        fields = response.fields + cookie.set_field(value, secure=self._secure, name=self._name)
        return msgspec.structs.replace(response, fields=fields)


class Stickiness:
    """Knows for which apps clients stay with their workers.

    :param secret: the key of the cookies' hashes; should be the same after a restart.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secret or secrets.token_bytes(SECRET_BYTES)
        self._modes: dict[str, str] = {}

    def converge(self, apps: Mapping[str, App]) -> None:
        """Take over what the apps say."""
        modes = {name: app.stickiness() for name, app in apps.items()}
        self._modes = {name: mode for name, mode in modes.items() if mode != "off"}

    def key(self, app: str, sock: RawSocket) -> bytes | None:
        """Return what decides which worker gets a whole connection; None if any may have it."""
        if self._modes.get(app) != "ip":
            return None
        try:
            address: str = sock.getpeername()[0]
        except OSError:  # the client is gone, which whoever gets it will see
            return None
        return address_key(address)

    def affinity(self, errand: Errand) -> Affinity | None:
        """Return by what a request's client stays with its worker; None if it need not."""
        mode = self._modes.get(errand.app)
        if mode is None:
            return None
        if mode == "ip":
            return ByAddress(errand.app, errand.peer.address)
        return ByCookie(self._secret, errand)
