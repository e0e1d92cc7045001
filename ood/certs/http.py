"""HTTPS to a CA: one request at a time of a bounded number, each bounded in time and size."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet import ssl
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

import ood
from ood.certs.errors import AcmeError
from ood.certs.pem import split_pem

REQUEST_SECONDS = 40.0
"""How long an answer may take: public CAs work on some for half a minute."""
CONNECT_SECONDS = 15.0
"""How long a connection may take."""
REPLY_BYTES_MAX = 1 << 20
"""Largest answer: a certificate with its chain is some kilobytes."""
REQUESTS_AT_ONCE = 4
"""As many connections as a CA is bothered with."""
KEPT_SECONDS = 30
"""How long a connection waits for the next request."""


_ALTERNATE = re.compile(r'<([^<>]*)>\s*;[^<]*?\brel="?alternate\b', re.IGNORECASE)


@dataclass(frozen=True)
class Reply:
    """An answer with its whole body."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        """Return the first header of that name; empty if there is none."""
        return (self.headers.getRawHeaders(name) or [""])[0]

    def alternates(self) -> list[str]:
        """Return where the same is to be had in another form (RFC 8288)."""
        links = ", ".join(self.headers.getRawHeaders("link") or [])
        return _ALTERNATE.findall(links)


class Http(Interface):
    """What the client of a CA needs."""

    def request(
        self, method: str, url: str, data: bytes | None, headers: dict[str, str]
    ) -> Deferred[Reply]:
        """Fire with the answer, whatever its status; fail with :class:`AcmeError`."""

    def close(self) -> Deferred[None]:
        """Close every connection; fire when they are gone."""


class CaHttp:
    """Requests over treq.

    :param reactor: an IReactorTCP and IReactorTime.
    :param clock: bounds each request.
    :param ca_file: PEM file of the roots that are trusted; the system's if None.
    """

    def __init__(self, reactor: Any, clock: IReactorTime, ca_file: Path | None = None) -> None:
        self._clock = clock
        self._pool: Any = HTTPConnectionPool(reactor, persistent=True)  # type: ignore[no-untyped-call]
        self._pool.cachedConnectionTimeout = KEPT_SECONDS
        self._pool.maxPersistentPerHost = REQUESTS_AT_ONCE
        policy = BrowserLikePolicyForHTTPS(_roots(ca_file))  # type: ignore[no-untyped-call]
        untyped: Any = Agent
        agent = untyped(reactor, policy, connectTimeout=CONNECT_SECONDS, pool=self._pool)
        self._client = HTTPClient(agent)
        self._places = DeferredSemaphore(REQUESTS_AT_ONCE)

    def request(
        self, method: str, url: str, data: bytes | None, headers: dict[str, str]
    ) -> Deferred[Reply]:
        """Fire with the answer, whatever its status; fail with :class:`AcmeError`."""

        return _cancellable(
            self._places.run(
                lambda: Deferred.fromCoroutine(_in_words(self._limited(method, url, data, headers)))
            )
        )

    def _limited(
        self, method: str, url: str, data: bytes | None, headers: dict[str, str]
    ) -> Deferred[Reply]:
        """Give up a request that takes too long."""
        asked = Deferred.fromCoroutine(self._request(method, url, data, headers))
        expired: list[bool] = []

        def expire() -> None:
            expired.append(True)
            asked.cancel()

        timer = self._clock.callLater(REQUEST_SECONDS, expire)

        def ended(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            return Failure(TimeoutError()) if expired else result  # type: ignore[no-untyped-call]

        return asked.addBoth(ended)

    async def _request(
        self, method: str, url: str, data: bytes | None, headers: dict[str, str]
    ) -> Reply:
        if not url.startswith("https://"):
            raise AcmeError("answer", f"{url} is not an https address", "check acmeDirectory")
        own = {"User-Agent": f"ood/{ood.__version__}", **headers}
        response = await self._client.request(
            method,
            url,
            data=data,
            headers=Headers({name: [value] for name, value in own.items()}),
            allow_redirects=False,
            unbuffered=True,
        )
        return Reply(response.code, response.headers, await _body(response))

    def close(self) -> Deferred[None]:
        """Close every connection; fire when they are gone."""
        closed: Deferred[Any] = self._pool.closeCachedConnections()
        return closed.addCallback(lambda _: None)


def _roots(ca_file: Path | None) -> Any:
    if ca_file is None:
        return None
    try:
        roots = [ssl.Certificate.loadPEM(one) for one in split_pem(ca_file.read_bytes())]
        if not roots:
            raise ValueError("there is no certificate in it")
    except (OSError, SSL.Error, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        hint = "put it right, then: ood cert renew NAME"
        raise AcmeError("network", f"acmeCaFile {ca_file} can't be read: {said}", hint) from None
    return ssl.trustRootFromCertificates(roots)  # type: ignore[no-untyped-call]


class _Body(Protocol):
    """Takes a body.

    :ivar done: fires with it; fails if it is too long or breaks off.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self.done: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Keep a part; give the connection up that brings too many."""
        if self.done.called:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > REPLY_BYTES_MAX:
            self._parts.clear()
            self.done.errback(AcmeError("answer", "the CA's answer is far too long"))
            assert self.transport is not None
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell of the end."""
        if self.done.called:
            return
        if isinstance(reason.value, ResponseDone | PotentialDataLoss):
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(reason)


async def _body(response: Any) -> bytes:
    """Return the whole body.

    :raises AcmeError: it is too long; the rest is not waited for, nor taken.
    """
    body = _Body()
    response.deliverBody(body)
    return await body.done


def _cancellable(asked: Deferred[Reply]) -> Deferred[Reply]:
    """Have a cancelled request fail as cancelled; Twisted's client has many errors for it."""
    cancelled: list[bool] = []

    def cancel(_: Deferred[Reply]) -> None:
        cancelled.append(True)
        asked.cancel()

    waiter: Deferred[Reply] = Deferred(cancel)

    def ended(result: Any) -> None:
        if not cancelled:  # else the waiter has failed already, or does when this returns
            waiter.callback(result)

    _ = asked.addBoth(ended)
    return waiter


async def _in_words(asked: Deferred[Reply]) -> Reply:
    """Wait for an answer; say what went wrong in words."""
    try:
        return await asked
    except TimeoutError:
        raise AcmeError("timeout", "the CA does not answer in time") from None
    except DNSLookupError:
        raise AcmeError(
            "network", "the CA's name does not resolve", "check the network and acmeDirectory"
        ) from None
    except (ConnectError, ConnectionClosed) as error:
        number = error.osError if isinstance(error, ConnectError) else None
        said = os.strerror(number) if number else error
        raise AcmeError("network", f"the CA can't be reached: {said}") from None
    except (RequestTransmissionFailed, ResponseFailed) as error:
        raise _broken(error.reasons) from None
    except SSL.Error as error:
        raise _untrusted(error) from None


def _broken(reasons: list[Failure]) -> AcmeError:
    for reason in reasons:
        if isinstance(reason.value, SSL.Error):
            return _untrusted(reason.value)
    said = "; ".join(reason.getErrorMessage() for reason in reasons)
    return AcmeError("broken", f"the connection to the CA broke: {said}")


def _untrusted(error: SSL.Error) -> AcmeError:
    said = "; ".join(str(one[-1]) for one in error.args[0]) if error.args else "TLS failed"
    return AcmeError(
        "network", f"the CA's own certificate is not accepted: {said}", "see acmeCaFile"
    )
