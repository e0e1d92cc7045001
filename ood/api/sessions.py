"""Who is logged in to the web page.

A session is proven by two secrets that lie in different places.  The cookie is
out of reach of scripts, but a browser sends it to every port of this host, so to
the apps, too.  The key is out of reach of other ports: the page keeps it in its
own origin's storage and sends it in a header.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

SECRET_BYTES = 32
"""Random bytes of a code, a cookie and a key: beyond guessing."""
CODE_SECONDS = 60
"""How long a log-in link is good for: time enough to open it."""
CODES_MAX = 16
"""Most links at once; a new one takes the place of the oldest."""
IDLE_SECONDS = 12 * 3600
"""How long a session lasts without a request: a working day."""
SESSIONS_MAX = 64
"""Most sessions at once; a new one takes the place of the one that was idle longest."""


@dataclass(frozen=True)
class LogIn:
    """What a browser gets when it logs in.

    :ivar cookie: the secret for its cookie.
    :ivar key: the secret for the page.
    """

    cookie: str
    key: str


@dataclass
class _Session:
    key: str
    used: float


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _digest(secret: str) -> bytes:
    """Return what a secret is looked up by: how long that takes tells nothing about it."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


class Sessions:
    """All sessions and log-in links of a run of the service.

    :param token: the API's token, with which one can log in, too.
    """

    def __init__(self, clock: IReactorTime, token: str) -> None:
        self._clock = clock
        self._token = token
        self._codes: dict[bytes, float] = {}
        self._sessions: dict[bytes, _Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def make_code(self) -> str:
        """Return a code with which one browser can log in, once."""
        self._codes = {code: end for code, end in self._codes.items() if end > self._now()}
        while len(self._codes) >= CODES_MAX:
            del self._codes[next(iter(self._codes))]
        code = secrets.token_urlsafe(SECRET_BYTES)
        self._codes[_digest(code)] = self._now() + CODE_SECONDS
        return code

    def use_code(self, code: str) -> LogIn | None:
        """Log in with a code; None if it is wrong, used or too old."""
        end = self._codes.pop(_digest(code), None)
        return self._begin() if end is not None and end > self._now() else None

    def use_token(self, token: str) -> LogIn | None:
        """Log in with the API's token; None if it is wrong."""
        return self._begin() if _same(token, self._token) else None

    def fits(self, cookie: str, key: str) -> bool:
        """Tell whether both secrets are of one session; that counts as use of it."""
        self._forget_idle()
        session = self._sessions.get(_digest(cookie))
        if session is None or not _same(key, session.key):
            return False
        session.used = self._now()
        return True

    def touch(self, cookie: str) -> bool:
        """Count what goes on for a session as its use; tell whether it is still there."""
        self._forget_idle()
        session = self._sessions.get(_digest(cookie))
        if session is not None:
            session.used = self._now()
        return session is not None

    def end(self, cookie: str) -> None:
        """Log out."""
        self._sessions.pop(_digest(cookie), None)

    def _begin(self) -> LogIn:
        self._forget_idle()
        while len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[min(self._sessions, key=lambda one: self._sessions[one].used)]
        made = LogIn(secrets.token_urlsafe(SECRET_BYTES), secrets.token_urlsafe(SECRET_BYTES))
        self._sessions[_digest(made.cookie)] = _Session(made.key, self._now())
        return made

    def _forget_idle(self) -> None:
        oldest = self._now() - IDLE_SECONDS
        for digest in [one for one, held in self._sessions.items() if held.used <= oldest]:
            del self._sessions[digest]

    def _now(self) -> float:
        return self._clock.seconds()
