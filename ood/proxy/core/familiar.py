"""Heads that were read a moment ago: clients and apps say much the same again and again.

Reading a head takes longer than all else that is done for a request.  What is made of
one depends on its bytes alone, so what was made of the same bytes before can be used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ood.proxy.core import forward
from ood.proxy.core.h2 import Field, field_list, read_request
from ood.proxy.core.request import Request, parse_request
from ood.proxy.core.response import Response, parse_response

FAMILIAR_MAX = 128
"""Heads of one kind that are kept: those of a busy moment; then they are forgotten."""
FAMILIAR_BYTES_MAX = 2_048
"""Longest head that is kept: with what is made of them, all take two megabytes at most."""


class Heads:
    """What was made of the heads of this moment.

    Who calls :meth:`forget` decides how long a moment is: what clients sent, passwords among
    it, is not to stay in memory for longer than it is of use.
    """

    __slots__ = ("_listed", "_opened", "_passed", "_replies", "_requests", "_shown")

    def __init__(self) -> None:
        self._requests: dict[bytes, Request] = {}
        self._passed: dict[bytes, bytes] = {}
        self._replies: dict[bytes, Response] = {}
        self._shown: dict[bytes, bytes] = {}
        self._opened: dict[tuple[tuple[Field, ...], bool], Request] = {}
        self._listed: dict[tuple[int, bytes], Sequence[Field]] = {}

    def forget(self) -> None:
        """Begin anew."""
        self._requests.clear()
        self._passed.clear()
        self._replies.clear()
        self._shown.clear()
        self._opened.clear()
        self._listed.clear()

    def request(self, data: bytes) -> Request | None:
        """Do what :func:`~ood.proxy.core.request.parse_request` does.

        :raises MalformedError: as there.
        """
        requests = self._requests
        end = data.find(b"\r\n\r\n", 0, FAMILIAR_BYTES_MAX) + 4
        head = data[:end]  # without the body behind it, whose hash would take longer than all else
        known = requests.get(head)
        if known is not None:
            return known
        request = parse_request(data)
        if request is not None and request.end == end:
            if len(requests) >= FAMILIAR_MAX:
                requests.clear()
            requests[head] = request
        return request

    def passed(self, request: Request) -> bytes:
        """Do what :func:`~ood.proxy.core.forward.request_fields` does."""
        fields = request.fields
        if request.named or len(fields) > FAMILIAR_BYTES_MAX:
            return forward.request_fields(request)
        known = self._passed.get(fields)
        if known is None:
            if len(self._passed) >= FAMILIAR_MAX:
                self._passed.clear()
            known = self._passed[fields] = forward.request_fields(request)
        return known

    def response(self, data: bytes, *, to_head: bool) -> Response | None:
        """Do what :func:`~ood.proxy.core.response.parse_response` does.

        :raises MalformedError: as there.
        """
        end = data.find(b"\r\n\r\n") + 4
        if to_head or not 3 < end <= FAMILIAR_BYTES_MAX:
            return parse_response(data, to_head=to_head)
        head = data[:end]
        known = self._replies.get(head)
        if known is None:
            known = parse_response(head, to_head=False)
            assert known is not None
            if len(self._replies) >= FAMILIAR_MAX:
                self._replies.clear()
            self._replies[head] = known
        return known

    def shown(self, response: Response) -> bytes:
        """Do what :func:`~ood.proxy.core.forward.response_fields` does."""
        fields = response.fields
        if response.named or response.status == 204 or len(fields) > FAMILIAR_BYTES_MAX:
            return forward.response_fields(response)
        known = self._shown.get(fields)
        if known is None:
            if len(self._shown) >= FAMILIAR_MAX:
                self._shown.clear()
            known = self._shown[fields] = forward.response_fields(response)
        return known

    # The same for HTTP/2.

    def stream_request(
        self, fields: Sequence[Field], *, ended: bool, key: Callable[[], bytes] = bytes
    ) -> Request:
        """Do what :func:`~ood.proxy.core.h2.read_request` does.

        :raises StreamError: as there.
        :raises MalformedError: as there.
        """
        asked = tuple(fields), ended
        known = self._opened.get(asked)
        if known is not None:
            return known
        request = read_request(fields, ended=ended, key=key)
        if request.end <= FAMILIAR_BYTES_MAX and not request.upgrade:
            if len(self._opened) >= FAMILIAR_MAX:
                self._opened.clear()
            self._opened[asked] = request
        return request

    def listed(self, response: Response) -> Sequence[Field]:
        """Return a final response's head as :func:`~ood.proxy.core.h2.field_list` does."""
        fields = self.shown(response)
        if len(fields) > FAMILIAR_BYTES_MAX:
            return field_list(response.status, fields)
        known = self._listed.get((response.status, fields))
        if known is None:
            if len(self._listed) >= FAMILIAR_MAX:
                self._listed.clear()
            known = self._listed[response.status, fields] = field_list(response.status, fields)
        return known
