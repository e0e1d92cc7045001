"""Who is told what, and when."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.errors import InvalidError
from ood.model.document import Settings
from ood.model.event import Event
from ood.model.notify import DEFAULT_EVENTS, Target, mask
from ood.model.schema import changed_settings, check_settings
from ood.notify.core import message
from ood.notify.core.coalesce import (
    HOUR_SECONDS,
    KEYS_MAX,
    MESSAGES_PER_HOUR_MAX,
    WINDOW_SECONDS,
    Batch,
    Coalescer,
)

HOOK = "https://hooks.example/services/T0/B0/verysecret"


def event(number: int = 1, kind: str = "death", app: str = "site", **data: Any) -> Event:
    time = f"2026-01-01T00:00:{number % 60:02}.000Z"
    return Event(id=number, time=time, kind=kind, app=app, text=f"{app} {kind}", data=data)


class CoalesceTests(SynchronousTestCase):
    """Few messages for many events."""

    def test_first_at_once(self) -> None:
        """The first one at once, what follows as one message with a count."""
        one = Coalescer()
        self.assertIsNone(one.due(0.0))
        one.take(event(1))
        self.assertEqual(one.due(10.0), 10.0)
        self.assertEqual(one.ready(10.0), [Batch(event(1), 1, event(1).time)])
        for number in range(2, 6):
            one.take(event(number))
        self.assertEqual(one.ready(10.0 + WINDOW_SECONDS - 1), [])
        self.assertEqual(one.due(11.0), 10.0 + WINDOW_SECONDS)
        self.assertEqual(one.ready(10.0 + WINDOW_SECONDS), [Batch(event(5), 4, event(2).time)])
        one.take(event(6))
        self.assertEqual(one.ready(10.0 + 3 * WINDOW_SECONDS)[0].count, 1, "after a rest, at once")

    def test_apart(self) -> None:
        """Another app or kind does not wait."""
        one = Coalescer()
        for number, (app, kind) in enumerate((("a", "death"), ("b", "death"), ("a", "errored"))):
            one.take(event(number, kind, app))
            self.assertEqual(len(one.ready(0.0)), 1)

    def test_hour(self) -> None:
        """Never more than some messages an hour; what waits is told when there is room."""
        one = Coalescer()
        for number in range(MESSAGES_PER_HOUR_MAX + 5):
            one.take(event(number, app=f"app{number}"))
        self.assertEqual(len(one.ready(0.0)), MESSAGES_PER_HOUR_MAX)
        self.assertEqual(one.due(1.0), HOUR_SECONDS)
        self.assertEqual(len(one.ready(HOUR_SECONDS)), 5)
        self.assertIsNone(one.due(HOUR_SECONDS))

    def test_rest(self) -> None:
        """At the end everything that waits is told."""
        one = Coalescer()
        one.take(event(1))
        one.ready(0.0)
        one.take(event(2))
        one.take(event(3))
        self.assertEqual([batch.count for batch in one.rest()], [2])
        self.assertEqual(one.rest(), [])

    @given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.integers(0, 900))))
    def test_nothing_is_lost(self, steps: list[tuple[int, str, int]]) -> None:
        """Every event is in the count of one message; windows are kept."""
        one, now, told = Coalescer(), 0.0, 0
        last: dict[str, float] = {}
        for count, app, pause in steps:
            for _ in range(count):
                one.take(event(app=app))
            now += pause
            for batch in one.ready(now):
                told += batch.count
                self.assertGreaterEqual(now - last.get(batch.event.app, -1e9), WINDOW_SECONDS)
                last[batch.event.app] = now
        told += sum(batch.count for batch in one.rest())
        self.assertEqual(told, sum(count for count, _, _ in steps))

    def test_bounded(self) -> None:
        """However many apps there are, memory is bounded and all are counted."""
        one = Coalescer()
        for number in range(KEYS_MAX + 50):
            one.take(event(number, app=str(number)))
        rest = one.rest()
        self.assertEqual(
            (len(rest), sum(batch.count for batch in rest)), (KEYS_MAX + 1, KEYS_MAX + 50)
        )


class MessageTests(SynchronousTestCase):
    """What is told."""

    def test_wants(self) -> None:
        """By default what somebody may have to act on; else just what is named."""
        plain = Target(webhook=HOOK)
        for kind in DEFAULT_EVENTS:
            self.assertTrue(message.wants(plain, event(kind=kind, outcome="failed")))
        self.assertFalse(message.wants(plain, event(kind="worker")))
        renewed = event(kind="certificate", outcome="obtained")
        self.assertFalse(message.wants(plain, renewed))
        self.assertTrue(message.wants(Target(webhook=HOOK, events=("certificate",)), renewed))
        self.assertTrue(message.wants(Target(webhook=HOOK, events=("all",)), event(kind="worker")))
        some = Target(webhook=HOOK, events=("errored",), apps=("shop",))
        self.assertFalse(message.wants(some, event(kind="errored")))
        self.assertFalse(message.wants(some, event(app="shop")))
        self.assertTrue(message.wants(some, event(kind="errored", app="shop")))

    def test_chat(self) -> None:
        """Slack's control characters are text, nobody is called, and it is never too long."""
        one = Event(id=1, time="t", kind="death", app="x", text="<!channel> & @everyone" * 200)
        body = message.chat(Batch(one), "host")
        self.assertIn("&lt;!channel&gt; &amp; @everyone", body["text"])
        self.assertLessEqual(len(body["content"]), 2000)
        self.assertEqual(body["allowed_mentions"], {"parse": []})
        self.assertEqual(body["event"]["kind"], "death")
        json.dumps(body)

    def test_count(self) -> None:
        """A message for several events says so."""
        batch = Batch(event(5), 4, "2026-01-01T00:00:02.000Z")
        text = "[h] site death (4 such events since 2026-01-01T00:00:02.000Z)"
        self.assertEqual(message.sentence(batch, "h"), text)
        environment = message.environment(batch, "h")
        self.assertEqual(environment["OOD_EVENT_COUNT"], "4")
        self.assertEqual(environment["OOD_EVENT_KIND"], "death")

    def test_no_nul(self) -> None:
        """What no variable can hold is left out."""
        one = Event(id=1, time="t", kind="death", app="x", text="a\0b")
        self.assertEqual(message.environment(Batch(one), "h")["OOD_EVENT_TEXT"], "ab")


