"""Counts of requests, and what the last seconds were like."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.traffic import histogram
from ood.traffic.meter import WINDOW_SECONDS, Tally, lately

DURATIONS = st.lists(st.floats(0, 20_000), min_size=1, max_size=200)


class HistogramTests(SynchronousTestCase):
    """Buckets and quantiles."""

    @given(DURATIONS, st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
    def test_quantile(self, durations: list[float], share: float) -> None:
        """The quantile lies in the bucket in which the true one lies."""
        counts = [0] * histogram.BUCKETS
        for one in durations:
            counts[histogram.bucket(one)] += 1
        rank = max(1, -int(-share * len(durations) // 1))
        true = sorted(durations)[min(rank, len(durations)) - 1]
        index = histogram.bucket(true)
        found = histogram.quantile(counts, share)
        assert found is not None
        bounds = (0.0, *histogram.BOUNDS_MS)
        upper = bounds[min(index + 1, len(bounds) - 1)]
        self.assertTrue(bounds[index] <= found <= upper, (found, bounds[index], upper))

    def test_nothing(self) -> None:
        """Without requests there is no quantile."""
        self.assertIsNone(histogram.quantile([0] * histogram.BUCKETS, 0.5))


class TallyTests(SynchronousTestCase):
    """What was counted, and when."""

    def test_window(self) -> None:
        """Only the last seconds count; what is over is forgotten, also when nothing comes."""
        tally = Tally()
        for second in range(100):
            tally.count(float(second), 500 if second % 2 else 200, 0.003, 10)
        recent = lately([tally], 99.0)
        self.assertEqual(recent.requests_per_second, 1.1)  # 89 to 99
        self.assertEqual(recent.errors_per_second, 0.6)
        assert recent.p50_ms is not None
        self.assertTrue(2.5 < recent.p50_ms < 5)
        self.assertEqual(lately([tally], 99.0 + WINDOW_SECONDS + 0.1).p50_ms, None)
        self.assertEqual(sum(tally.classes), 100)
        self.assertEqual(tally.size, 1000)

    @given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from([200, 404, 503])), max_size=60))
    def test_bounds(self, steps: list[tuple[float, int]]) -> None:
        """The window never has less than the last 10 s, nor more than 1 s beyond them."""
        tally, now, all_times = Tally(), 0.0, []
        for pause, status in steps:
            now += pause
            all_times.append(now)
            tally.count(now, status, 0.001, 0)
        counts, _ = tally.window(now)
        within = sum(time >= now - WINDOW_SECONDS + 1 for time in all_times)
        beyond = sum(time >= now - WINDOW_SECONDS for time in all_times)
        self.assertTrue(within <= sum(counts) <= beyond, (within, sum(counts), beyond))

    def test_together(self) -> None:
        """Several ways count as one app."""
        one, two = Tally(), Tally()
        one.count(0.0, 200, 0.001, 0)
        two.add(0.0, [0, 0, 0, 0, 0, 3], [0] * 14 + [3], seconds=60.0, size=5)
        recent = lately([one, two], 1.0)
        self.assertEqual((recent.requests_per_second, recent.errors_per_second), (0.4, 0.3))
        self.assertEqual(recent.p99_ms, 10_000)
