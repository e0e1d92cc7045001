"""Steps in words, and rates that settle."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ood.balancer.core.meter import SAMPLE_SECONDS, Meter
from ood.balancer.core.plan import (
    AddServer,
    AddService,
    EditServer,
    EditService,
    RemoveServer,
    RemoveService,
)
from ood.balancer.core.state import ServerKey, ServerSettings, VirtualKey, VirtualSettings
from ood.balancer.report import describe

SIX = VirtualKey(6, 17, bytes(15) + b"\x01", 53)
MARK = VirtualKey(4, 0, b"", 0, 7)
SERVER = ServerKey(bytes([10, 0, 0, 1]), 80)
WEIGHT = ServerSettings(0, 4)


class WordsTests(SynchronousTestCase):
    def test_steps(self):
        """Every kind of step names its service as a person would."""
        for step, words in (
            (AddService(SIX, VirtualSettings("rr")), "add udp [::1]:53 (rr)"),
            (EditService(MARK, VirtualSettings("wlc")), "change firewall mark 7 (wlc)"),
            (RemoveService(MARK), "remove firewall mark 7"),
            (AddServer(SIX, SERVER, WEIGHT), "add 10.0.0.1:80 (weight 4) to udp [::1]:53"),
            (EditServer(MARK, SERVER, WEIGHT), "change 10.0.0.1:80 (weight 4) of firewall mark 7"),
            (RemoveServer(MARK, SERVER), "remove 10.0.0.1:80 from firewall mark 7"),
        ):
            self.assertEqual(describe(step), words)


class RateTests(SynchronousTestCase):
    def test_a_steady_rate_is_found(self):
        """Samples approach the rate by quarters, and it fades when nothing comes."""
        meter = Meter()
        found = []
        for _ in range(40):
            meter.bytes_in += 1000 * SAMPLE_SECONDS
            meter.sample()
            found.append(meter.traffic().bytes_in_per_second)
        self.assertEqual((found[0], found[-1]), (250, 1000))
        for _ in range(40):
            meter.sample()
        self.assertEqual(meter.traffic().bytes_in_per_second, 0)
