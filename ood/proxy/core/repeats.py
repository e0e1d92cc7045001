"""Which requests are given to a second worker when the first one went away over them."""

from __future__ import annotations

from ood.proxy.core.request import Request

DEADLY_MAX = 256
"""Requests that are known to end workers; the one that did so longest ago is forgotten first."""

_REPEATABLE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
_Key = tuple[str, bytes, bytes]


class Repeats:
    """Remembers requests that ended two workers one after the other.

    Such a request is most likely what they died of: whoever sends it again and again
    shall end one worker each time, not two. One answer to it shows that it was not, or
    that the app is mended, and it is forgotten.
    """

    __slots__ = ("_deadly",)

    def __init__(self) -> None:
        self._deadly: dict[_Key, None] = {}

    def may(self, app: str, request: Request) -> bool:
        """Tell whether ``request``, of which a worker has seen everything, may go to another."""
        harmless = not request.length and request.method in _REPEATABLE
        return harmless and _key(app, request) not in self._deadly

    def ended_two(self, app: str, request: Request) -> None:
        """Note that the second worker went away over ``request``, too."""
        key = _key(app, request)
        self._deadly.pop(key, None)
        self._deadly[key] = None
        if len(self._deadly) > DEADLY_MAX:
            del self._deadly[next(iter(self._deadly))]

    def answered(self, app: str, request: Request) -> None:
        """Note that a worker answers ``request``."""
        if self._deadly:
            self._deadly.pop(_key(app, request), None)


def _key(app: str, request: Request) -> _Key:
    return app, request.method, request.target
