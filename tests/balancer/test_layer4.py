"""Changes are kept and applied, or neither."""

from __future__ import annotations

from twisted.internet.defer import fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ood.balancer import testing
from ood.balancer.interfaces import ILayer4
from ood.balancer.kernel import KernelEngine
from ood.balancer.layer4 import Layer4
from ood.balancer.ownership import MemoryOwnership
from ood.balancer.service import BalancerService
from ood.balancer.testing import FakeKernel
from ood.errors import ConflictError, StoreError
from ood.model.servicecheck import read_services


def services(*ports, scheduler="rr"):
    return read_services([{"host": "10.0.0.1", "port": p, "scheduler": scheduler} for p in ports])


class Layer4Tests(SynchronousTestCase):
    def setUp(self):
        self.kernel = FakeKernel()
        clock = Clock()
        engine = KernelEngine(clock, lambda: self.kernel)
        self.balancer = BalancerService(engine, clock, MemoryOwnership(), lambda *_: succeed(None))
        self.balancer.startService()
        self.addCleanup(lambda: self.successResultOf(self.balancer.stopService()))
        self.kept = ()
        self.layer4 = Layer4(self.balancer, lambda: self.kept, self.commit)
        verifyObject(ILayer4, self.layer4)

    def commit(self, wanted):
        self.kept = wanted
        return succeed(None)

    def ports(self):
        return sorted(key.port for key in self.kernel.services)

    def test_both(self):
        """A change is in the store and in the kernel when its Deferred fires."""
        self.successResultOf(self.layer4.replace(services(80, 81)))
        self.assertEqual(([s.port for s in self.layer4.services()], self.ports()), ([80, 81],) * 2)
        self.assertIn("tcp-10_0_0_1-80", self.successResultOf(self.layer4.statistics()))

    def test_a_store_that_fails(self):
        """What could not be kept is not applied."""
        self.commit = lambda wanted: fail(StoreError("the disk is full"))
        self.layer4 = Layer4(self.balancer, lambda: self.kept, self.commit)
        self.failureResultOf(self.layer4.replace(services(80)), StoreError)
        self.assertEqual(self.ports(), [])

    def test_an_engine_that_refuses(self):
        """What could not be applied, be it a part, is undone and not kept."""
        self.successResultOf(self.layer4.replace(services(80)))
        self.patch(testing, "SCHEDULERS", ("rr",))
        wanted = services(80) + services(81, scheduler="wrr")
        failure = self.failureResultOf(self.layer4.replace(wanted), ConflictError)
        self.assertIn("nothing was changed: add tcp 10.0.0.1:81 (wrr)", str(failure.value))
        self.assertEqual((self.kept, self.ports()), (services(80), [80]))

    def test_old_troubles(self):
        """A service that fails anyway does not keep others from being changed."""
        schedulers = self.patch(testing, "SCHEDULERS", ("rr",))
        broken = services(81, scheduler="wrr")
        self.successResultOf(self.balancer.configure(broken))
        self.kept = broken
        self.successResultOf(self.layer4.replace(broken + services(82)))
        self.assertEqual(self.ports(), [82])
        schedulers.restore()
