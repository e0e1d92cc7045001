"""What a command that made a release wrote: why it failed, and the lines that tell it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

LINES_KEPT = 20
"""Last lines that go with an error."""

_REASONS = (
    (r"ENOSPC|No space left on device", "the disk is full", "make room, then deploy again"),
    (r"EDQUOT|[Dd]isk quota exceeded", "the user's disk quota is used up", "raise it"),
    (r"dubious ownership", "the repository belongs to another user",
     "as the app's user: git config --global --add safe.directory PATH"),
    (r"couldn't find remote ref|not our ref|unadvertised object",
     "the repository has no such branch, tag or commit", "a commit needs its whole name"),
    (r"Permission denied \(publickey|could not read Username|Authentication failed"
     r"|terminal prompts disabled",
     "the repository refuses the app's user", "give that user a key or a token"),
    (r"Host key verification failed",
     "the app's user does not know that server's SSH key",
     "as the app's user, connect once: ssh HOST, and compare the key that it shows"),
    (r"Could not resolve host|EAI_AGAIN|ENOTFOUND|Connection refused|ECONNREFUSED"
     r"|Couldn't connect to server|Connection timed out|ETIMEDOUT|Network is unreachable",
     "the server can't be reached", "is the network up?"),
    (r"does not appear to be a git repository|[Rr]epository .* not found",
     "there is no such git repository", "check the URL"),
    (r"EACCES|Permission denied", "the app's user may not do that", "see the lines above"),
    (r"npm (error|ERR!) code EUSAGE|ERR_PNPM_OUTDATED_LOCKFILE|error Your lockfile needs to be",
     "package.json and its lock file do not fit together",
     "install anew where you develop, and deploy the new lock file"),
)  # fmt: skip

_ERROR = re.compile(r"npm (error|ERR!)|fatal:|error[: ]")
"""How lines begin that tell of more than a warning."""
_USAGE_BEGINS = re.compile(r"npm (error|ERR!) Usage:")
_USAGE_ENDS = re.compile(r'npm (error|ERR!) (Run "npm help|A complete log)')


class Heard:
    """What a command wrote, as far as it tells why it failed.

    The reason may stand far above the last line: npm ends with a page of options.
    """

    def __init__(self) -> None:
        self._last: deque[str] = deque(maxlen=LINES_KEPT)
        self._telling: dict[int, str] = {}
        self._usage = False

    def take(self, line: str) -> None:
        """Take a line."""
        self._usage = self._usage or _USAGE_BEGINS.match(line) is not None
        if self._usage:
            self._usage = _USAGE_ENDS.match(line) is None
            return
        self._last.append(line)
        if _ERROR.match(line):
            reason = _reason((line,))
            if reason is not None:
                self._telling.setdefault(reason, line)

    @property
    def lines(self) -> tuple[str, ...]:
        """The last lines, and before them those that give the reason."""
        first = min(self._telling, default=None)
        if _reason(self._last) is not None or first is None:
            return tuple(self._last)
        return (self._telling[first], *self._last)

    def explain(self) -> tuple[str, str]:
        """Return why the command failed, and what to do about it."""
        found = _reason(self._last)
        found = min(self._telling, default=None) if found is None else found
        if found is None:
            return "", "see the lines above"
        _, reason, hint = _REASONS[found]
        return reason, hint


def _reason(lines: Iterable[str]) -> int | None:
    """Return the number of the first reason that ``lines`` give."""
    text = "\n".join(lines)
    found = (number for number, (one, _, _) in enumerate(_REASONS) if re.search(one, text))
    return next(found, None)
