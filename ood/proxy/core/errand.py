"""What is to be done for one request, once the rules have been asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from ood.proxy.core.forward import Peer
from ood.proxy.core.request import Request
from ood.proxy.core.response import Response


class BodyFilter(Protocol):
    """Rewrites the body of one response while it passes."""

    def feed(self, data: bytes) -> bytes:
        """Take the next part of the body, not empty; return what can be sent by now."""

    def end(self) -> bytes:
        """Take the body's end; return what is left to be sent.  Called at most once, last."""


class ResponseChange(Protocol):
    """Changes the final response to one request; interim responses are not shown to it."""

    def change(self, response: Response) -> tuple[Response, BodyFilter | None]:
        """Return the response to send instead, and what rewrites its body.

        Fields and ``length`` must stay true to one another: whoever rewrites a body drops
        Content-Length from ``fields`` and sets ``length`` to ``CHUNKED``, unless the new
        length is known, and leaves a body alone that does not come at all (``length`` is 0
        for the answer to HEAD, and with 204 and 304, whatever Content-Length says).
        """


class Errand(msgspec.Struct, frozen=True):
    """One request to be done.

    :ivar app: the app that is to answer.
    :ivar request: as it is to be sent: rules may have replaced target and fields.
    :ivar peer: where it came from.
    :ivar changes: what changes the final response, applied in this order.
    :ivar body_bytes_max: longest body that is forwarded; None is any.
    :ivar site: the app whose rules were asked; empty if it is ``app``, and has none.
    :ivar below: the path that a route took away from the front of the target.
    :ivar user: whose password was given to ood; empty if none was needed.
    """

    app: str
    request: Request
    peer: Peer
    changes: tuple[ResponseChange, ...] = ()
    body_bytes_max: int | None = None
    site: str = ""
    below: bytes = b""
    user: str = ""


def changed(
    response: Response, changes: Sequence[ResponseChange]
) -> tuple[Response, list[BodyFilter]]:
    """Return the response to send, and what its body passes."""
    filters = []
    for one in changes:
        response, body_filter = one.change(response)
        if body_filter is not None:
            filters.append(body_filter)
    return response, filters


def filtered(filters: Sequence[BodyFilter], payload: bytes, *, end: bool) -> bytes:
    """Return what a part of a body, perhaps empty, is after all filters."""
    for one in filters:
        if payload:
            payload = one.feed(payload)
        if end:
            payload += one.end()
    return payload
