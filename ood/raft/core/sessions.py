"""Client sessions: a command that is retried is applied once.

The table is part of the replicated state: it changes only by applied entries and
travels in snapshots, so every member and every later leader agrees on it.

A client opens a session with sequence 0, then numbers its commands from 1.  A
command with a number seen before is not applied again; its first result comes
back.  Numbers may arrive out of order (many commands under way at once), within
:data:`WINDOW_RESULTS` of each other.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

WINDOW_RESULTS = 1024
"""Results kept per session; a client with more commands under way must wait."""

SESSIONS = 10_000
"""Sessions kept; the one unused for the longest time (counted in entries) goes first."""


class Outcome(enum.Enum):
    """What the table says about a command."""

    APPLY = "apply"
    OPENED = "opened"
    REPEATED = "repeated"  # the kept result is the answer
    FORGOTTEN = "forgotten"  # applied before or too old; its result is gone
    UNKNOWN_SESSION = "unknown session"  # never opened, or expired: it is not applied


class Session(msgspec.Struct):
    """One client's session.

    :ivar floor: every number up to here is settled and its result forgotten.
    """

    floor: int = 0
    results: dict[int, Any] = {}


class SessionTable:
    """All sessions, in the order of their last use."""

    def __init__(
        self, sessions: dict[str, Session] | None = None, *, limit: int = SESSIONS
    ) -> None:
        self._sessions = sessions or {}
        self._limit = limit

    def check(self, session: str, sequence: int) -> tuple[Outcome, Any]:
        """Return what to do with a command, and the kept result if it is a repetition."""
        if sequence == 0:
            return self._open(session)
        known = self._sessions.pop(session, None)
        if known is None:
            return Outcome.UNKNOWN_SESSION, None
        self._sessions[session] = known  # used just now: the last to go
        if sequence in known.results:
            return Outcome.REPEATED, known.results[sequence]
        return (Outcome.FORGOTTEN if sequence <= known.floor else Outcome.APPLY), None

    def _open(self, session: str) -> tuple[Outcome, Any]:
        known = self._sessions.pop(session) if session in self._sessions else Session()
        self._sessions[session] = known
        while len(self._sessions) > self._limit:
            del self._sessions[next(iter(self._sessions))]
        return Outcome.OPENED, None

    def record(self, session: str, sequence: int, result: Any) -> None:
        """Keep the result of a command that was just applied."""
        known = self._sessions[session]
        known.results[sequence] = result
        if len(known.results) > WINDOW_RESULTS:
            oldest = min(known.results)
            del known.results[oldest]
            known.floor = max(known.floor, oldest)

    def knows(self, session: str) -> bool:
        """Whether a session is open."""
        return session in self._sessions

    def __len__(self) -> int:
        return len(self._sessions)

    def dump(self) -> bytes:
        """Return the table for a snapshot."""
        return msgspec.msgpack.encode(self._sessions)

    @classmethod
    def load(cls, data: bytes, *, limit: int = SESSIONS) -> SessionTable:
        """Read a table from a snapshot."""
        return cls(msgspec.msgpack.decode(data, type=dict[str, Session]), limit=limit)
