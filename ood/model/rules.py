"""What a site's rules may say: their values."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

REDIRECT_STATUSES = (301, 302, 307, 308)
"""301 and 308 are kept by browsers for good; 307 and 308 keep the method."""
REDIRECT_STATUS_DEFAULT = 302
"""A temporary one: what is wrong in it is not remembered by browsers."""
RATE_MAX = 1_000_000
"""Most requests of a rate: what is more limits nothing."""
RATE_SECONDS: Mapping[str, int] = {"s": 1, "m": 60, "h": 3600}
BODY_BYTES_MAX = 1 << 40
"""Largest limit of a body: what is more limits nothing."""
ERROR_PAGES = ("400", "401", "403", "404", "413", "429", "502", "503", "504", "maintenance")
"""What ood itself answers with, and what a page of one's own can be given for."""
HOLD_MS_MAX = 300_000
"""Longest that requests wait for the end of maintenance: browsers give up about then."""
MESSAGE_LENGTH_MAX = 500
"""Longest text on the maintenance page: it is one or two sentences."""


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where requests below a path go.

    :ivar strip: the app sees them without that path.
    """

    app: str
    strip: bool = False


class Redirect(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a browser is sent instead."""

    to: str
    status: int = REDIRECT_STATUS_DEFAULT


class Maintenance(msgspec.Struct, frozen=True, omit_defaults=True):
    """An app is not to be asked for now.

    :ivar message: what visitors are told; empty for the usual words.
    :ivar hold: milliseconds that a request waits for the end before it is answered.
    """

    message: str = ""
    hold: int = 0


def rate_of(text: str) -> tuple[int, int]:
    """Return the requests and the seconds of a rate as ``rateLimit`` keeps it."""
    number, _, unit = text.partition("/")
    return int(number), RATE_SECONDS[unit]


EVERY_REQUEST: tuple[str, ...] = (
    "routes",
    "redirects",
    "rewrites",
    "headers",
    "requestHeaders",
    "basicAuth",
    "allow",
    "deny",
    "rateLimit",
    "bodyLimit",
    "requestId",
    "maintenance",
    "compress",
)
"""Keys that have ood look at every request: none of the app's connections is handed off."""
