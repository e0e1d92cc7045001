"""The API's routes put together: a klein app behind the guard, in a site."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from klein import Klein
from klein.resource import KleinResource
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Site
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ood.api.guard import Guard, Mount
from ood.api.handlers import Handlers
from ood.api.limits import LimitedRequest
from ood.api.openapi import openapi_document
from ood.api.operations import OPERATIONS, Operation
from ood.api.problems import InternalError, MethodError, NoRouteError, WebRequest, refuse
from ood.errors import OodError
from ood.interfaces import IController

IDLE_SECONDS = 60
"""How long a connection may be silent between requests: clients reconnect for free."""
NO_MOUNTS: Mapping[str, Mount] = MappingProxyType({})
"""No further resources."""

_log = Logger(namespace="ood.api")


class Api:
    """The API as a resource, and what ends its long requests.

    :ivar root: the resource: guard, mounts and routes.
    """

    def __init__(
        self, controller: IController, token: str, mounts: Mapping[str, Mount] = NO_MOUNTS
    ) -> None:
        self._handlers = Handlers(controller, openapi_document)
        public = frozenset(operation.path for operation in OPERATIONS if operation.public)
        self.root = Guard(self._routes(), token, mounts, public)

    def stop(self) -> None:
        """End every request that is still open."""
        self._handlers.stop()

    def _routes(self) -> KleinResource:
        app = Klein()
        app.url_map.strict_slashes = False
        app.url_map.merge_slashes = False
        for operation in OPERATIONS:
            _add_route(app, operation, getattr(self._handlers, operation.name))
        _add_errors(app)
        return app.resource()


class ApiSite(Site):
    """The API as a protocol factory.

    :ivar api: the API.
    """

    def __init__(self, api: Api, reactor: IReactorTime | None) -> None:
        untyped: Any = super()
        untyped.__init__(api.root, LimitedRequest, timeout=IDLE_SECONDS, reactor=reactor)
        self.api = api

    def log(self, request: WebRequest) -> None:
        """Write no access log: commands are logged by what they do."""


def make_site(
    controller: IController,
    token: str,
    *,
    mounts: Mapping[str, Mount] = NO_MOUNTS,
    reactor: IReactorTime | None = None,
) -> ApiSite:
    """Return the API as a factory for a loopback port.

    :param token: what clients prove themselves with.
    :param mounts: further resources at the root, by first path segment.
    :param reactor: for the timeouts of connections.
    """
    return ApiSite(Api(controller, token, mounts), reactor)


def _add_route(app: Klein, operation: Operation, handler: Any) -> None:
    async def call(request: WebRequest, **parts: str) -> Any:
        return await handler(request, **parts)

    path = operation.path.replace("{", "<").replace("}", ">")
    app.route(path, methods=[operation.method], endpoint=operation.name)(call)


def _add_errors(app: Klein) -> None:
    def known(request: WebRequest, failure: Failure) -> bytes:
        error = failure.value
        assert isinstance(error, OodError)
        return refuse(request, error)

    def routing(request: WebRequest, failure: Failure) -> bytes:
        path = request.path.decode("utf-8", "replace")
        error = failure.value
        if isinstance(error, MethodNotAllowed):
            methods = tuple(sorted(error.valid_methods or ()))
            return refuse(
                request, MethodError(f"{path} does not take {request.method.decode()}", methods)
            )
        return refuse(request, NoRouteError(f"there is no {path} here", "see /openapi.json"))

    def unexpected(request: WebRequest, failure: Failure) -> bytes:
        _log.failure("{path} failed", failure=failure, path=request.path)
        return refuse(request, InternalError("ood failed", "its log says how; please report it"))

    app.handle_errors(OodError)(known)
    app.handle_errors(HTTPException)(routing)
    app.handle_errors(Exception)(unexpected)
