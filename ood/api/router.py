"""From method and path to the operation's handler.

The table in :mod:`ood.api.operations` is all there is to match, so a resource of
twisted.web does it; klein, which brings werkzeug, costs the service 5 MB of
memory for the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from ood.api.operations import Operation
from ood.api.problems import InternalError, MethodError, NoRouteError, WebRequest, refuse
from ood.errors import OodError

Handler: TypeAlias = Callable[..., Awaitable[bytes | None]]
"""Called with the request and the path's parameters; returns the body, or None if it wrote
and finished the answer itself."""

_log = Logger(namespace="ood.api")


def _match(pattern: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    """Return the parameters if ``segments`` fit ``pattern``, else None."""
    if len(pattern) != len(segments):
        return None
    found: dict[str, str] = {}
    for expected, given in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            if not given:
                return None
            found[expected[1:-1]] = given
        elif expected != given:
            return None
    return found


@implementer(IResource)
class Router:
    """Answers every request below it by the operation that fits.

    :param routes: each operation with its handler.
    """

    isLeaf = True

    def __init__(self, routes: Iterable[tuple[Operation, Handler]]) -> None:
        self._routes = [
            (operation.method, tuple(operation.path.strip("/").split("/")), handler)
            for operation, handler in routes
        ]

    def getChildWithDefault(self, name: bytes, request: WebRequest) -> IResource:
        """Never called: a leaf has nothing below it."""
        raise AssertionError(name, request)

    def putChild(self, path: bytes, child: IResource) -> None:
        """Refuse: the routes are given at the start."""
        raise ValueError(path, child)

    def render(self, request: WebRequest) -> bytes | int:
        """Answer ``request``, now or later."""
        try:
            handler, parameters = self._find(request)
        except OodError as error:
            return refuse(request, error)
        gone: list[Failure] = []
        _ = request.notifyFinish().addErrback(gone.append)
        answer: Deferred[Any] = Deferred.fromCoroutine(_call(handler, request, parameters))
        _ = answer.addErrback(_failed, request).addCallback(_write, request, gone)
        return NOT_DONE_YET

    def _find(self, request: WebRequest) -> tuple[Handler, Mapping[str, str]]:
        """Return what answers ``request``; HEAD is asked like GET.

        :raises NoRouteError: nothing has this path.
        :raises MethodError: nothing takes this method there.
        """
        segments = [part.decode("utf-8") for part in request.postpath]
        if len(segments) > 1 and not segments[-1]:
            segments.pop()  # a trailing slash means the same
        method = request.method.decode("ascii", "replace")
        allowed = set()
        for known, pattern, handler in self._routes:
            parameters = _match(pattern, segments)
            if parameters is not None:
                methods = {known, "HEAD"} if known == "GET" else {known}
                if method in methods:
                    return handler, parameters
                allowed |= methods
        path = request.path.decode("utf-8", "replace")
        if allowed:
            raise MethodError(f"{path} does not take {method}", tuple(sorted(allowed)))
        raise NoRouteError(f"there is no {path} here", "see /openapi.json")


async def _call(
    handler: Handler, request: WebRequest, parameters: Mapping[str, str]
) -> bytes | None:
    return await handler(request, **parameters)


def _failed(failure: Failure, request: WebRequest) -> bytes | None:
    """Return the answer that tells of ``failure``."""
    if isinstance(failure.value, OodError):
        return refuse(request, failure.value)
    if isinstance(failure.value, CancelledError):
        return None
    _log.failure("{path} failed", failure=failure, path=request.path)
    return refuse(request, InternalError("ood failed", "its log says how; please report it"))


def _write(body: bytes | None, request: WebRequest, gone: Sequence[Failure]) -> None:
    """Send the answer, unless it was sent or the client is ``gone``."""
    if body is None or request.finished or gone:
        return
    if request.method != b"HEAD":
        request.write(body)
    request.finish()
