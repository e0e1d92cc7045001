from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.core.balance import at_random, least_busy, of_two, round_robin
from ood.proxy.core.wellness import Wellness
from ood.rendezvous import address_key, by_key


@dataclass(eq=False)
class Server:
    name: str
    weight: int = 1
    busy: int = 0
    turn: int = 0

    @property
    def place(self) -> bytes:
        return self.name.encode()


weights = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def servers(*weights: int) -> list[Server]:
    return [Server(chr(97 + number), weight) for number, weight in enumerate(weights)]


class BalanceTests(SynchronousTestCase):
    @given(weights)
    def test_round_robin(self, weights: list[int]) -> None:
        """Over one round each server has exactly its share."""
        there = servers(*weights)
        counts = Counter(round_robin(there).name for _ in range(sum(weights)))
        self.assertEqual({one.name: one.weight for one in there}, dict(counts))

    def test_round_robin_spreads(self) -> None:
        """A heavy server's turns do not all come in a row."""
        there = servers(5, 1, 1)
        self.assertEqual("aabacaa", "".join(round_robin(there).name for _ in range(7)))

    @given(weights)
    def test_least_busy(self, weights: list[int]) -> None:
        """Requests that all stay spread by weight, to within one."""
        there = servers(*weights)
        for _ in range(10 * sum(weights)):
            least_busy(there).busy += 1
        for one in there:
            self.assertLessEqual(abs(one.busy - 10 * one.weight), 1)

    def test_least_busy_when_idle(self) -> None:
        """Requests that end at once are shared out, too: not all go to the first."""
        there = servers(1, 1, 1)
        self.assertEqual(3, len({least_busy(there).name for _ in range(3)}))

    @given(weights)
    def test_least_busy_one_by_one(self, weights: list[int]) -> None:
        """Requests that come one after the other are shared out by weight, as round robin."""
        there = servers(*weights)
        counts = Counter(least_busy(there).name for _ in range(sum(weights)))
        self.assertEqual({one.name: one.weight for one in there}, dict(counts))

    def test_at_random(self) -> None:
        """A server has its share of the numbers from 0 to 1."""
        there = servers(1, 3)
        counts = Counter(at_random(there, number / 1000).name for number in range(1000))
        self.assertEqual({"a": 250, "b": 750}, dict(counts))
        self.assertEqual("b", at_random(there, 1.0).name)

    def test_of_two(self) -> None:
        """The busier one of two is passed over; idle ones have their share by weight."""
        there = servers(1, 3)
        counts = Counter(of_two(there, number / 1000, 0.5).name for number in range(1000))
        self.assertEqual({"a": 250, "b": 750}, dict(counts))
        there[1].busy = 3
        self.assertEqual("a", of_two(there, 0.9, 0.5).name)
        there[0].busy = 1  # as much for its weight
        self.assertEqual("b", of_two(there, 0.9, 0.5).name)

    @given(st.lists(st.floats(0, 1), min_size=200, max_size=200))
    def test_of_two_spreads(self, chances: list[float]) -> None:
        """The busiest of three that all hold their requests is never chosen but by a tie."""
        there = servers(1, 1, 1)
        for chance, second in zip(chances[::2], chances[1::2], strict=True):
            most = max(one.busy for one in there)
            chosen = of_two(there, chance, second)
            alone = sum(one.busy == most for one in there) == 1
            self.assertFalse(alone and chosen.busy == most, [one.busy for one in there])
            chosen.busy += 1

    def test_by_key(self) -> None:
        """Keys are spread by weight; when a server goes, only its own keys move."""
        there = servers(1, 1, 2)
        before = {number: by_key(there, b"%d" % number) for number in range(2000)}
        counts = Counter(one.name for one in before.values())
        self.assertTrue(400 < counts["a"] < 600 and 900 < counts["c"] < 1100, counts)
        left = there[1:]
        for number, one in before.items():
            if one is not there[0]:
                self.assertIs(one, by_key(left, b"%d" % number))

    def test_addresses(self) -> None:
        """An IPv6 client is its network, a mapped IPv4 address what it maps."""
        same = address_key("2001:db8:1:2::3")
        self.assertEqual(same, address_key("2001:db8:1:2:ffff::4"))
        self.assertNotEqual(same, address_key("2001:db8:1:3::3"))
        self.assertEqual(address_key("192.0.2.1"), address_key("::ffff:192.0.2.1"))
        self.assertNotEqual(address_key("192.0.2.1"), address_key("192.0.2.2"))
        self.assertEqual(b"unix", address_key("unix"))


class WellnessTests(SynchronousTestCase):
    def test_checks(self) -> None:
        """It takes some failures to take a server out, and two good checks to bring it back."""
        one = Wellness().after_check(None, 3)
        one = one.after_check("no", 3).after_check("no", 3)
        self.assertTrue(one.usable(0))
        one = one.after_check("no", 3)
        self.assertFalse(one.usable(0))
        self.assertEqual("no", one.reason)
        one = one.after_check(None, 3)
        self.assertFalse(one.usable(0))
        one = one.after_check(None, 3)
        self.assertTrue(one.usable(0))
        self.assertEqual("", one.reason)

    def test_the_first_check(self) -> None:
        """Before the first check a server is used; the first one decides at once."""
        self.assertTrue(Wellness().usable(0))
        self.assertFalse(Wellness().after_check("no", 3).usable(0))

    def test_a_streak(self) -> None:
        """Only failures in a row count."""
        one = Wellness().after_check(None, 2)
        for _ in range(5):
            one = one.after_check("no", 2).after_check(None, 2)
        self.assertTrue(one.usable(0))

    def test_requests(self) -> None:
        """Lost requests in a row take it out for a time; then the next loss does again."""
        one = Wellness(checked=True)
        for _ in range(2):
            one = one.after_failure("lost", 100, 3, 10)
        self.assertTrue(one.usable(100))
        one = one.after_failure("lost", 100, 3, 10)
        self.assertFalse(one.usable(109))
        self.assertTrue(one.usable(110))
        self.assertFalse(one.after_failure("lost", 111, 3, 10).usable(120))
        self.assertTrue(one.after_answer().usable(101))
        self.assertEqual("", one.after_answer().reason)

    def test_a_good_check_is_no_answer(self) -> None:
        """A server that accepts connections and loses requests stays out for its time."""
        one = Wellness(checked=True).after_failure("lost", 100, 1, 10).after_check(None, 3)
        self.assertFalse(one.usable(105))
        self.assertEqual("lost", one.reason)
