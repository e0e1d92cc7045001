"""Errors as the API answers them: always a JSON object with the same form."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from twisted.web.resource import IResource
from zope.interface import implementer

from ood.api.types import JSON_TYPE
from ood.errors import InvalidError, OodError, WorkerError

WebRequest: TypeAlias = Any
"""A :class:`twisted.web.server.Request`: its methods have no types to be checked against."""


class BadRequestError(OodError):
    """The request can't be understood."""

    code = "bad_request"
    http_status = 400


class NoTokenError(OodError):
    """The request carries no token, or a wrong one."""

    code = "unauthorized"
    http_status = 401


class ForbiddenError(OodError):
    """The request comes from where none should come from."""

    code = "forbidden"
    http_status = 403


class NoRouteError(OodError):
    """There is no such path."""

    code = "no_route"
    http_status = 404


class MethodError(OodError):
    """The path exists, the method does not.

    :ivar allowed: the methods that do.
    """

    code = "method_not_allowed"
    http_status = 405

    def __init__(self, message: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message, f"allowed: {', '.join(allowed)}")
        self.allowed = allowed


class TooLargeError(OodError):
    """The body is too long."""

    code = "too_large"
    http_status = 413


class MediaTypeError(OodError):
    """The body is not JSON by its own account."""

    code = "unsupported_media_type"
    http_status = 415


class InternalError(OodError):
    """A fault of ood itself; the service's log has the details."""

    code = "internal"
    http_status = 500


def problem(error: OodError) -> dict[str, Any]:
    """Return ``error`` as the value of an answer."""
    inner: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
    if isinstance(error, InvalidError):
        inner["faults"] = [
            {"key": fault.key, "problem": fault.problem, "allowed": fault.allowed}
            for fault in error.faults
        ]
    if isinstance(error, WorkerError):
        inner["log"] = list(error.log)
    return {"error": inner}


def encode(value: object) -> bytes:
    """Return ``value`` as JSON with a line end, which terminals like."""
    return msgspec.json.encode(value) + b"\n"


def answer(request: WebRequest, status: int, value: object) -> bytes:
    """Set status and type of the answer; return its body."""
    request.setResponseCode(status)
    body = encode(value)
    request.setHeader(b"Content-Type", JSON_TYPE.encode())
    request.setHeader(b"Content-Length", str(len(body)).encode())
    return body


def refuse(request: WebRequest, error: OodError) -> bytes:
    """Set the answer up as ``error``; return its body."""
    if isinstance(error, MethodError):
        request.setHeader(b"Allow", ", ".join(error.allowed).encode())
    if isinstance(error, NoTokenError):
        request.setHeader(b"WWW-Authenticate", b'Bearer realm="ood"')
    return answer(request, error.http_status, problem(error))


@implementer(IResource)
class Refusal:
    """Answers whatever it is asked with one error."""

    isLeaf = True

    def __init__(self, error: OodError) -> None:
        self._error = error

    def getChildWithDefault(self, name: bytes, request: WebRequest) -> IResource:
        """Never called: a leaf has nothing below it."""
        raise AssertionError(name, request)

    def putChild(self, path: bytes, child: IResource) -> None:
        """Refuse: a refusal has nothing below it."""
        raise ValueError(path, child)

    def render(self, request: WebRequest) -> bytes:
        """Answer with the error."""
        return refuse(request, self._error)
