"""The L4 routes of the API, as clients of the seed system know them.

A resource of its own: it is mounted at the API's root, with the L4 services of
this installation and the token.  Every change is made under one lock: read,
change, replace, so that two requests at once can't lose one of them.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from ood.balancer.interfaces import ILayer4
from ood.errors import ConflictError, Fault, InvalidError, NotFoundError, OodError
from ood.model.servicecheck import (
    KNOWN_PROBLEMS,
    SOCKET_IN_USE,
    read_server,
    read_servers,
    read_service,
    read_services,
)
from ood.model.services import Server, Service, is_service_id

TOKEN_NAMES = ("X-AUTH-TOKEN", "X-NANOBOX-TOKEN")
"""Headers, or keys of the query, that carry the token."""

BODY_BYTES = 16 * 1024 * 1024
"""The largest body: some hundred thousand servers."""

BAD_JSON = "Bad JSON syntax received in body"
NO_SERVICE = "No Service Found"
NO_SERVER = "No Server Found"
NO_ROUTE = "No Such Route"
SUCCESS = {"msg": "Success"}

Answer = tuple[int, object]
Handler = Callable[..., Coroutine[Deferred[Any], Any, Answer]]


class BadJsonError(InvalidError):
    """The body is not JSON."""

    def __init__(self) -> None:
        super().__init__([Fault("body", BAD_JSON)])


def layer4_resource(
    layer4: ILayer4, token: str, listeners: Callable[[], Sequence[tuple[str, int]]] = tuple
) -> IResource:
    """Return the resource with the L4 routes.

    :param token: what a client has to show.
    :param listeners: the addresses and ports on which ood itself listens for
        TCP; a service can't have one of them.
    """
    return Layer4Routes(layer4, token, listeners)


@implementer(IResource)
class Layer4Routes:
    """The routes over one :class:`~ood.balancer.interfaces.ILayer4`."""

    isLeaf = True
    log = Logger()

    def __init__(
        self, layer4: ILayer4, token: str, listeners: Callable[[], Sequence[tuple[str, int]]]
    ) -> None:
        self._layer4 = layer4
        self._token = token.encode()
        self._listeners = listeners
        self._lock = DeferredLock()

        self._routes: dict[int, tuple[str, dict[str, Handler]]] = {
            1: (
                "services",
                {"GET": self._list, "POST": self._add, "PUT": self._reset},
            ),
            2: (
                "services",
                {"GET": self._show, "PUT": self._put, "DELETE": self._remove},
            ),
            3: (
                "servers",
                {"GET": self._list_servers, "POST": self._add_server, "PUT": self._reset_servers},
            ),
            4: (
                "servers",
                {"GET": self._show_server, "DELETE": self._remove_server},
            ),
        }

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        """Never called: a leaf has nothing below it."""
        raise AssertionError(name, request)

    def putChild(self, path: bytes, child: IResource) -> None:
        """Refuse: the routes are fixed."""
        raise ValueError(path, child)

    def render(self, request: Any) -> int:
        """Answer ``request``, at once or later."""
        gone: list[Failure] = []
        _ = request.notifyFinish().addErrback(gone.append)
        answer = Deferred.fromCoroutine(self._serve(request))

        def write(body: bytes) -> None:
            if not gone:
                request.write(b"" if request.method == b"HEAD" else body)
                request.finish()

        def failed(failure: Failure) -> None:
            if not isinstance(failure.value, CancelledError):
                self.log.failure("An L4 answer failed", failure=failure)

        _ = answer.addCallback(write).addErrback(failed)
        return NOT_DONE_YET

    def _find(self, request: Any) -> tuple[Mapping[str, Handler], list[str]] | None:
        """Return what answers below the request's path, by method, and the ids in the path."""
        segments = [part.decode() for part in (*request.prepath, *request.postpath)]
        if len(segments) > 1 and not segments[-1]:
            segments.pop()  # a trailing slash means the same
        word, handlers = self._routes.get(len(segments), ("", {}))
        words = segments[::2]
        if not handlers or words[0] != "services" or words[-1] != word or not all(segments):
            return None
        return handlers, segments[1::2]

    async def _serve(self, request: Request) -> bytes:
        found = self._find(request)
        if found is None:
            return _said(request, 404, {"error": NO_ROUTE})
        handlers, ids = found
        method = request.method.decode("ascii", "replace").replace("HEAD", "GET")
        if method == "OPTIONS" or method not in handlers:
            request.responseHeaders.setRawHeaders("Allow", [", ".join((*handlers, "OPTIONS"))])
        if method == "OPTIONS":
            request.setResponseCode(204)
            return b""
        if not authorized(request, self._token):
            request.setResponseCode(401)
            return b""
        if method not in handlers:
            return _said(request, 405, {"error": f"{method} is not possible here"})
        status, answer = await self._answer(handlers[method], request, ids)
        return _said(request, status, answer)

    async def _answer(self, handler: Handler, request: Request, ids: Sequence[str]) -> Answer:
        try:
            if request.method == b"GET":
                return await handler(request, *ids)
            return await self._lock.run(_start, handler, request, *ids)
        except OodError as error:
            return error.http_status, {"error": error_text(error)}
        except Exception:
            self.log.failure("An L4 request failed")
            return 500, {"error": "internal error; ood's log says more"}

    async def _list(self, request: Request) -> Answer:
        services = self._layer4.services()
        return 200, await self._documents(request, services)

    async def _add(self, request: Request) -> Answer:
        service = read_service(body(request))
        self._refuse_own([service])
        services = self._layer4.services()
        standing = _find(services, service.id)
        if standing is None:
            await self._layer4.replace((*services, service))
        elif standing != service:
            raise ConflictError(
                f"{service.id} exists and is different", "change it with PUT /services/:id"
            )
        return 200, service.document()

    async def _reset(self, request: Request) -> Answer:
        services = read_services(body(request))
        self._refuse_own(services)
        await self._replace(services)
        return 200, [service.document() for service in services]

    async def _replace(self, services: tuple[Service, ...]) -> None:
        if services != self._layer4.services():
            await self._layer4.replace(services)

    async def _show(self, request: Request, service_id: str) -> Answer:
        service = self._service(service_id)
        return 200, (await self._documents(request, (service,)))[0]

    async def _put(self, request: Request, service_id: str) -> Answer:
        if not is_service_id(service_id):
            raise InvalidError([Fault("id", NO_SERVICE)])
        service = read_service(body(request))
        self._refuse_own([service])
        self._service(service_id)
        others = [standing for standing in self._layer4.services() if standing.id != service_id]
        if _find(others, service.id) is not None:
            raise ConflictError(
                f"{service.id} exists", f"remove it, or PUT it instead of {service_id}"
            )
        await self._put_in_place(service_id, service)
        return 200, service.document()

    async def _put_in_place(self, service_id: str, service: Service) -> None:
        standing = self._layer4.services()
        await self._replace(tuple(service if s.id == service_id else s for s in standing))

    async def _remove(self, _request: Request, service_id: str) -> Answer:
        standing = self._layer4.services()
        await self._replace(tuple(service for service in standing if service.id != service_id))
        return 200, SUCCESS

    async def _list_servers(self, request: Request, service_id: str) -> Answer:
        service = self._service(service_id)
        (document,) = await self._documents(request, (service,))
        return 200, document["servers"]

    async def _add_server(self, request: Request, service_id: str) -> Answer:
        service = self._service(service_id)
        server = read_server(body(request), service)
        standing = service.server(server.id)
        if standing is None:
            await self._put_in_place(service_id, service.with_servers((*service.servers, server)))
        elif standing != server:
            raise ConflictError(
                f"{server.id} exists and is different", "change it with PUT /services/:id/servers"
            )
        return 200, server.document()

    async def _reset_servers(self, request: Request, service_id: str) -> Answer:
        service = self._service(service_id)
        servers = read_servers(body(request), service)
        await self._put_in_place(service_id, service.with_servers(servers))
        return 200, [server.document() for server in servers]

    async def _show_server(self, request: Request, service_id: str, server_id: str) -> Answer:
        service = self._service(service_id)
        if service.server(server_id) is None:
            raise NotFoundError(NO_SERVER)
        (document,) = await self._documents(request, (service,))
        servers: Any = document["servers"]
        return 200, next(server for server in servers if server["id"] == server_id)

    async def _remove_server(self, _request: Request, service_id: str, server_id: str) -> Answer:
        service = _find(self._layer4.services(), service_id)
        if service is not None:
            rest: list[Server] = [server for server in service.servers if server.id != server_id]
            await self._put_in_place(service_id, service.with_servers(tuple(rest)))
        return 200, SUCCESS

    def _service(self, service_id: str) -> Service:
        service = _find(self._layer4.services(), service_id)
        if service is None:
            raise NotFoundError(NO_SERVICE)
        return service

    def _refuse_own(self, services: Sequence[Service]) -> None:
        """Refuse services on addresses that ood itself listens on."""
        faults = [
            Fault(f"{service.id}.port", SOCKET_IN_USE.format(service.host, service.port))
            for service in services
            if service.type == "tcp"
            for host, port in self._listeners()
            if port == service.port and host in {"", "0.0.0.0", "::", service.host}  # noqa: S104
        ]
        if faults:
            raise InvalidError(faults)

    async def _documents(
        self, request: Request, services: Sequence[Service]
    ) -> list[dict[str, object]]:
        """Return the JSON forms, with ``?statistics=true`` with what each one carries."""
        documents = [service.document() for service in services]
        if query(request, "statistics").lower() not in {"1", "true", "yes"}:
            return documents
        statistics = await self._layer4.statistics()
        for document in documents:
            _attach(document, statistics.get(str(document["id"]), {}))
        return documents


