"""The routes of certificates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from ood.api.eventstream import EventStreams
from ood.api.handlers import Handlers, json_body
from ood.api.problems import WebRequest, answer
from ood.api.sessions import Sessions
from ood.api.types import PREFIX
from ood.errors import Fault, InvalidError, UnavailableError
from ood.interfaces import ICertificateDesk, IController

PATHS: Mapping[str, str] = {
    "cert": "The certificate as PEM, with those between it and a root behind it.",
    "key": "Its private key as PEM, without a pass phrase.",
    "chain": "Those between it and a root, if they are in a file of their own.",
}
"""Files of a certificate: absolute paths on this machine."""
REQUIRED = ("cert", "key")
PATH = "an absolute path"


def new_certificate() -> dict[str, Any]:
    """Return the schema of what a certificate is added with."""
    path = {"type": "string", "pattern": "^/"}
    properties = {name: {**path, "description": doc} for name, doc in PATHS.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": list(REQUIRED),
        "additionalProperties": False,
    }


class CertificateHandlers(Handlers):
    """All handlers, with those of certificates."""

    def __init__(
        self,
        controller: IController,
        document: Callable[[], dict[str, Any]],
        streams: EventStreams,
        sessions: Sessions,
        certificates: ICertificateDesk | None,
    ) -> None:
        super().__init__(controller, document, streams, sessions)
        self._certificates = certificates

    @property
    def _desk(self) -> ICertificateDesk:
        if self._certificates is None:
            raise UnavailableError("this service keeps no certificates")
        return self._certificates

    async def list_certificates(self, request: WebRequest) -> bytes:
        """Answer with all certificates."""
        return answer(request, 200, {"certificates": self._desk.certificates()})

    async def get_certificate(self, request: WebRequest, certificate: str) -> bytes:
        """Answer with one certificate."""
        return answer(request, 200, self._desk.certificate(certificate))

    async def add_certificate(self, request: WebRequest) -> bytes:
        """Take a certificate from files."""
        values = _paths(json_body(request))
        desk = self._desk
        added = await self._run(lambda: desk.add_certificate(*values))
        request.setHeader("Location", f"{PREFIX}/certificates/{quote(added.name, safe='')}")
        return answer(request, 201, added)

    async def renew_certificate(self, request: WebRequest, certificate: str) -> bytes:
        """Get a certificate anew."""
        desk = self._desk
        return await self._work(request, lambda: desk.renew_certificate(certificate))

    async def revoke_certificate(self, request: WebRequest, certificate: str) -> bytes:
        """Get a certificate anew, and have the old one revoked."""
        desk = self._desk
        return await self._work(request, lambda: desk.revoke_certificate(certificate))

    async def remove_certificate(self, request: WebRequest, certificate: str) -> bytes:
        """Forget a certificate."""
        desk = self._desk
        await self._run(lambda: desk.remove_certificate(certificate))
        request.setResponseCode(204)
        return b""


def _paths(body: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the files that a request names.

    :raises InvalidError: with every fault.
    """
    allowed = ", ".join(PATHS)
    faults = [Fault(key, "there is no such key", allowed) for key in body if key not in PATHS]
    for key in PATHS:
        value = body.get(key, "")
        if not isinstance(value, str) or not value:
            if value or key in REQUIRED:
                faults.append(Fault(key, "is no text" if value else "is missing", PATH))
        elif not value.startswith("/"):
            faults.append(Fault(key, f"{value} is not an absolute path", PATH))
    if faults:
        raise InvalidError(faults)
    return body["cert"], body["key"], body.get("chain", "")
