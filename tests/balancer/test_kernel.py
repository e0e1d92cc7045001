"""The kernel engine over the fake kernel: the contract, batches, errors of the socket."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.balancer.core.netlink import done
from ood.balancer.core.plan import AddServer, AddService
from ood.balancer.core.state import ServerKey
from ood.balancer.kernel import STEPS_PER_TURN, KernelEngine
from ood.balancer.netlink import BATCH_REQUESTS, Channel, IpvsUnavailableError
from ood.balancer.testing import FakeKernel
from tests.balancer.contract import CONTRACT, PLAIN, RR, SERVICE


class ContractTests(SynchronousTestCase):
    """The fake kernel keeps the contract; the real one is asked in tests/integration."""


for _name, _clause in CONTRACT.items():

    def _test(self, clause=_clause):
        clause(KernelEngine(Clock(), FakeKernel))

    _test.__doc__ = _clause.__doc__
    setattr(ContractTests, f"test_{_name}", _test)


def add_many(count):
    keys = [ServerKey(bytes([10, 0, n >> 8, n & 255]), 80) for n in range(count)]
    return [AddService(SERVICE, RR), *(AddServer(SERVICE, key, PLAIN) for key in keys)]


class BatchTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.kernel = FakeKernel()
        self.engine = KernelEngine(self.clock, lambda: self.kernel)

    def test_requests_share_datagrams(self):
        """A batch of requests is one datagram."""
        before = self.kernel.datagrams
        self.successResultOf(self.engine.execute(add_many(2 * BATCH_REQUESTS - 1)))
        self.assertEqual(self.kernel.datagrams - before, 2)

    def test_the_reactor_gets_turns(self):
        """A plan that is large is done in parts, with turns for others in between."""
        working = self.engine.execute(add_many(STEPS_PER_TURN + 1))
        self.assertNoResult(working)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(working), ())

    def test_closing_leaves_the_table(self):
        """The kernel keeps its services when ood goes."""
        self.successResultOf(self.engine.execute(add_many(1)))
        self.successResultOf(self.engine.close())
        self.assertTrue(self.kernel.closed)
        self.assertEqual(len(self.kernel.services), 1)


class Scripted:
    """A transport that says what a test wants."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def send(self, data):
        return len(data)

    def recv(self, size):
        if not self.answers:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return self.answers.pop(0)

    def close(self):
        pass


class UnavailableTests(SynchronousTestCase):
    def test_without_the_module(self):
        """A kernel without ip_vs is reported with what to do."""
        from ood.balancer.core.netlink import acknowledgement

        with self.assertRaises(IpvsUnavailableError) as caught:
            Channel(Scripted(acknowledgement(1, 2)), "IPVS")
        self.assertIn("load the module ip_vs", str(caught.exception))

    def test_silence(self):
        """A kernel that does not answer is an error, not a wait without end."""
        with self.assertRaises(IpvsUnavailableError) as caught:
            Channel(Scripted(), "IPVS")
        self.assertIn("did not answer", str(caught.exception))

    def test_an_interrupted_dump_is_repeated(self):
        """When the table changes under a dump, it is read again."""
        interrupted = bytearray(done(2))
        interrupted[6:8] = (2 | 0x10).to_bytes(2, "little")
        from ood.balancer.core.netlink import encode_family, request

        row = request(28, 1, 0x10 | 2, 2, b"")
        again = request(28, 1, 2, 3, b"")
        transport = Scripted(encode_family(1, "IPVS", 28), row, done(2), again, done(3))
        channel = Channel(transport, "IPVS")
        answers = channel.ask(4, 0x300)
        self.assertEqual([answer.sequence for answer in answers], [3])