def _said(request: Request, status: int, answer: object) -> bytes:
    """Set the answer's status and headers; return its body."""
    content = json.dumps(answer, separators=(",", ":")).encode() + b"\n"
    request.setResponseCode(status)
    request.responseHeaders.setRawHeaders("Content-Type", ["application/json"])
    request.responseHeaders.setRawHeaders("Content-Length", [str(len(content))])
    return content


def _start(handler: Handler, *arguments: object) -> Deferred[Answer]:
    """Begin a handler under the lock, which wants a Deferred."""
    return Deferred.fromCoroutine(handler(*arguments))


def _attach(document: dict[str, object], statistics: dict[str, object]) -> None:
    numbers = dict(statistics)
    of_servers: Any = numbers.pop("servers", {})
    document["statistics"] = numbers
    servers: Any = document["servers"]
    for server in servers:
        server["statistics"] = of_servers.get(server["id"], {})


def _find(services: Sequence[Service], service_id: str) -> Service | None:
    return next((service for service in services if service.id == service_id), None)


def query(request: Request, name: str) -> str:
    """Return the first value of a key of the query, or nothing."""
    values = request.args.get(name.encode(), [b""]) if request.args else [b""]
    return values[0].decode("utf-8", "replace")


def authorized(request: Request, token: bytes) -> bool:
    """Say whether the request shows the token, in a header or in the query.

    Clients of ood's other routes send it as these want it.
    """
    scheme, _, bearer = (request.getHeader("authorization") or "").partition(" ")
    shown = [bearer.strip()] if scheme.lower() == "bearer" else []
    shown += [request.getHeader(name) or query(request, name) for name in TOKEN_NAMES]
    matches = [hmac.compare_digest(text.encode("utf-8", "replace"), token) for text in shown]
    return bool(token) and any(matches)


def body(request: Request) -> object:
    """Return the JSON value in the request's body."""
    raw = request.content.read(BODY_BYTES + 1) if request.content else b""
    if len(raw) > BODY_BYTES:
        raise InvalidError([Fault("body", f"is larger than {BODY_BYTES} bytes")])
    try:
        value: object = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadJsonError from None
    return value


def error_text(error: OodError) -> str:
    """Return an error in the words that clients of the seed system compare.

    A single fault that they know stands alone, without saying where.
    """
    if isinstance(error, InvalidError) and len(error.faults) == 1:
        problem = error.faults[0].problem
        if problem.startswith((*KNOWN_PROBLEMS, BAD_JSON, NO_SERVICE)):
            return problem
    return str(error)
