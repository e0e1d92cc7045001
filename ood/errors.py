"""Errors that a caller can act on.

Every error a user can cause says what was wrong, where, and what to do.  The
API renders one as ``{"error": {"code", "message", "hint"}}``, the CLI as one
line on stderr, ``twistd ood`` as one line before it exits with status 1.
"""

from __future__ import annotations

from dataclasses import dataclass


class OodError(Exception):
    """What went wrong and what to do about it.

    :ivar message: one sentence: what was wrong, and where.
    :ivar hint: what to do about it; may be empty.
    :cvar code: a stable word for programs.
    :cvar http_status: the status the API answers with.
    """

    code = "failed"
    http_status = 500

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return message and hint as the one line that a person reads."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


class StartupError(OodError):
    """The service can't start here: nothing was changed."""

    code = "cannot_start"


class NotFoundError(OodError):
    """What was named does not exist."""

    code = "not_found"
    http_status = 404


class ConflictError(OodError):
    """The request contradicts what stands, for example a name that is taken."""

    code = "conflict"
    http_status = 409


class StoreError(OodError):
    """The document can't be read or written; what was there is untouched."""

    code = "store"


class WorkerError(OodError):
    """The app's workers did not do what was asked of them.

    :ivar log: the app's last log lines, for the person who asked.
    """

    code = "worker"
    http_status = 502

    def __init__(self, message: str, hint: str = "", log: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.log = log


class ReleaseError(WorkerError):
    """A release could not be made, or there is none to go back to.

    :ivar log: the last lines of the command that failed.
    """

    code = "release"


class NoReleaseError(ReleaseError):
    """There is none to go back to."""

    http_status = 409


class UnavailableError(OodError):
    """Right now it can't be done; later it may."""

    code = "unavailable"
    http_status = 503


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with what a user wrote.

    :ivar key: where: the setting's key as the user writes it.
    :ivar problem: what is wrong with the value.
    :ivar allowed: what would be right.
    """

    key: str
    problem: str
    allowed: str = ""

    def __str__(self) -> str:
        """Return the fault as one clause, key first."""
        text = f"{self.key}: {self.problem}"
        return f"{text}; allowed: {self.allowed}" if self.allowed else text


class InvalidError(OodError):
    """What the user wrote is not valid; ``faults`` names every fault at once."""

    code = "invalid"
    http_status = 400

    def __init__(self, faults: list[Fault], hint: str = "") -> None:
        super().__init__("; ".join(str(fault) for fault in faults), hint)
        self.faults = tuple(faults)
