"""What is, as opposed to what is wanted: the live state that ``ood status`` shows."""

from __future__ import annotations

import msgspec

from ood.model.certificates import AppCertificate

WORKER_STATES = (
    "launching",
    "online",
    "draining",
    "stopping",
    "stopped",
    "waiting-restart",
    "errored",
)
"""States of a worker; an app also has ``stopped``.

``launching``: started, does not answer yet.  ``online``: gets requests.
``draining``: gets no new connection, finishes what it has.  ``stopping``: was
told to exit.  ``waiting-restart``: died young, is started again after a pause.
``errored``: died young many times in a row; it is still tried at the longest
pause.
"""


ACCESS_STREAM = "access"
"""The stream of an access log's lines, beside those of the app's own log."""


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One worker of an app.

    :ivar instance: the worker's number within the app, from 0 (``NODE_APP_INSTANCE``).
    :ivar pid: process id; ``None`` while there is no process.
    :ivar state: one of :data:`WORKER_STATES`.
    :ivar via: how connections reach it: ``guard``, ``cluster``, ``port`` or ``""``.
    :ivar uptime_ms: milliseconds since it was started.
    :ivar restarts: how often this instance was replaced after a death.
    :ivar cpu_percent: processor use over the last seconds, of the whole process tree.
    :ivar memory_bytes: resident memory of the whole process tree.
    :ivar requests: requests that this process has answered, where the guard counts them.
    :ivar requests_per_second: the same over the last second.
    :ivar errors_per_second: answers with a status of 500 or more, over the last 10 s.
    :ivar latency_p50_ms: half of the requests of the last 10 s took no longer; None without any.
    :ivar latency_p95_ms: 95 of 100 took no longer.
    :ivar latency_p99_ms: 99 of 100 took no longer.
    :ivar loop_lag_ms: the longest delay of its event loop in the last second that it told of;
        None where no guard tells.
    :ivar unacknowledged: connections handed over that it has not acknowledged.
    :ivar dropped: connections for which it had no file descriptor; others got them.
    :ivar reason: why it is not online, for people; empty if there is nothing to say.
    """

    instance: int
    pid: int | None
    state: str
    via: str = ""
    uptime_ms: int = 0
    restarts: int = 0
    cpu_percent: float = 0.0
    memory_bytes: int = 0
    requests: int = 0
    requests_per_second: float = 0.0
    errors_per_second: float = 0.0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p99_ms: float | None = None
    loop_lag_ms: float | None = None
    unacknowledged: int = 0
    dropped: int = 0
    reason: str = ""


class UpstreamStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One server of an app of type proxy.

    :ivar address: where it listens, as configured.
    :ivar state: ``online``, ``launching`` (nothing is known yet) or ``errored``.
    :ivar weight: its share of the requests.
    :ivar backup: it gets requests only while no other server is well.
    :ivar busy: requests that it has not answered yet.
    :ivar requests: requests that it began to answer.
    :ivar failures: requests that it lost, and connections that could not be made.
    :ivar reason: why it is not online; empty if there is nothing to say.
    """

    address: str
    state: str
    weight: int = 1
    backup: bool = False
    busy: int = 0
    requests: int = 0
    failures: int = 0
    reason: str = ""


class AppStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One app.

    :ivar state: ``stopped``, ``online`` (all wanted workers answer), or the state of
        the worker that is furthest from it.
    :ivar type: what it is: a program, servers elsewhere, or files.
    :ivar wanted: how many workers are wanted.
    :ivar version: the version in its package.json, if it has one.
    :ivar release: the release that is run; empty if it runs what is in its ``cwd``.
    :ivar urls: addresses under which it answers.
    :ivar pending_restart: whether settings were changed that wait for a restart.
    :ivar requests_per_second: answers over the last 10 s, on all ways.
    :ivar errors_per_second: those with a status of 500 or more.
    :ivar latency_p50_ms: half of the requests of the last 10 s took no longer; None without any.
    :ivar latency_p95_ms: 95 of 100 took no longer.
    :ivar latency_p99_ms: 99 of 100 took no longer.
    :ivar loop_lag_ms: the longest delay of an event loop among its workers; None if none tells.
    :ivar proxied_because: keys that have ood look at every request, so that no connection is
        handed to the app itself; none if none does.
    :ivar trouble: what keeps it from answering everywhere it should, for people.
    :ivar upstreams: its servers, if it is of type proxy.
    :ivar certificate: how HTTPS stands for it; ``None`` if that is off.
    :ivar maintenance: whether visitors are answered instead of it, as somebody wants it.
    """

    name: str
    state: str
    running: bool
    wanted: int
    port: int
    user: str
    version: str = ""
    cwd: str = ""
    release: str = ""
    urls: tuple[str, ...] = ()
    pending_restart: bool = False
    proxied_because: tuple[str, ...] = ()
    requests_per_second: float = 0.0
    errors_per_second: float = 0.0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p99_ms: float | None = None
    loop_lag_ms: float | None = None
    trouble: tuple[str, ...] = ()
    certificate: AppCertificate | None = None
    workers: tuple[WorkerStatus, ...] = ()
    type: str = "node"
    upstreams: tuple[UpstreamStatus, ...] = ()
    maintenance: bool = False


class LogLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of an app's log.

    :ivar time: RFC 3339 in UTC with milliseconds.
    :ivar instance: the worker's number; -1 for ood's own remarks.
    :ivar stream: ``out``, ``err``, ``ood`` for ood's own remarks, or ``access``.
    :ivar text: the line without its end.
    """

    time: str
    instance: int
    stream: str
    text: str
