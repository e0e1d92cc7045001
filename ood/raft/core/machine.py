"""A state machine with sessions around the user's own: what every member applies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from ood.raft.core.errors import CorruptLogError, RaftError
from ood.raft.core.sessions import Outcome, SessionTable
from ood.raft.core.types import Entry, EntryKind


class StateMachine(Protocol):
    """What a user replicates.  It must be deterministic: same commands, same state."""

    def apply(self, command: bytes) -> Any:
        """Apply a command and return its result (msgpack can carry it)."""

    def snapshot(self) -> bytes:
        """Return the whole state."""

    def restore(self, data: bytes) -> None:
        """Replace the whole state."""


class SessionError(RaftError):
    """A command of a session was not applied: see the message for which kind of no."""

    code = "session"
    http_status = 409


class _Image(msgspec.Struct, frozen=True, array_like=True):
    index: int
    sessions: bytes
    state: bytes


class SessionMachine:
    """Applies entries once each: index, sessions and the user's state move together.

    :ivar index: the last entry applied.
    """

    def __init__(self, machine: StateMachine) -> None:
        self.machine = machine
        self.sessions = SessionTable()
        self.index = 0

    def apply(self, entry: Entry) -> Any:
        """Apply an entry; return the command's result, or the error it ended with.

        A command should not raise: it would stop every member at the same entry.
        """
        if entry.index != self.index + 1:
            raise CorruptLogError(f"entry {entry.index} can't be applied after {self.index}")
        self.index = entry.index
        if entry.kind is not EntryKind.COMMAND:
            return None
        if entry.session is None:
            return self.machine.apply(entry.data)
        return self._apply_once(entry, entry.session)

    def _apply_once(self, entry: Entry, session: str) -> Any:
        outcome, result = self.sessions.check(session, entry.sequence)
        if outcome is Outcome.APPLY:
            result = self.machine.apply(entry.data)
            self.sessions.record(session, entry.sequence, result)
            return result
        return _REFUSALS[outcome](session, entry.sequence) if outcome in _REFUSALS else result

    def snapshot(self) -> bytes:
        """Return index, sessions and the user's state as one."""
        image = _Image(self.index, self.sessions.dump(), self.machine.snapshot())
        return msgspec.msgpack.encode(image)

    def restore(self, data: bytes) -> None:
        """Replace index, sessions and the user's state."""
        image = msgspec.msgpack.decode(data, type=_Image)
        self.machine.restore(image.state)
        self.sessions = SessionTable.load(image.sessions)
        self.index = image.index


def _forgotten(session: str, sequence: int) -> SessionError:
    return SessionError(
        f"command {sequence} of session {session} is too old: its result is forgotten",
        "it was applied at most once; read to see the state",
    )


def _unknown(session: str, sequence: int) -> SessionError:
    return SessionError(
        f"session {session} is not open (never opened, or expired)",
        f"open it with sequence 0; command {sequence} was not applied now",
    )


_REFUSALS: dict[Outcome, Callable[[str, int], SessionError]] = {
    Outcome.FORGOTTEN: _forgotten,
    Outcome.UNKNOWN_SESSION: _unknown,
}
