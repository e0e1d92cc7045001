"""Counting what a server or service carries, with rates as the kernel estimates them."""

from __future__ import annotations

from ood.balancer.core.state import Traffic

SAMPLE_SECONDS = 2
"""How often rates are estimated."""

SMOOTHING = 4
"""A new sample moves the estimate by a quarter of the difference."""


class Meter:
    """Totals, and rates that :meth:`sample` estimates.

    A relay does not see packets: ``packets`` count datagrams of UDP, and for
    TCP the pieces in which data was passed on.
    """

    __slots__ = (
        "_before",
        "_rates",
        "bytes_in",
        "bytes_out",
        "connections",
        "packets_in",
        "packets_out",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.packets_in = 0
        self.packets_out = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self._before = self._totals()
        self._rates = [0.0] * 5

    def _totals(self) -> tuple[int, int, int, int, int]:
        return (
            self.connections,
            self.packets_in,
            self.packets_out,
            self.bytes_in,
            self.bytes_out,
        )

    def sample(self) -> None:
        """Estimate the rates; to be called every :data:`SAMPLE_SECONDS`."""
        totals = self._totals()
        self._rates = [
            rate + ((total - before) / SAMPLE_SECONDS - rate) / SMOOTHING
            for rate, total, before in zip(self._rates, totals, self._before, strict=True)
        ]
        self._before = totals

    def traffic(self) -> Traffic:
        """Return totals and rates."""
        return Traffic(*self._totals(), *(round(rate) for rate in self._rates))
