"""The pure schedulers' rules; the kernel confirms them choice by choice elsewhere."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.balancer.core.hashing import MAGLEV_SLOTS, MaglevHashing, bucket_of, half_sip_hash
from ood.balancer.core.locality import UNCHANGED_SECONDS
from ood.balancer.core.pool import SCHEDULERS, Pool, masked
from ood.balancer.core.state import FLAG_BITS, ServerKey, ServerSettings, VirtualSettings
from ood.balancer.core.targets import Flow, Target, fold

VIP = bytes([10, 0, 0, 1])


def key(number):
    return ServerKey(bytes([10, 0, 1, number]), 80)


def pool(scheduler, *weights, flags=(), **settings):
    """Return a pool with servers 1, 2, 3 ... that joined in this order."""
    bits = sum(FLAG_BITS[flag] for flag in flags)
    made = Pool(VirtualSettings(scheduler, bits, **settings))
    for number, weight in enumerate(weights, 1):
        made.add(key(number), ServerSettings(0, weight))
    return made


def flow(last=1, port=1000, time=0.0):
    return Flow(bytes([10, 9, 9, last]), port, VIP, time)


def number(connection):
    return None if connection is None else connection.target.address[-1]


def opened(made, count, **fields):
    return [number(made.open(flow(**fields))) for _ in range(count)]


class CountingTests(SynchronousTestCase):
    def test_rr(self):
        """Newest first, round and round."""
        self.assertEqual(opened(pool("rr", 1, 5, 2), 6), [3, 2, 1, 3, 2, 1])

    def test_rr_keeps_its_place(self):
        """Who leaves or joins does not move the turn."""
        made = pool("rr", 1, 1, 1)
        self.assertEqual(opened(made, 2), [3, 2])
        made.remove(key(2))
        self.assertEqual(opened(made, 1), [1])
        made.add(key(4), ServerSettings(0, 1))
        self.assertEqual(opened(made, 3), [4, 3, 1])

    def test_wrr(self):
        """Weights 1:2:3 share 60 connections 10/20/30, spread over the round.

        The required weight still stands at 1, from the first server's joining.
        """
        made = pool("wrr", 1, 2, 3)
        self.assertEqual(opened(made, 12), [3, 2, 1, 3, 3, 2] * 2)
        self.assertEqual(Counter(opened(made, 60)), {1: 10, 2: 20, 3: 30})

    @given(st.lists(st.integers(0, 6), min_size=1, max_size=5))
    def test_wrr_is_exact(self, weights):
        """Over whole rounds every server gets its weight, whatever the weights are."""
        made = pool("wrr", *weights)
        found = Counter(opened(made, sum(weights) * 3))
        expected = {n: w * 3 for n, w in enumerate(weights, 1) if w}
        self.assertEqual(found, expected or Counter())

    def test_overhead(self):
        """One active connection weighs as much as 256 inactive ones, not more."""
        made = pool("lc", 1, 1)
        one, two = made.targets[1], made.targets[0]
        one.active, two.inactive = 1, 256
        self.assertEqual(opened(made, 1), [2])  # a tie goes to the first in the list
        self.assertEqual(opened(made, 1), [1])

    def test_wlc(self):
        """Open connections follow the weights."""
        made = pool("wlc", 1, 2, 3)
        for _ in range(12):
            made.open(flow()).established()
        self.assertEqual([target.active for target in made.targets], [6, 4, 2])

    def test_sed_and_nq(self):
        """sed waits for the fast one; nq takes the idle one first."""
        for scheduler, expected in (("sed", [2, 2, 2]), ("nq", [2, 1, 2])):
            made = pool(scheduler, 1, 4)
            found = []
            for _ in range(3):
                connection = made.open(flow())
                connection.established()
                found.append(number(connection))
            self.assertEqual(found, expected, scheduler)

    def test_fo_and_ovf(self):
        """fo keeps to the heaviest; ovf until it carries more than its weight."""
        self.assertEqual(opened(pool("fo", 1, 3, 2), 5), [2] * 5)
        made = pool("ovf", 1, 3, 2)
        found = []
        for _ in range(6):
            connection = made.open(flow())
            connection.established()
            found.append(number(connection))
        self.assertEqual(found, [2, 2, 2, 2, 3, 3])

    def test_nobody(self):
        """Every scheduler refuses when nobody is usable, and recovers."""
        for scheduler in SCHEDULERS:
            made = pool(scheduler)
            self.assertIsNone(made.open(flow()), scheduler)
            made.add(key(1), ServerSettings(0, 0))
            self.assertIsNone(made.open(flow()), scheduler)
            made.edit_server(key(1), ServerSettings(0, 1))
            self.assertEqual(opened(made, 1), [1], scheduler)


class HashingTests(SynchronousTestCase):
    def test_sip_hash(self):
        """The value by which the kernel was seen to choose (see the differential test)."""
        self.assertEqual(half_sip_hash(0x01020304, 2654435761), 0x4452D6A7)

    def test_sh_spreads_by_weight(self):
        """A server fills as many buckets in a row as it weighs."""
        made = pool("sh", 1, 3)
        opened(made, 1)
        found = Counter(number(made.open(Flow(n.to_bytes(4, "big"), 1, VIP))) for n in range(2000))
        self.assertLess(abs(found[2] / found[1] - 3), 0.5)

    def test_sh_fallback(self):
        """Without the flag a client whose server is quiesced is refused."""
        for flags, expected in ((), {None, 1}), (("sh-fallback",), {1}):
            made = pool("sh", 1, 1, flags=flags)
            made.edit_server(key(2), ServerSettings(0, 0))
            found = {number(made.open(flow(last))) for last in range(40)}
            self.assertEqual(found, expected)

    def test_sh_port(self):
        """With the flag, a client's connections spread by their ports."""
        made = pool("sh", 1, 1, flags=["sh-port"])
        self.assertEqual({number(made.open(flow(port=p))) for p in range(1000, 1050)}, {1, 2})

    def test_flags_of_other_schedulers_mean_nothing(self):
        """sh's flags share bits with mh's; each scheduler heeds its own."""
        self.assertEqual(VirtualSettings("mh", 0x18).flag_names(), ("mh-fallback", "mh-port"))
        self.assertEqual(VirtualSettings("rr", 0x1C).flag_names(), ("one-packet",))

    def test_dh(self):
        """The destination alone decides."""
        made = pool("dh", 1, 1, 1)
        expected = [3, 2, 1][bucket_of(VIP) % 3]
        self.assertEqual(set(opened(made, 5)), {expected})

    @given(st.lists(st.integers(1, 9), min_size=2, max_size=6))
    def test_maglev_is_fair_and_steady(self, weights):
        """Slots go by weight, and few move when one server leaves."""
        targets = [Target(bytes([10, 0, 1, n]), 80, w) for n, w in enumerate(weights, 1)]
        before = list(MaglevHashing(targets).table)
        share = Counter(target.address for target in before)
        for target in targets:
            fair = MAGLEV_SLOTS * target.weight / sum(weights)
            self.assertLess(abs(share[target.address] / fair - 1), 0.05)
        gone = targets.pop()
        after = MaglevHashing(targets).table
        moved = sum(
            old is not new for old, new in zip(before, after, strict=True) if old is not gone
        )
        self.assertLess(moved, MAGLEV_SLOTS * 0.35)

    def test_fold(self):
        """IPv6 addresses are folded to the 32 bits that are hashed."""
        self.assertEqual(fold(bytes(15) + b"\x01"), 1)
        self.assertEqual(fold(bytes([0, 0, 0, 3] * 4)), 0)


