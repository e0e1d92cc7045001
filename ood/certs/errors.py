"""What can go wrong with certificates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ood.certs.core.problems import in_words
from ood.errors import OodError


class CertificateError(OodError):
    """A certificate can't be used."""

    code = "certificate"
    http_status = 400


class AcmeError(OodError):
    """A CA refused, or could not be asked; the message is in plain words.

    :ivar kind: the error's type without its namespace (RFC 8555, 6.7), or ``network``,
        ``broken`` (a connection), ``timeout``, ``answer``, ``hook``.
    :ivar retry_after: in how many seconds the CA wants to be asked again, if it says.
    :ivar status: the HTTP status, 0 if there was none.
    """

    code = "acme"
    http_status = 502

    def __init__(
        self,
        kind: str,
        message: str,
        hint: str = "",
        *,
        status: int = 0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.kind = kind
        self.status = status
        self.retry_after = retry_after


def problem_of(plain: Any, status: int = 0, retry_after: float | None = None) -> AcmeError:
    """Return the error that a problem document (RFC 7807) stands for."""
    document = plain if isinstance(plain, dict) else {}
    kind = str(document.get("type") or "unknown").rpartition(":")[2]
    detail = str(document.get("detail") or (f"status {status}" if status else ""))
    parts = document.get("subproblems")
    if isinstance(parts, Sequence) and not isinstance(parts, str):
        said = [str(part.get("detail", "")) for part in parts if isinstance(part, dict)]
        detail = "; ".join(filter(None, [detail, *said]))
    # what a validation found has no status of its own; an answer speaks of who asks
    meant = "account" if kind == "unauthorized" and status else kind
    return AcmeError(kind, in_words(meant, detail), status=status, retry_after=retry_after)
