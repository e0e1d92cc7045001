"""What proves to a CA that a name is ours: over HTTP, over TLS, in the DNS."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from zope.interface import implementer

from ood.certs.client import Challenge
from ood.certs.interfaces import IResponder
from ood.certs.pem import make_challenge
from ood.interfaces import Certificate


@implementer(IResponder)
class HttpResponder:
    """http-01: the proxy asks :meth:`token` for what it is asked for."""

    challenge_type = "http-01"

    def __init__(self) -> None:
        self._answers: dict[str, bytes] = {}

    def start_responding(self, server_name: str, challenge: Challenge, response: Challenge) -> None:
        """Answer from now on."""
        self._answers[challenge.token] = response.key_authorization.encode()

    def stop_responding(self, server_name: str, challenge: Challenge, response: Challenge) -> None:
        """Answer no more."""
        self._answers.pop(challenge.token, None)

    def token(self, path_token: str) -> bytes | None:
        """Return the answer to a token.

        The host does not matter: a site may redirect the CA to another one of its names,
        tokens can't be guessed, and an answer is worth nothing without the account's key.
        """
        return self._answers.get(path_token)


@implementer(IResponder)
class TlsResponder:
    """tls-alpn-01: the proxy asks :meth:`certificate` for the one that proves it.

    :param now: tells the time of day.
    """

    challenge_type = "tls-alpn-01"

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._certificates: dict[str, tuple[str, Certificate]] = {}

    def start_responding(self, server_name: str, challenge: Challenge, response: Challenge) -> None:
        """Answer from now on."""
        certificate = make_challenge(server_name, response.digest, self._now())
        self._certificates[server_name] = (challenge.token, certificate)

    def stop_responding(self, server_name: str, challenge: Challenge, response: Challenge) -> None:
        """Answer no more."""
        if self._certificates.get(server_name, ("",))[0] == challenge.token:
            del self._certificates[server_name]

    def certificate(self, server_name: str) -> Certificate | None:
        """Return the certificate that answers for a name."""
        found = self._certificates.get(server_name)
        return found[1] if found else None
