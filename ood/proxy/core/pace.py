"""Whether a body moves fast enough to be worth what it holds."""

from __future__ import annotations

from ood.proxy.core import pages
from ood.proxy.core.pages import Page

BYTES_PER_SECOND_MIN = 100
"""The slowest body: a tenth of what the slowest mobile networks bring.  A client that drips a byte
now and then would otherwise hold a worker's connection for as long as it likes."""
WINDOW_SECONDS = 60.0
"""Over so long a time: as long as a body may pause altogether, so that one pause is no fault."""

DIGESTED_BYTES_PER_SECOND = 16_384
"""Who took much at once may read it this slowly before it is asked to take more."""
DIGESTING_SECONDS_MAX = 600.0
"""For no longer: curl has a window of 10 MB, which that is just about enough for."""


FRAMING_BYTES_MAX = 262_144
"""What an HTTP/2 client may send beyond requests and bodies: 15,000 pings at once."""
FRAMING_BYTES_PER_SECOND = 1_024
"""The same for long: 60 pings a second."""
HEAD_WORTH_BYTES = 32_768
"""What a request may take of frames: no head is longer."""
BODY_WORTH = 8
"""What each byte of a body, either way, may take: tiny frames are no flood, empty ones are."""


class Framing:
    """Weighs what an HTTP/2 client sends against what comes of it.

    Pings, settings, windows opened byte by byte and empty frames cost us time and the client
    next to nothing; each library counts only some of them.

    :ivar worth: bytes that had a reason since :meth:`flood` was asked last.
    """

    __slots__ = ("_bytes", "_since", "worth")

    def __init__(self, now: float) -> None:
        self._bytes = 0.0
        self._since = now
        self.worth = 0

    def flood(self, size: int, now: float) -> bool:
        """Count ``size`` bytes that came; return whether there were too many without a reason."""
        reason = self.worth + (now - self._since) * FRAMING_BYTES_PER_SECOND
        self._bytes = max(0.0, self._bytes + size - reason)
        self._since, self.worth = now, 0
        return self._bytes > FRAMING_BYTES_MAX


class Pace:
    """Counts bytes in one window of time after another.

    :param now: when the first one begins.
    """

    __slots__ = ("_bytes", "_since")

    def __init__(self, now: float) -> None:
        self._since = now
        self._bytes = 0

    @property
    def until(self) -> float:
        """When the window is over."""
        return self._since + WINDOW_SECONDS

    def begin(self, now: float) -> None:
        """Begin anew: what was before had other reasons than the client."""
        self._since = now
        self._bytes = 0

    def slow(self, size: int, now: float) -> bool:
        """Count ``size`` bytes; return whether there were too few in a window that is over."""
        self._bytes += size
        elapsed = now - self._since
        if elapsed < WINDOW_SECONDS:
            return False
        found, self._since, self._bytes = self._bytes, now, 0
        return found < elapsed * BYTES_PER_SECOND_MIN


class Appetite:
    """For how long a client whose window is full is believed to be at work on what it has.

    HTTP/2 has windows of megabytes, and clients that read slowly open theirs again only
    when they have read half of it.

    :param now: when it got nothing yet.
    """

    __slots__ = ("_busy", "_idle")

    def __init__(self, now: float) -> None:
        self._idle = now + WINDOW_SECONDS
        self._busy = now

    @property
    def until(self) -> float:
        """When it must have taken more."""
        return max(self._idle, self._busy)

    def begin(self, now: float) -> None:
        """Begin anew: there was nothing to take."""
        self._idle = now + WINDOW_SECONDS

    def took(self, size: int, now: float) -> None:
        """Count what it took."""
        past = now - WINDOW_SECONDS
        idle = max(self._idle, past) + size / BYTES_PER_SECOND_MIN
        self._idle = min(idle, now + WINDOW_SECONDS)
        busy = max(self._busy, past) + size / DIGESTED_BYTES_PER_SECOND
        self._busy = min(busy, now + DIGESTING_SECONDS_MAX)


class Intake:
    """Watches over one request's body.

    :param longest: most bytes that are taken; None is any number.
    :ivar pace: how fast it comes.
    """

    __slots__ = ("_bytes", "_longest", "pace")

    def __init__(self, longest: int | None, now: float) -> None:
        self._longest = longest
        self._bytes = 0
        self.pace = Pace(now)

    def take(self, size: int, now: float, *, waiting: bool) -> Page | None:
        """Count ``size`` bytes; return the answer to a body that is not taken any more.

        :param waiting: the app has not begun to answer, so nothing else goes on meanwhile.
        """
        self._bytes += size
        if self._longest is not None and self._bytes > self._longest:
            return pages.too_large(self._longest)
        if self.pace.slow(size, now) and waiting:
            return pages.malformed(408, "its body comes too slowly")
        return None
