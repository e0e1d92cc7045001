"""Whether a server is alive, from the outcomes of its probes."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Health:
    """What is known of one server.

    A server is taken to be alive until its probes say otherwise, so that a
    restart interrupts nothing.

    :ivar up: whether it counts as alive.
    :ivar streak: outcomes in a row that speak against ``up``.
    :ivar reason: why the latest probe failed; empty after a success.
    """

    up: bool = True
    streak: int = 0
    reason: str = ""

    def observe(self, failure: str | None, retries: int, rise: int) -> Health:
        """Return what is known after one more probe.

        :param failure: why it failed, or None for a success.
        :param retries: failures in a row, beyond the first, that are forgiven.
        :param rise: successes in a row that bring a server back.
        """
        reason = failure or ""
        if (failure is None) == self.up:
            return replace(self, streak=0, reason=reason)
        needed = retries + 1 if self.up else rise
        if self.streak + 1 < needed:
            return replace(self, streak=self.streak + 1, reason=reason)
        return Health(up=not self.up, reason=reason)
