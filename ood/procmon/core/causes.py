"""What is behind a death: from exit status, signal and last words to plain English."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ood.procmon.core.lastwords import Thrown
from ood.procmon.core.nodeerrors import ERRORS, STATUSES, Known

HEAP = re.compile(r"JavaScript heap out of memory|Reached heap limit|Allocation failed - process")
THROWN = re.compile(
    r"(?:Uncaught )?\[?(?P<name>[A-Za-z_$][\w$.]*(?:Error|Exception)|Error|AssertionError)"
    r"(?: \[(?P<code>\w+)\])?:? ?(?P<message>.*)"
)
CODE = re.compile(r"\s+code: '(\w+)'")
PLACE = re.compile(r"\s+at (?:.* \()?(?:file://)?(/[^():]+:\d+:\d+)\)?$")
ERROR_LENGTH_MAX = 500
"""Longest exception that is shown: some carry a whole query."""


@dataclass(frozen=True)
class Facts:
    """What is known of a death.

    :ivar app: the app's name, for commands in advice.
    :ivar cwd: where it ran.
    :ivar reason: what ood says of it.
    :ivar err: the last lines of its stderr.
    :ivar thrown: the exception, where the guard has seen it.
    :ivar oom_killed: whether the kernel killed something for memory just then.
    :ivar hung: whether its event loop did not turn.
    """

    app: str
    cwd: str
    reason: str
    code: int | None = None
    signal: str = ""
    err: Sequence[str] = ()
    thrown: Thrown | None = None
    oom_killed: bool = False
    hung: bool = False


@dataclass(frozen=True)
class Cause:
    """What is behind a death.

    :ivar kind: a word for programs.
    :ivar text: for people; may be empty.
    :ivar advice: what to do; may be empty.
    :ivar error: the uncaught exception on one line.
    """

    kind: str
    text: str = ""
    advice: str = ""
    error: str = ""


def explain(facts: Facts) -> Cause:
    """Return what is behind a death."""
    cause = _by_ood(facts) or _heap(facts) or _by_signal(facts) or _by_exit(facts)
    values = {"app": facts.app, "cwd": facts.cwd}
    return Cause(cause.kind, cause.text, _filled(cause.advice, values), cause.error)


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _by_ood(facts: Facts) -> Cause | None:
    """What ood itself found wrong."""
    if facts.hung:
        return Cause(
            "hang",
            "its event loop did not turn any more: code ran for long without giving way",
            "look at the stack: an endless loop, a regular expression that backtracks, or a "
            "synchronous call that waits",
        )
    if facts.code is not None or facts.signal:
        return None
    if "did not listen" in facts.reason:
        return Cause(
            "silent",
            "it ran, but opened no port",
            "listen on process.env.PORT; if it only takes long, give it time: "
            "ood config -a {app} -s listenTimeout 60s",
        )
    if "is ready" in facts.reason:
        return Cause(
            "unready",
            "waitReady is set, and the app never called process.send('ready')",
            "call it once the app can answer, or: ood config -a {app} --unset waitReady",
        )
    return Cause("start" if "start" in facts.reason else "ood")


def _heap(facts: Facts) -> Cause | None:
    if not any(HEAP.search(line) for line in facts.err):
        return None
    return Cause(
        "heap",
        "V8's heap was full: JavaScript heap out of memory",
        "look for what grows (node --heapsnapshot-near-heap-limit=1); if the app needs that "
        "much: ood config -a {app} -s nodeArgs --max-old-space-size=4096",
    )


_NATIVE = ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP")


def _by_signal(facts: Facts) -> Cause | None:
    match facts.signal:
        case "":
            return None
        case "SIGKILL" if facts.oom_killed:
            return Cause(
                "oom-kill",
                "the kernel killed it because memory ran out",
                "give the machine or the service more memory, run fewer workers, or have them "
                "replaced in time: ood config -a {app} -s maxMemoryRestart 300M",
            )
        case "SIGKILL":
            return Cause("killed", "somebody killed it with SIGKILL, and it was not ood")
        case "SIGABRT":
            return Cause(
                "abort",
                "it aborted itself, as V8 does without memory and native code at a failed check",
                "look at its last lines; a native module may have to be rebuilt: npm rebuild",
            )
        case name if name in _NATIVE:
            return Cause(
                "native",
                f"native code crashed ({name})",
                "update Node and the app's native modules; rebuild them in {cwd}: npm rebuild",
            )
        case name:
            return Cause("killed", f"somebody sent it {name}, and it was not ood")


def _by_exit(facts: Facts) -> Cause:
    name, code, message, place = _thrown(facts)
    error = _one_line(name, message, place)
    known = _known(name, code, message, facts.err)
    if known is not None:
        text = known.explained(message, "\n".join(facts.err))
        return Cause(known.kind, text, known.advice, error)
    if error:
        return Cause("exception", "an exception that nothing caught ended it", "", error)
    status = STATUSES.get(facts.code or 0)
    if status is None:
        return Cause("exit", "it ended itself with that status: process.exit() or its like")
    return Cause(status.kind, status.text, status.advice)


def _known(name: str, code: str, message: str, err: Sequence[str]) -> Known | None:
    about = f"{name} {code} {message}".strip()
    if about:
        return next((known for known in ERRORS if known.pattern.search(about)), None)
    lines = "\n".join(err)
    return next((known for known in ERRORS if known.anywhere and known.pattern.search(lines)), None)


def _thrown(facts: Facts) -> tuple[str, str, str, str]:
    """Return name, code, message and place of the exception."""
    thrown = facts.thrown
    if thrown is not None and (thrown.name or thrown.message):
        place = _place(thrown.stack.splitlines())
        return thrown.name, thrown.code, thrown.message, place
    if not facts.code:
        return "", "", "", ""  # whatever was logged, it was not what ended it
    for number in range(len(facts.err) - 1, -1, -1):
        match = THROWN.fullmatch(facts.err[number])
        if match is not None:
            after = facts.err[number + 1 :]
            codes = (CODE.match(line) for line in after)
            code = match["code"] or next((one[1] for one in codes if one), "")
            return match["name"], code, match["message"], _place(after)
    return "", "", "", ""


def _place(lines: Sequence[str]) -> str:
    """Return where it was thrown: the first line of a stack that is in a file."""
    found = (PLACE.match(line) for line in lines)
    return next((one[1] for one in found if one is not None), "")


def _one_line(name: str, message: str, place: str) -> str:
    text = ": ".join(part for part in (name, " ".join(message.split())) if part)
    if len(text) > ERROR_LENGTH_MAX:
        text = text[:ERROR_LENGTH_MAX] + "..."
    return f"{text} at {place}" if text and place else text
