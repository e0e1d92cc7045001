"""What each operation does: read the request, ask the controller, answer."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from twisted.internet.defer import Deferred

import ood
import twisted
from ood.api.browser import cookie_of
from ood.api.deploy import Stream, order_of, release_of
from ood.api.eventstream import EventStreams, wanted_of
from ood.api.follow import Follower
from ood.api.maintain import maintenance_of
from ood.api.operations import EVENTS_QUERY, LOG_QUERY, PURGE_QUERY, names_of
from ood.api.problems import BadRequestError, MediaTypeError, WebRequest, answer
from ood.api.query import flag, read_query, whole_number
from ood.api.sessions import CODE_SECONDS, Sessions
from ood.api.types import (
    EVENT_STREAM_TYPE,
    JSON_TYPE,
    LOG_LINES_DEFAULT,
    LOG_LINES_MAX,
    LOG_STREAMS,
    PREFIX,
    UI_PATH,
)
from ood.clock import stamp, wall_time
from ood.errors import Fault, InvalidError, UnavailableError
from ood.interfaces import IController
from ood.model.status import LogLine

FOLLOWERS_MAX = 64
"""Most logs followed at once: each keeps a connection and up to a backlog of memory."""

T = TypeVar("T")


class Handlers:
    """One method per operation of :data:`~ood.api.operations.OPERATIONS`."""

    def __init__(
        self,
        controller: IController,
        document: Callable[[], dict[str, Any]],
        streams: EventStreams,
        sessions: Sessions,
    ) -> None:
        self._controller = controller
        self._streams = streams
        self._sessions = sessions
        self._document = document
        self._followers: set[Follower] = set()
        self._waiting: set[Deferred[Any]] = set()
        self._stopping = False

    def stop(self) -> None:
        """Answer everything that is still open: followed logs end, commands get 503."""
        self._stopping = True
        self._streams.stop()
        for follower in tuple(self._followers):
            follower.finish()
        for waiting in tuple(self._waiting):
            waiting.errback(_stopping())

    async def list_apps(self, request: WebRequest) -> bytes:
        """Answer with the state of all apps."""
        return answer(request, 200, {"apps": self._controller.status(None)})

    async def init_app(self, request: WebRequest) -> bytes:
        """Add an app."""
        values = dict(json_body(request))
        name = values.pop("name", None)
        if not isinstance(name, str):
            raise InvalidError([Fault("name", "is missing or no text", "the new app's name")])
        configuration = await self._run(lambda: self._controller.init(name, values))
        request.setHeader("Location", f"{PREFIX}/apps/{quote(name, safe='')}")
        return answer(request, 201, configuration)

    async def get_app(self, request: WebRequest, app: str) -> bytes:
        """Answer with an app's state."""
        return answer(request, 200, self._controller.status(app)[0])

    async def change_app(self, request: WebRequest, app: str) -> bytes:
        """Change an app's configuration."""
        changes = json_body(request)
        changed = await self._run(lambda: self._controller.configure(app, changes))
        return answer(request, 200, changed)

    async def delete_app(self, request: WebRequest, app: str) -> bytes:
        """Stop and forget an app."""
        faults: list[Fault] = []
        purge = flag(read_query(request, names_of(PURGE_QUERY), faults), "purge", faults)
        if faults:
            raise InvalidError(faults)
        await self._run(lambda: self._controller.delete(app, purge=purge))
        request.setResponseCode(204)
        return b""

    async def get_app_config(self, request: WebRequest, app: str) -> bytes:
        """Answer with an app's configuration."""
        return answer(request, 200, self._controller.configuration(app))

    async def start_app(self, request: WebRequest, app: str) -> bytes:
        """Start an app."""
        return await self._work(request, lambda: self._controller.start(app))

    async def stop_app(self, request: WebRequest, app: str) -> bytes:
        """Stop an app."""
        return await self._work(request, lambda: self._controller.stop(app))

    async def restart_app(self, request: WebRequest, app: str) -> bytes:
        """Replace an app's workers."""
        return await self._work(request, lambda: self._controller.restart(app))

    async def list_releases(self, request: WebRequest, app: str) -> bytes:
        """Answer with an app's releases."""
        return answer(request, 200, {"releases": self._controller.releases(app)})

    async def deploy_app(self, request: WebRequest, app: str) -> bytes:
        """Deploy, and tell what is being done."""
        order = order_of(json_body(request))
        if self._stopping:
            raise _stopping()
        stream = Stream(request)
        self._followers.add(stream.follower)
        try:
            await stream.carry_out(lambda told: self._controller.deploy(app, order, told))
        finally:
            self._followers.discard(stream.follower)
        return b""

    async def rollback_app(self, request: WebRequest, app: str) -> bytes:
        """Run an earlier release."""
        release = release_of(json_body(request))
        return await self._work(request, lambda: self._controller.rollback(app, release))

    async def scale_app(self, request: WebRequest, app: str) -> bytes:
        """Set the number of an app's workers."""
        body = json_body(request)
        instances = body.get("instances")
        if isinstance(instances, float) and instances.is_integer():
            instances = int(instances)  # 2.0 is a whole number in JSON
        faults = [
            Fault(key, "there is no such key", "instances") for key in {*body} - {"instances"}
        ]
        if isinstance(instances, bool) or not isinstance(instances, str | int):
            faults.append(Fault("instances", "is missing or no number", "N, +N, -N or max"))
        if faults:
            raise InvalidError(faults)
        return await self._work(request, lambda: self._controller.scale(app, str(instances)))

    async def maintain_app(self, request: WebRequest, app: str) -> bytes:
        """Begin or end an app's maintenance."""
        wanted = maintenance_of(json_body(request))
        return await self._work(request, lambda: self._controller.maintenance(app, wanted))

    async def list_deaths(self, request: WebRequest, app: str) -> bytes:
        """Answer with the last deaths of an app's workers."""
        return answer(request, 200, self._controller.deaths(app))

    async def read_log(self, request: WebRequest, app: str) -> bytes:
        """Answer with the last log lines, or keep sending."""
        lines, stream, follow = _log_query(request)
        last = self._controller.tail(app, lines, stream)
        if not follow or request.method == b"HEAD":
            return answer(request, 200, {"lines": last})
        await self._follow(request, app, last, stream)
        return b""

    async def watch_events(self, request: WebRequest) -> bytes:
        """Keep sending what happens."""
        wanted = wanted_of(request, names_of(EVENTS_QUERY))
        if request.method == b"HEAD":
            request.setHeader("Content-Type", EVENT_STREAM_TYPE)
        else:
            await self._streams.serve(request, wanted, self._session_of(request))
        return b""

    def _session_of(self, request: WebRequest) -> Callable[[], bool]:
        """Return what tells whether the session that a request belongs to is still there."""
        cookie = cookie_of(request)
        if cookie is None or request.getHeader("authorization") is not None:
            return lambda: True
        return lambda: self._sessions.touch(cookie)

    async def get_settings(self, request: WebRequest) -> bytes:
        """Answer with the settings."""
        return answer(request, 200, self._controller.configuration(None))

    async def change_settings(self, request: WebRequest) -> bytes:
        """Change settings."""
        changes = json_body(request)
        changed = await self._run(lambda: self._controller.configure(None, changes))
        return answer(request, 200, changed)

    async def test_notifications(self, request: WebRequest) -> bytes:
        """Test who is told of events."""
        results = await self._run(self._controller.test_notifications)
        return answer(request, 200, {"results": results})

    async def make_login_code(self, request: WebRequest) -> bytes:
        """Make a code for the web page's log-in."""
        code = self._sessions.make_code()
        path = f"{UI_PATH}login?code={code}"
        return answer(request, 201, {"code": code, "path": path, "seconds": CODE_SECONDS})

    async def get_version(self, request: WebRequest) -> bytes:
        """Answer with versions."""
        versions = {
            "ood": ood.__version__,
            "python": platform.python_version(),
            "twisted": twisted.__version__,
        }
        return answer(request, 200, versions)

    async def get_health(self, request: WebRequest) -> bytes:
        """Answer that ood runs."""
        return answer(request, 200, {"status": "ok"})

    async def get_openapi(self, request: WebRequest) -> bytes:
        """Answer with the OpenAPI document."""
        return answer(request, 200, self._document())

    async def _work(self, request: WebRequest, begin: Callable[[], Deferred[Any]]) -> bytes:
        return answer(request, 200, await self._run(begin))

    async def _run(self, begin: Callable[[], Deferred[T]]) -> T:
        """Wait for a command of the controller, which goes on if the client goes away.

        A command that was begun is carried out: a terminal that is closed in
        the middle must not leave half of it.  Its Deferred is therefore not the
        one that is cancelled with the request.
        """
        if self._stopping:
            raise _stopping()
        command = begin()
        waiting: Deferred[T] = Deferred()
        self._waiting.add(waiting)

        def ended(result: Any) -> None:
            self._waiting.discard(waiting)
            if not waiting.called:
                waiting.callback(result)

        _ = command.addBoth(ended)
        try:
            return await waiting
        finally:
            self._waiting.discard(waiting)

    async def _follow(
        self, request: WebRequest, app: str, last: list[LogLine], stream: str | None
    ) -> None:
        if self._stopping or len(self._followers) >= FOLLOWERS_MAX:
            raise UnavailableError(
                f"{len(self._followers)} logs are being followed already", "end one of them first"
            )
        follower = Follower(request, apology=_missed)

        def arrived(line: LogLine) -> None:
            if stream is None or line.stream == stream:
                follower.send(line)

        end = self._controller.follow(app, arrived, stream)
        self._followers.add(follower)
        try:
            follower.start(last)
            await follower.done
        finally:
            self._followers.discard(follower)
            end()