class LocalityTests(SynchronousTestCase):
    def crowd(self, made, count):
        return [self.hold(made) for _ in range(count)]

    def hold(self, made, time=0.0):
        connection = made.open(flow(time=time))
        connection.established()
        return number(connection)

    def test_lblc_moves_when_crowded(self):
        """A destination stays until its server is over its weight and another one idles."""
        self.assertEqual(self.crowd(pool("lblc", 3, 3), 6), [2, 2, 2, 2, 1, 1])

    def test_lblcr_adds_and_shrinks(self):
        """A crowded destination gets a second server, and loses one after a quiet day."""
        made = pool("lblcr", 3, 3)
        self.assertEqual(self.crowd(made, 5), [2, 2, 2, 2, 1])
        self.assertEqual(self.hold(made), 1)
        self.hold(made, time=UNCHANGED_SECONDS + 1.0)
        made.targets[1].active = 0
        self.assertEqual(self.hold(made, time=UNCHANGED_SECONDS + 2.0), 1)


class ThresholdTests(SynchronousTestCase):
    def clears_at(self, upper, lower):
        """Return at how many connections a full server is usable again."""
        target = Target(VIP, 80, 1, upper, lower)
        for _ in range(upper):
            self.assertTrue(target.usable)
            target.bind()
        self.assertFalse(target.usable)
        while not target.usable:
            target.release(active=False)
        return target.connections

    def test_the_kernels_points(self):
        """Measured there: 6 clears at 4, 6 with 3 at 2."""
        self.assertEqual(self.clears_at(6, 0), 4)
        self.assertEqual(self.clears_at(6, 3), 2)

    def test_a_higher_limit_lifts_at_once(self):
        """Raising the limit, or removing it, needs no connection to end."""
        for upper in (7, 0):
            target = Target(VIP, 80, 1, 6, 3)
            for _ in range(6):
                target.bind()
            target.edit(1, upper, 0)
            self.assertTrue(target.usable)


