"""The API's client, on treq."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from treq.client import HTTPClient
from treq.content import collect
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.web.client import URI, Agent, ResponseFailed
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from ood.api.types import JSON_TYPE, LOOPBACK, PREFIX
from ood.cli.access import Access, NoAccessError, not_running
from ood.clock import MonotonicClock
from ood.errors import OodError, UnavailableError

CONNECT_SECONDS = 5.0
"""How long a connection may take: the service is on this machine."""


class ApiError(OodError):
    """What the API refused, in its own words.

    :ivar log: an app's last log lines, if the API sent any.
    """

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message", "")), str(error.get("hint", "")))
        self.code = str(error.get("code", "failed"))
        self.log = tuple(str(line) for line in error.get("log", ()))
        self.error = error


class NotTextError(OodError):
    """What a command should send is not UTF-8, and JSON carries nothing else."""

    code = "not_text"

    def __init__(self, text: str) -> None:
        super().__init__(f"not UTF-8: {text}", "names, values and paths must be UTF-8 text")


def _encoded(body: object) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise NotTextError(ascii(error.object)) from None


@implementer(IAgentEndpointFactory)
class _Way:
    """Connects to the API's address without asking a resolver, or to a tunnel's socket."""

    def __init__(self, reactor: Any, socket: Path | None) -> None:
        self._reactor = reactor
        self._socket = socket

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the way to the API."""
        if self._socket is not None:
            untyped: Any = UNIXClientEndpoint
            endpoint: IStreamClientEndpoint = untyped(
                self._reactor, str(self._socket), timeout=CONNECT_SECONDS
            )
            return endpoint
        return TCP4ClientEndpoint(self._reactor, LOOPBACK, uri.port, timeout=CONNECT_SECONDS)


def connect(reactor: Any, access: Access, socket: Path | None = None) -> ApiClient:
    """Return a client for the service that ``access`` leads to.

    :param reactor: an IReactorTCP, IReactorUNIX and IReactorTime.
    :param socket: the unix socket that leads to its port, where it is on another machine.
    """
    untyped: Any = Agent
    agent = untyped.usingEndpointFactory(reactor, _Way(reactor, socket))
    return ApiClient(HTTPClient(agent), access, MonotonicClock(reactor))


class _Lines:
    """Takes an answer apart into lines.

    :param line: takes each line, without its end.
    :ivar ended: fires at its end, or fails with what a line's taker raised: nobody
        would hear of an exception in the connection's own calls.
    """

    def __init__(self, line: Callable[[bytes], None], ended: Deferred[None]) -> None:
        self._line = line
        self._ended = ended
        self._rest = b""

    def arrived(self, data: bytes) -> None:
        """Take the next piece."""
        *complete, self._rest = (self._rest + data).split(b"\n")
        try:
            for one in complete:
                if not self._ended.called:
                    self._line(one)
        except (OSError, ValueError) as error:
            self._ended.errback(error)

    def finished(self, result: object) -> None:
        """Pass on that the answer is complete or broken off."""
        if not self._ended.called:
            self._ended.callback(result)  # type: ignore[arg-type]


class ApiClient:
    """Asks the API.

    :ivar clock: the clock that goes with its connections.
    """

    def __init__(self, http: Any, access: Access, clock: IReactorTime) -> None:
        self._http = http
        self._access = access
        self.clock = clock

    @property
    def home(self) -> Path:
        """The home of the service."""
        return self._access.home

    @property
    def port(self) -> int:
        """The API's port."""
        return self._access.port

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        timeout: float | None = None,
        prefix: str = PREFIX,
    ) -> Any:
        """Return the API's answer to a request below ``prefix``.

        :raises OodError: it was refused, or there is no service.
        """
        response = await self._send(method, prefix + path, body, timeout=timeout)
        content = await self._guarded(response.content())
        return self._read(response.code, content)

    async def follow(
        self, path: str, query: Mapping[str, str], line: Callable[[dict[str, Any]], None]
    ) -> None:
        """Call ``line`` with each object of an answer that goes on, until either ends it."""
        await self.stream("GET", f"{path}?{urlencode(query)}", None, line)

    async def stream(
        self, method: str, path: str, body: object, line: Callable[[dict[str, Any]], None]
    ) -> None:
        """Call ``line`` with each object of the answer to a request, as they come."""
        await self._lines(method, path, body, lambda text: line(json.loads(text)))

    async def events(
        self, query: Mapping[str, str], event: Callable[[str, dict[str, Any]], None]
    ) -> None:
        """Call ``event`` with the kind and data of each server-sent event, to their end."""
        kind = ""

        def line(text: bytes) -> None:
            nonlocal kind
            name, _, value = text.partition(b": ")
            if name == b"event":
                kind = value.decode()
            elif name == b"data":
                event(kind, json.loads(value))

        await self._lines("GET", f"/events?{urlencode(query)}", None, line)

    async def _lines(
        self, method: str, path: str, body: object, line: Callable[[bytes], None]
    ) -> None:
        response = await self._send(method, PREFIX + path, body, unbuffered=True)
        if response.code != 200:
            self._read(response.code, await self._guarded(response.content()))
        ended: Deferred[None] = Deferred()
        lines = _Lines(line, ended)
        _ = collect(response, lines.arrived).addBoth(lines.finished)
        await self._guarded(ended)

    async def _send(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._access.token}"}
        if body is not None:
            headers["Content-Type"] = JSON_TYPE
            options["data"] = _encoded(body)
        url = f"http://{LOOPBACK}:{self._access.port}{path}"
        return await self._guarded(self._http.request(method, url, headers=headers, **options))

    async def _guarded(self, sent: Deferred[Any]) -> Any:
        """Wait for ``sent``; tell failures of the connection in the user's words."""
        try:
            return await sent
        except ConnectError:
            raise not_running(self._access.home) from None
        except (ConnectionClosed, ResponseFailed) as error:
            reasons = [reason.value for reason in getattr(error, "reasons", ())]
            if any(isinstance(reason, CancelledError) for reason in reasons):
                raise UnavailableError(
                    "ood does not answer in time", "is it stopped, or is this machine overloaded?"
                ) from error
            raise UnavailableError(
                "ood broke off the connection", "did it just stop? look with: ood status"
            ) from error

    def _read(self, status: int, content: bytes) -> Any:
        if status == 204:
            return None
        try:
            # a wrong token for the balancer's routes is answered without a word
            value = json.loads(content or b"null") if status == 401 else json.loads(content)
        except ValueError:
            raise NoAccessError(
                f"what listens on port {self._access.port} is not ood", "check apiPort"
            ) from None
        if status < 400:
            return value
        if status == 401:
            raise NoAccessError(
                f"the ood on port {self._access.port} is not the one of {self._access.home}",
                "name its home with --home",
            )
        error = value.get("error") if isinstance(value, dict) else None
        if isinstance(error, str):
            error = {"message": error}
        raise ApiError(error if isinstance(error, dict) else {"message": f"status {status}"})