def _missed(count: int) -> LogLine:
    """Return the line that a reader of a log gets for those that came too fast for it."""
    text = f"{count} lines came faster than they were read; the log has them"
    return LogLine(time=stamp(wall_time()), instance=-1, stream="ood", text=text)


def _stopping() -> UnavailableError:
    return UnavailableError("ood is stopping", "ask again once it runs")


def json_body(request: WebRequest) -> Mapping[str, Any]:
    """Return the JSON object that the request carries.

    :raises OodError: it carries something else.
    """
    kind = (request.getHeader("content-type") or "").partition(";")[0].strip().lower()
    if kind != JSON_TYPE:
        raise MediaTypeError(f"the request's body is not {JSON_TYPE}", "set Content-Type to that")
    content = request.content
    assert content is not None, "a request has content once it is complete"
    try:
        value = msgspec.json.decode(content.read())
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequestError(f"the request's body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequestError("the request's body is not a JSON object")
    return value


def _log_query(request: WebRequest) -> tuple[int, str | None, bool]:
    """Return lines, stream and follow."""
    faults: list[Fault] = []
    values = read_query(request, names_of(LOG_QUERY), faults)
    lines = whole_number(values, "lines", LOG_LINES_DEFAULT, LOG_LINES_MAX, faults)
    stream = values.get("stream")
    if stream is not None and stream not in LOG_STREAMS:
        faults.append(Fault("stream", "is not right", ", ".join(LOG_STREAMS)))
    follow = flag(values, "follow", faults)
    if faults:
        raise InvalidError(faults)
    return lines, stream, follow
