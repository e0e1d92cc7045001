"""Which engine is chosen on this machine."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from ood.balancer.engines import choose_engine, make_balancer
from ood.balancer.interfaces import IEngineMaker
from ood.balancer.kernel import KernelEngine
from ood.balancer.netlink import IpvsUnavailableError
from ood.clock import MonotonicClock
from ood.errors import InvalidError, UnavailableError
from ood.registry import plugins


def has_ipvs():
    """Tell whether this process may configure the kernel: its table alone does not tell that."""
    try:
        KernelEngine(Clock()).close()
    except UnavailableError:
        return False
    return True


class ChoiceTests(TestCase):
    def setUp(self):
        self.clock = MonotonicClock(reactor)

    def test_unknown(self):
        """A wrong setting names the right ones."""
        with self.assertRaises(InvalidError) as caught:
            choose_engine("lvs", reactor, self.clock)
        self.assertIn("auto, ipvs, userspace", str(caught.exception))

    def test_auto(self):
        """The kernel where it can be configured, else the relay; ipvs insists."""
        engine, _ = choose_engine("auto", reactor, self.clock)
        self.addCleanup(engine.close)
        self.assertEqual(engine.name, "ipvs" if has_ipvs() else "userspace")
        if not has_ipvs():
            with self.assertRaises(IpvsUnavailableError) as caught:
                choose_engine("ipvs", reactor, self.clock)
            self.assertIn("balancerEngine", str(caught.exception))

    def test_makers(self):
        """The makers are plugins that keep their contract."""
        makers = plugins(IEngineMaker)
        self.assertEqual(set(makers), {"ipvs", "userspace"})
        for maker in makers.values():
            verifyObject(IEngineMaker, maker)

    async def test_a_whole_service(self):
        """What the composition root starts can be stopped, and leaves nothing behind."""
        balancer = make_balancer("userspace", reactor, self.clock, Path(self.mktemp()))
        balancer.startService()
        self.assertEqual(await balancer.configure(()), ())
        await balancer.stopService()
