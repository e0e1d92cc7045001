"""What tests of real workers share."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from tests.procmon.support import MonitorTestCase, get, in_thread

Test = Callable[[Any], Coroutine[Any, Any, None]]


def run(test: Test) -> Callable[[Any], Deferred[None]]:
    """Let trial run a coroutine function."""

    @functools.wraps(test)
    def wrapped(self: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))

    return wrapped


class WorkersTestCase(MonitorTestCase):
    """A monitor and an edge in front of it."""

    async def answers(self, count: int = 8) -> list[dict[str, Any]]:
        """Ask on connections of their own; return what the workers said."""
        texts = [await in_thread(get, self.edge.port) for _ in range(count)]
        return [json.loads(text) for text in texts]
