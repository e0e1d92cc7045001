"""Tests of :mod:`ood.events`."""

from __future__ import annotations

from datetime import datetime, timezone

from twisted.trial.unittest import SynchronousTestCase

from ood.events import EVENTS_KEPT, Event, EventBus


def at_noon() -> datetime:
    """Return a moment."""
    return datetime(2026, 1, 2, 12, 0, 0, 5000, timezone.utc)


class EventBusTests(SynchronousTestCase):
    """Tests of the bus."""

    def setUp(self) -> None:
        self.bus = EventBus(at_noon)

    def test_told_in_order_with_growing_ids(self) -> None:
        """A subscriber gets each event with its time and data, until it ends that."""
        got: list[Event] = []
        end = self.bus.subscribe(got.append)
        self.bus.publish("death", "worker 0 died", "shop", signal="SIGKILL")
        self.bus.publish("errored", "shop is errored", "shop")
        end()
        self.bus.publish("recovered", "shop answers", "shop")
        self.assertEqual([(one.id, one.kind) for one in got], [(1, "death"), (2, "errored")])
        self.assertEqual(got[0].time, "2026-01-02T12:00:00.005Z")
        self.assertEqual(got[0].data, {"signal": "SIGKILL"})

    def test_a_failing_subscriber_hinders_nobody(self) -> None:
        """The error is logged, and the next subscriber is told."""

        def fail(_event: Event) -> None:
            raise RuntimeError("broken")

        got: list[Event] = []
        self.bus.subscribe(fail)
        self.bus.subscribe(got.append)
        self.bus.publish("death", "worker 0 died")
        self.assertEqual(len(got), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_reader_catches_up_or_learns_that_it_cannot(self) -> None:
        """What is kept is given; ids that are too old, or not given yet, are told apart."""
        self.assertEqual(self.bus.after(0), [])
        for number in range(EVENTS_KEPT + 2):
            self.bus.publish("worker", str(number))
        caught_up = self.bus.after(EVENTS_KEPT)
        assert caught_up is not None
        self.assertEqual([one.id for one in caught_up], [EVENTS_KEPT + 1, EVENTS_KEPT + 2])
        self.assertEqual(len(self.bus.after(2) or ()), EVENTS_KEPT)
        self.assertIsNone(self.bus.after(1))
        self.assertIsNone(self.bus.after(EVENTS_KEPT + 3))
