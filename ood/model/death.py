"""Workers' ends that nobody asked for, as ``ood why`` shows them."""

from __future__ import annotations

import msgspec


class RequestInFlight(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A request that a worker had not answered when it died.

    :ivar method: its method.
    :ivar path: its path without the query; what looks like a secret is ``*``.
    :ivar age_ms: how long it was served, in milliseconds; ``None`` if that is not known.
    """

    method: str
    path: str
    age_ms: int | None = None


class DeathReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is known of one death.

    :ivar time: RFC 3339 in UTC with milliseconds.
    :ivar instance: the worker's number within the app.
    :ivar pid: process id; ``None`` if there was no process.
    :ivar reason: exit status or signal, or what ood had against the worker, in words.
    :ivar cause: a word for programs: what is behind it, such as ``heap`` or ``exception``.
    :ivar explanation: the same for people; empty if there is nothing to say.
    :ivar advice: what to do about it; may be empty.
    :ivar error: the uncaught exception, on one line; empty if there was none.
    :ivar exit_code: its exit status, if it exited by itself.
    :ivar signal: name of the signal that killed it; empty if none did.
    :ivar uptime_ms: how long it ran, in milliseconds.
    :ivar release: the release that it ran; empty if it ran what is in the app's ``cwd``.
    :ivar memory_bytes: its memory when it was last looked at; 0 if it never was.
    :ivar memory_growth: bytes a minute by which its memory grew during the last minutes;
        ``None`` if it ran too shortly to tell.
    :ivar requests: the requests in flight, as far as they are known.
    :ivar stack: where a worker that hung was, innermost first.
    :ivar log: its last lines.
    """

    time: str
    instance: int
    pid: int | None
    reason: str
    cause: str = ""
    explanation: str = ""
    advice: str = ""
    error: str = ""
    exit_code: int | None = None
    signal: str = ""
    uptime_ms: int = 0
    release: str = ""
    memory_bytes: int = 0
    memory_growth: float | None = None
    requests: tuple[RequestInFlight, ...] = ()
    stack: tuple[str, ...] = ()
    log: tuple[str, ...] = ()


class DeathList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The last deaths of an app's workers.

    :ivar deaths: newest first.
    :ivar pattern: what they have in common, for people; empty if nothing is seen.
    """

    deaths: tuple[DeathReport, ...] = ()
    pattern: str = ""
