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

UI_PATH = "/ui/"
"""Where the web page is."""
PAGE_HEADER = "X-Requested-With"
"""A header that the page's scripts send, with :data:`PAGE_NAME`."""
PAGE_NAME = "ood"
KEY_HEADER = "X-Ood-Key"
"""Carries the key that the page got when it logged in."""
KEY_QUERY = "key"
"""Carries the key where a browser sends no headers: to the events."""

JSON_TYPE = "application/json"
"""Media type of requests and answers."""
LINES_TYPE = "application/x-ndjson"
"""Media type of a followed log: one JSON object on each line."""

EVENT_STREAM_TYPE = "text/event-stream"
"""Media type of server-sent events."""
STATUS_EVENT = "status"
"""The event that tells the state of all apps, and then what changes of it."""
EVENTS_LAST_MAX = 1000
"""Most events of the past in one answer: nearly all that are kept."""
EVENTS_SECONDS_MAX = 86_400
"""Longest time after which a reader of events may have its answer end: a day."""

LOG_LINES_DEFAULT = 50
"""Log lines in an answer unless asked otherwise: a screenful."""
LOG_LINES_MAX = 10_000
"""Most log lines in one answer: some megabytes, and more than a person reads."""
LOG_STREAMS = ("out", "err", "ood", "access")
"""The streams of a log: the worker's two, ood's own remarks; and the access log."""


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