class SettingTests(SynchronousTestCase):
    """The setting ``notify``."""

    def parsed(self, value: Any) -> tuple[Target, ...]:
        return check_settings({"notify": value}).notify

    def test_right(self) -> None:
        """Objects, a list or one, as JSON or its text."""
        hook = {"webhook": HOOK, "events": ["death"], "apps": ["site"]}
        run = {"command": ["/bin/page", "a b"]}
        expected = (
            Target(webhook=HOOK, events=("death",), apps=("site",)),
            Target(command=("/bin/page", "a b")),
        )
        self.assertEqual(self.parsed([hook, run]), expected)
        self.assertEqual(self.parsed(json.dumps([hook, run])), expected)
        self.assertEqual(self.parsed(json.dumps(run)), expected[1:])
        self.assertEqual(self.parsed([]), ())

    def test_wrong(self) -> None:
        """Refused with the reason, which does not repeat the URL."""
        for value, why in (
            ("[", "not valid JSON"),
            (3, "not a list"),
            ([3], "an object with"),
            ([{}], "either a command or a webhook"),
            ([{"webhook": HOOK, "command": ["x"]}], "either a command or a webhook"),
            ([{"webhook": "ftp://x/verysecret"}], "begins with http"),
            ([{"webhook": "https:///verysecret"}], "begins with http"),
            ([{"webhook": HOOK, "events": ["deaths"]}], "no events"),
            ([{"url": HOOK}], "has no"),
            ([{"command": []}], "either a command"),
            ([{"command": ["x"]}] * 17, "more than 16"),
        ):
            error = self.assertRaises(InvalidError, self.parsed, value)
            self.assertIn(why, str(error), value)
            self.assertNotIn("verysecret", str(error))

    def test_masked(self) -> None:
        """A masked URL tells host and nothing more, and stands for the stored one."""
        self.assertRegex(
            mask("https://u:pw@h.example:8443/a?b#c"), r"^https://h\.example:8443/\*\*\*#"
        )
        self.assertNotIn("verysecret", mask(HOOK))
        stored = Settings(notify=(Target(webhook=HOOK), Target(webhook=HOOK + "2")))
        change = {"notify": [{"webhook": mask(HOOK + "2"), "events": ["death"]}]}
        changed = changed_settings(stored, change)
        self.assertEqual(changed.notify, (Target(webhook=HOOK + "2", events=("death",)),))
        other = {"notify": [{"webhook": mask(HOOK + "3")}]}
        self.assertRaises(InvalidError, changed_settings, stored, other)
        self.assertEqual(changed_settings(stored, {"apiPort": 4}).notify, stored.notify)
