"""What the API and its clients must agree on.

The command line imports nothing else of :mod:`ood.api`, so this module stays
small and imports nothing that takes time.
"""

from __future__ import annotations

from urllib.parse import quote

from ood.errors import NotFoundError

PREFIX = "/api/v1"
"""Every route of this version of the API begins with it."""
DEFAULT_PORT = 2016
"""The API's loopback port unless the setting ``apiPort`` says otherwise."""
LOOPBACK = "127.0.0.1"
"""The only address the API listens on."""

JSON_TYPE = "application/json"
"""Media type of requests and answers."""
LINES_TYPE = "application/x-ndjson"
"""Media type of a followed log: one JSON object on each line."""

LOG_LINES_DEFAULT = 50
"""Log lines in an answer unless asked otherwise: a screenful."""
LOG_LINES_MAX = 10_000
"""Most log lines in one answer: some megabytes, and more than a person reads."""
LOG_STREAMS = ("out", "err", "ood")
"""The streams of a log: the worker's two, and ood's own remarks."""


def app_path(app: str, *rest: str) -> str:
    """Return the path of an app, or of what is below it, without the prefix.

    :raises NotFoundError: no app can have that name, nor can a path hold it.
    """
    if "/" in app or app in {"", ".", ".."}:
        raise NotFoundError(f"there is no app {app}", "see: ood status")
    return "/".join(("/apps", quote(app, safe=""), *rest))


def certificate_path(name: str, *rest: str) -> str:
    """Return the path of a certificate, or of what is below it, without the prefix.

    :raises NotFoundError: no certificate can have that name, nor can a path hold it.
    """
    if "/" in name or name in {"", ".", ".."}:
        raise NotFoundError(f"there is no certificate {name}", "see: ood cert list")
    return "/".join(("/certificates", quote(name, safe=""), *rest))
