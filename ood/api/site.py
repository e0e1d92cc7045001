"""The API put together: the routes behind the guard, in a site."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.web.server import Site

from ood.api.certificates import CertificateHandlers
from ood.api.eventstream import EventStreams
from ood.api.guard import Guard, Mount
from ood.api.limits import LimitedRequest
from ood.api.openapi import openapi_document
from ood.api.operations import OPERATIONS
from ood.api.page import Page
from ood.api.problems import WebRequest
from ood.api.router import Router
from ood.api.sessions import Sessions
from ood.events import EventBus
from ood.interfaces import ICertificateDesk, IController

IDLE_SECONDS = 60
"""How long a connection may be silent between requests: clients reconnect for free."""
NO_MOUNTS: Mapping[str, Mount] = MappingProxyType({})
"""No further resources."""


class Api:
    """The API as a resource, and what ends its long requests.

    :ivar root: the resource: guard, mounts and routes.
    :param events: what happens; nothing does if absent.
    :param clock: for what repeats; time stands still if absent.
    :param tls_hosts: what Host may be where a request came with TLS.
    """

    def __init__(
        self,
        controller: IController,
        token: str,
        mounts: Mapping[str, Mount] = NO_MOUNTS,
        *,
        certificates: ICertificateDesk | None = None,
        events: EventBus | None = None,
        clock: IReactorTime | None = None,
        tls_hosts: frozenset[str] = frozenset(),
    ) -> None:
        streams = EventStreams(controller, events or EventBus(), clock or Clock())
        sessions = Sessions(clock or Clock(), token)
        self._handlers = CertificateHandlers(
            controller, openapi_document, streams, sessions, certificates
        )
        public = frozenset(operation.path for operation in OPERATIONS if operation.public)
        routes = ((operation, getattr(self._handlers, operation.name)) for operation in OPERATIONS)
        mounts = {"ui": Mount(Page(sessions), checks_token=True), **mounts}
        self.root = Guard(Router(routes), token, mounts, public, sessions, tls_hosts=tls_hosts)

    def stop(self) -> None:
        """End every request that is still open."""
        self._handlers.stop()


class ApiSite(Site):
    """The API as a protocol factory.

    :ivar api: the API.
    :ivar working: the connections (as requests know them) with a request in progress.
    """

    def __init__(self, api: Api, reactor: IReactorTime | None) -> None:
        untyped: Any = super()
        untyped.__init__(api.root, LimitedRequest, timeout=IDLE_SECONDS, reactor=reactor)
        self.api = api
        self.working: set[object] = set()

    def log(self, request: WebRequest) -> None:
        """Write no access log: commands are logged by what they do."""


def make_site(
    controller: IController,
    token: str,
    *,
    mounts: Mapping[str, Mount] = NO_MOUNTS,
    certificates: ICertificateDesk | None = None,
    reactor: IReactorTime | None = None,
    events: EventBus | None = None,
    tls_hosts: frozenset[str] = frozenset(),
) -> ApiSite:
    """Return the API as a factory for a loopback port.

    :param token: what clients prove themselves with.
    :param mounts: further resources at the root, by first path segment.
    :param certificates: what the routes of certificates ask.
    :param reactor: for the timeouts of connections, and what repeats.
    :param events: what happens.
    :param tls_hosts: what Host may be where a request came with TLS.
    """
    api = Api(
        controller,
        token,
        mounts,
        certificates=certificates,
        events=events,
        clock=reactor,
        tls_hosts=tls_hosts,
    )
    return ApiSite(api, reactor)
