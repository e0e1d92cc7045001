"""The balancer as a part of the service.

Most installations have no L4 services.  So nothing else of the balancer is
imported, and no engine is opened, before there is a service or somebody asks
for the routes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from zope.interface import implementer

from ood.errors import OodError
from ood.events import EventBus
from ood.interfaces import IStore, Measure
from ood.model.document import Document
from ood.model.services import Service

if TYPE_CHECKING:
    from ood.balancer.split import SplitBalancer

Listeners = Callable[[], Sequence[tuple[str, int]]]
"""Returns the addresses and ports on which ood itself listens."""


@implementer(IResource)
class LazyResource:
    """A leaf that is made when the first request comes.

    :param make: makes it; what it raises is the answer to this request.
    """

    isLeaf = True

    def __init__(self, make: Callable[[], IResource]) -> None:
        self._make = make
        self._made: Any = None

    def getChildWithDefault(self, name: bytes, request: Any) -> IResource:
        """Never called: a leaf has nothing below it."""
        raise AssertionError(name, request)

    def putChild(self, path: bytes, child: IResource) -> None:
        """Refuse: the routes are fixed."""
        raise ValueError(path, child)

    def render(self, request: Any) -> Any:
        """Pass the request on."""
        try:
            if self._made is None:
                self._made = self._make()
        except OodError as error:
            request.setResponseCode(error.http_status)
            request.setHeader(b"Content-Type", b"application/json")
            return json.dumps({"error": str(error)}).encode() + b"\n"
        return self._made.render(request)


class BalancerPart(MultiService):
    """Keeps the balancer at the store's services, and the store at the API's.

    :param setting: the setting ``balancerEngine``.
    :param record: the file that remembers which of the kernel's services are ours.
    :param events: told of servers that become well or unwell.
    """

    log = Logger()

    def __init__(
        self,
        store: IStore,
        setting: str,
        reactor: object,
        clock: IReactorTime,
        record: Path,
        *,
        events: EventBus | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._store = store
        self._setting = setting
        self._reactor = reactor
        self._clock = clock
        self._record = record
        self._events = events or EventBus()
        self._balancer: SplitBalancer | None = None
        self._wanted: object = None
        self._committing = False

    def converge(self, document: Document) -> None:
        """Bring the engine to the services of ``document``; returns at once.

        :raises OodError: there are services, and the engine that was asked for can't run.
        """
        if self._balancer is None and not document.services:
            return
        balancer = self._load()
        ports = tuple(
            self._port_of(server.app)
            for service in document.services
            for server in service.servers
            if server.app
        )
        wanted = (document.services, ports)
        if wanted == self._wanted:
            return
        self._wanted = wanted
        # what the API commits, it applies itself: it answers with what came of it
        if not self._committing:
            _ = balancer.configure(document.services).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        # the balancer has logged it and tries again; being stopped is no failure at all
        if not isinstance(failure.value, CancelledError):
            self.log.warn("L4 services are not applied yet: {why}", why=failure.value)

    def _tell_health(self, service: str, server: str, up: bool, reason: str) -> None:
        state = "is up again" if up else f"is down: {reason}"
        text = f"{server} of {service} {state}"
        self._events.publish("health", text, service=service, server=server, up=up, reason=reason)

    def _port_of(self, name: str) -> int | None:
        app = self._store.document.apps.get(name)
        return app.port if app is not None and app.running else None

    def _load(self) -> SplitBalancer:
        if self._balancer is None:
            from ood.balancer.split import make_split  # noqa: PLC0415 - see the module's docstring

            balancer = make_split(
                self._setting, self._reactor, self._clock, self._record, self._port_of
            )
            balancer.tell_health(self._tell_health)
            balancer.setServiceParent(self)  # type: ignore[no-untyped-call]
            self._balancer = balancer
            self.log.info("L4 balancer: {engines}", engines=" and ".join(balancer.engines))
            self.converge(self._store.document)
        return self._balancer

    def resource(self, token: str, listeners: Listeners) -> IResource:
        """Return the L4 routes."""

        def make() -> IResource:
            from ood.balancer.layer4 import Layer4  # noqa: PLC0415 - see the module's docstring
            from ood.balancer.routes import layer4_resource  # noqa: PLC0415

            layer4 = Layer4(self._load(), lambda: self._store.document.services, self._commit)
            return layer4_resource(layer4, token, listeners)

        return LazyResource(make)

    async def measures(self) -> list[Measure]:
        """Return what the services carry; nothing is loaded for it."""
        if self._balancer is None:
            return []
        from ood.balancer.report import service_measures  # noqa: PLC0415

        return service_measures(await self._balancer.statistics())

    def _commit(self, services: tuple[Service, ...]) -> Deferred[None]:
        return Deferred.fromCoroutine(self._keep(services))

    async def _keep(self, services: tuple[Service, ...]) -> None:
        def change(document: Document) -> Document:
            # runs when it is this change's turn: the next thing subscribers hear of is ours
            self._committing = True
            return msgspec.structs.replace(document, services=services)

        try:
            await self._store.update(change)
        finally:
            self._committing = False
