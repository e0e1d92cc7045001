"""A deployment as the API tells it: what is being done as it goes, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred

from ood.api.follow import Follower
from ood.api.problems import WebRequest, problem
from ood.errors import Fault, InvalidError, OodError
from ood.model.release import Order, Step
from ood.model.status import AppStatus

Begin = Callable[[Callable[[Step], None]], "Deferred[AppStatus]"]
"""``begin(told)`` begins a deployment."""


class Stream:
    """The answer to the request for a deployment.

    Until the first step there is only an answer with a status; after it, one
    object a line.  If the reader goes away, the deployment is cancelled.
    """

    def __init__(self, request: WebRequest) -> None:
        self.follower = Follower(request, apology=self._missed)
        self._step = Step(step="", elapsed_ms=0)
        self._begun = False
        self._ended = False

    async def carry_out(self, begin: Begin) -> None:
        """Tell the deployment that ``begin`` begins, to its end.

        :raises OodError: it was refused.
        """
        command = begin(self._told)
        _ = self.follower.done.addCallback(lambda _: self._left(command))
        try:
            last: object = {"app": await command}
        except CancelledError:
            return
        except OodError as error:
            if not self._begun:
                raise
            last = problem(error)
        finally:
            self._ended = True
        self._begin()
        self.follower.end(last)

    def _told(self, step: Step) -> None:
        self._begin()
        self._step = step
        self.follower.send(step)

    def _missed(self, count: int) -> Step:
        return msgspec.structs.replace(self._step, line=f"... {count} more lines ...")

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.follower.start(())

    def _left(self, command: Deferred[AppStatus]) -> None:
        if not self._ended:
            command.cancel()


def order_of(body: Mapping[str, Any]) -> Order:
    """Return what a request asks for.

    :raises InvalidError: with every fault.
    """
    kinds = {"source": str, "ref": str, "build": bool, "script": str}
    faults = [
        Fault(key, "there is no such key", ", ".join(kinds)) for key in body if key not in kinds
    ]
    given = {
        key: value
        for key, value in body.items()
        if key in kinds and (value is not None or kinds[key] is bool)
    }
    faults += [
        Fault(key, "is not right", "true, false" if kinds[key] is bool else "a text")
        for key, value in given.items()
        if not isinstance(value, kinds[key]) or value == ""
    ]
    if faults:
        raise InvalidError(faults)
    return Order(**given)


def release_of(body: Mapping[str, Any]) -> str | None:
    """Return the release that a request for a rollback names.

    :raises InvalidError: with every fault.
    """
    faults = [
        Fault(key, "there is no such key", "release") for key in body if key not in {"release"}
    ]
    release = body.get("release")
    if release is not None and not isinstance(release, str):
        faults.append(Fault("release", "is not a text", "a release's name, or cwd"))
    if faults:
        raise InvalidError(faults)
    return release
