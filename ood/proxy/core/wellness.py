"""Whether a server elsewhere is to get requests, from checks and from requests themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace

RISE_CHECKS = 2
"""Good checks in a row that bring a server back: with one, a server that comes and goes would
get requests half of the time."""


@dataclass(frozen=True)
class Wellness:
    """What is known of one server.

    :ivar checked: what checks say; None before the first one.
    :ivar streak: checks in a row that say the opposite.
    :ivar lost: requests in a row that failed.
    :ivar out_until: it gets no requests before, because of failed requests.
    :ivar reason: why the last check or request failed; empty when all is well.
    """

    checked: bool | None = None
    streak: int = 0
    lost: int = 0
    out_until: float = 0.0
    reason: str = ""

    def usable(self, now: float) -> bool:
        """Tell whether it is to get requests."""
        return self.checked is not False and now >= self.out_until

    def after_check(self, failure: str | None, fails_max: int) -> Wellness:
        """Return what is known after a check.

        :param failure: why it failed; None if it did not.
        :param fails_max: failed checks in a row after which it gets no requests.
        """
        good = failure is None
        reason = failure or ("" if not self.lost else self.reason)
        if self.checked is None:
            return replace(self, checked=good, streak=0, reason=reason)
        if good == self.checked:
            return replace(self, streak=0, reason=reason)
        needed = RISE_CHECKS if good else fails_max
        if self.streak + 1 < needed:
            return replace(self, streak=self.streak + 1, reason=failure or self.reason)
        return replace(self, checked=good, streak=0, reason=reason)

    def after_failure(self, why: str, now: float, fails_max: int, seconds: float) -> Wellness:
        """Return what is known after a request that failed.

        :param fails_max: failures in a row after which it is left alone.
        :param seconds: for so long; the first failure after that begins it anew.
        """
        lost = self.lost + 1
        until = now + seconds if lost >= fails_max else self.out_until
        return replace(self, lost=lost, out_until=until, reason=why)

    def after_answer(self) -> Wellness:
        """Return what is known after a request that was answered."""
        reason = self.reason if self.checked is False else ""
        return replace(self, lost=0, out_until=0.0, reason=reason)
