"""What services carry, as ``/metrics`` has it."""

from twisted.trial.unittest import SynchronousTestCase

from ood.balancer.core.state import Traffic
from ood.balancer.report import service_measures


class MeasureTests(SynchronousTestCase):
    """One service with one server that is quiesced."""

    def test_numbers(self):
        """Totals of both, by their ids; the weight of the server only."""
        server = {**Traffic(connections=2)._asdict(), "weight_in_use": 0}
        service = {**Traffic(connections=3, bytes_in=9)._asdict(), "servers": {"a-1": server}}
        found = {
            (one.name, *one.labels.values()): (one.value, one.total)
            for one in service_measures({"tcp-x-1": service})
        }
        self.assertEqual(found["ood_l4_service_connections", "tcp-x-1"], (3, True))
        self.assertEqual(found["ood_l4_service_bytes_in", "tcp-x-1"], (9, True))
        self.assertEqual(found["ood_l4_server_connections", "tcp-x-1", "a-1"], (2, True))
        self.assertEqual(found["ood_l4_server_weight", "tcp-x-1", "a-1"], (0, False))
        self.assertNotIn(("ood_l4_service_weight", "tcp-x-1"), found)