class PersistenceTests(SynchronousTestCase):
    def setUp(self):
        self.pool = pool("rr", 1, 1, 1, timeout=300, netmask=0xFFFFFF00)

    def test_a_network_stays(self):
        """All clients of a network go to one server until the time-out."""
        self.assertEqual({number(self.pool.open(flow(last))) for last in range(9)}, {3})
        self.assertEqual(self.pool.counts(key(3)).persistent, 1)

    def test_it_expires(self):
        """A network that was away for the time-out since its last connection is scheduled anew."""
        self.pool.open(flow()).release()
        self.pool.open(flow(time=299)).release()
        self.assertEqual(number(self.pool.open(flow(time=599))), 2)

    def test_the_expired_are_swept(self):
        """Clients that do not come back are forgotten."""
        self.pool.open(flow()).release()
        self.pool.expire(301.0)
        self.assertEqual(self.pool.counts(key(3)).persistent, 0)

    def test_connections_extend_it(self):
        """While a connection remains, its client stays with its server."""
        connection = self.pool.open(flow())
        self.assertEqual(number(self.pool.open(flow(time=301))), 3)
        self.pool.expire(700.0)
        self.assertEqual(number(self.pool.open(flow(time=701))), 3)
        connection.release()

    def test_quiesced_servers_keep_clients(self):
        """Weight 0 does not move persistent clients; a server that left does."""
        self.pool.open(flow())
        self.pool.edit_server(key(3), ServerSettings(0, 0))
        self.assertEqual(opened(self.pool, 1), [3])
        self.pool.remove(key(3))
        self.assertEqual(opened(self.pool, 1), [2])

    def test_masks(self):
        """IPv4 by mask, IPv6 by prefix length."""
        self.assertEqual(masked(bytes([10, 1, 2, 3]), 0xFFFF0000), bytes([10, 1, 0, 0]))
        self.assertEqual(masked(bytes([255] * 16), 64), bytes([255] * 8 + [0] * 8))


class MembershipTests(SynchronousTestCase):
    def test_counts_resume(self):
        """A server that left with connections and joins again still has them."""
        made = pool("rr", 1)
        connection = made.open(flow())
        connection.established()
        made.remove(key(1))
        made.add(key(1), ServerSettings(0, 1))
        self.assertEqual(made.counts(key(1)), (1, 0, 0))
        connection.release()
        connection.release()
        self.assertEqual(made.counts(key(1)), (0, 0, 0))

    def test_those_who_left_are_forgotten(self):
        """Nothing is kept of a server whose last connection ended."""
        made = pool("rr", 1)
        connection = made.open(flow())
        made.remove(key(1))
        connection.release()
        made.expire(0.0)
        made.add(key(1), ServerSettings(0, 1))
        self.assertEqual(made.counts(key(1)), (0, 0, 0))

    def test_another_scheduler(self):
        """A service's scheduler can change under its connections."""
        made = pool("rr", 1, 1)
        opened(made, 1)
        made.edit(VirtualSettings("fo"))
        self.assertEqual(opened(made, 2), [2, 2])
