"""What is decided about certificates: names, moments, words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.certs.core.keeping import Facts, why_unfit, why_worse
from ood.certs.core.names import covers, is_local, why_not_public, wildcard_of
from ood.certs.core.plan import plan
from ood.certs.core.problems import DETAIL_CHARACTERS, MEANINGS, in_words
from ood.certs.core.schedule import (
    FAILURE_PAUSES_SECONDS,
    HOPELESS_PAUSE_SECONDS,
    ORDERS_MAX,
    ORDERS_WINDOW_SECONDS,
    RETRY_AFTER_MAX_SECONDS,
    OrderRate,
    Span,
    Standing,
    Window,
    next_change,
    pause_after,
    standing,
)
from ood.certs.errors import problem_of

DAY = 86_400.0


class NameTests(SynchronousTestCase):
    """Which names a CA is asked for."""

    def test_public(self) -> None:
        """Names of the Internet, wildcards and punycode among them."""
        for name in ("example.com", "*.example.com", "xn--bcher-kva.example", "a.b.c.de"):
            self.assertEqual(why_not_public(name), "", name)
            self.assertFalse(is_local(name), name)

    def test_not_public(self) -> None:
        """Everything that means nothing outside, or that no CA signs, with the reason."""
        for name, reason in (
            ("localhost", "single word"),
            ("shop.localhost", "below .localhost"),
            ("printer.local", "below .local"),
            ("db.internal", "below .internal"),
            ("shop.test", "below .test"),
            ("nas.home.arpa", "below .home.arpa"),
            ("1.168.192.in-addr.arpa", "below .arpa"),
            ("x.onion", "below .onion"),
            ("intranet", "single word"),
            ("*.com", "single word"),
            ("192.0.2.1", "is an address"),
            ("2001:db8::1", "is an address"),
            ("my_shop.example.com", "my_shop in"),
            ("-a.example.com", "-a in"),
            ("a..example.com", "an empty label in"),
        ):
            self.assertIn(reason, why_not_public(name), name)

    def test_local(self) -> None:
        """ood vouches for names of one's own network, but not for words and wildcards."""
        for name in ("localhost", "shop.localhost", "a.b.test", "nas.home.arpa"):
            self.assertTrue(is_local(name), name)
        for name in ("intranet", "*.localhost", "mylocalhost", "192.168.0.1"):
            self.assertFalse(is_local(name), name)

    def test_covers(self) -> None:
        """A wildcard stands for exactly one label."""
        names = ("example.com", "*.example.com")
        self.assertTrue(covers(names, "example.com"))
        self.assertTrue(covers(names, "a.example.com"))
        self.assertTrue(covers(names, "*.example.com"))
        self.assertFalse(covers(names, "a.b.example.com"))
        self.assertFalse(covers(["*.example.com"], "example.com"))
        self.assertFalse(covers(["a.example.com"], "*.example.com"))
        self.assertEqual(wildcard_of("a.b.example.com"), "*.b.example.com")


class PlanTests(SynchronousTestCase):
    """From apps to names."""

    def test_plan(self) -> None:
        """Public names of running apps are ordered; the others have a reason, or are local."""
        hosts = {
            "shop.example.com": ("shop.example.com", "*.shop.example.com", "shop.localhost"),
            "old.example.com": ("old.example.com", "old.localhost"),
            "api": ("intranet", "api.localhost", "shop.example.com"),
        }
        made = plan(hosts, ["shop.example.com", "api"])
        self.assertEqual(made.public, ("shop.example.com", "*.shop.example.com"))
        self.assertEqual(
            made.local, {"localhost", "shop.localhost", "old.localhost", "api.localhost"}
        )
        self.assertEqual(list(made.without), ["intranet"])
        self.assertEqual(made.apps_of(["shop.example.com"]), ("shop.example.com", "api"))
        self.assertEqual(made.apps_of(["*.example.com"])[1:], ("old.example.com", "api"))


class ScheduleTests(SynchronousTestCase):
    """When what is due."""

    def test_ninety_days(self) -> None:
        """Due at 30 days, overdue at 15."""
        span = Span(0, 90 * DAY)
        for day, expected in (
            (0, Standing.VALID),
            (59, Standing.VALID),
            (61, Standing.REISSUE),
            (74, Standing.REISSUE),
            (76, Standing.PANIC),
            (100, Standing.PANIC),
        ):
            self.assertEqual(standing(span, day * DAY), expected, day)
        self.assertEqual(next_change(span), 60 * DAY)

    def test_short(self) -> None:
        """Lifetimes shrink: a third and a sixth of what there is."""
        for days in (64, 45, 6):
            span = Span(0, days * DAY)
            self.assertEqual(standing(span, days * DAY * 0.66), Standing.VALID)
            self.assertEqual(standing(span, days * DAY * 0.68), Standing.REISSUE)
            self.assertEqual(standing(span, days * DAY * 0.84), Standing.PANIC)

    def test_window(self) -> None:
        """What the CA wants makes it due earlier, never later, and not within hours."""
        span = Span(0, 90 * DAY)
        window = Window(20 * DAY, 30 * DAY, 25 * DAY, 0)
        self.assertEqual(standing(span, 24 * DAY, window), Standing.VALID)
        self.assertEqual(standing(span, 25 * DAY, window), Standing.REISSUE)
        self.assertEqual(next_change(span, window), 25 * DAY)
        late = Window(80 * DAY, 81 * DAY, 80 * DAY, 0)
        self.assertEqual(standing(span, 61 * DAY, late), Standing.REISSUE)
        past = Window(0, 1, 0, 0)
        self.assertEqual(standing(span, 3600, past), Standing.VALID)
        self.assertEqual(standing(span, 7 * 3600, past), Standing.REISSUE)

    @given(
        life=st.floats(60, 400 * DAY),
        now=st.floats(-DAY, 500 * DAY),
    )
    def test_next_change(self, life: float, now: float) -> None:
        """What is valid becomes due at the moment that was told, not before."""
        span = Span(0, life)
        valid = standing(span, now) is Standing.VALID
        self.assertEqual(valid, now < next_change(span))

    def test_pauses(self) -> None:
        """As CertMagic: 1, 2, 2, 5, 10 minutes and on to 6 hours; after 30 days once a day."""
        minutes = [pause_after(count) / 60 for count in range(1, 8)]
        self.assertEqual(minutes, [1, 2, 2, 5, 10, 20, 20])
        self.assertEqual(pause_after(12), 6 * 3600)
        self.assertEqual(pause_after(100), 6 * 3600)
        self.assertEqual(pause_after(1000), HOPELESS_PAUSE_SECONDS)
        total = sum(pause_after(count) for count in range(1, len(FAILURE_PAUSES_SECONDS) + 117))
        self.assertLess(abs(total / DAY - 30), 1)

    def test_retry_after(self) -> None:
        """The CA's wish makes a pause longer, never shorter, and not endless."""
        self.assertEqual(pause_after(1, 7200), 7200)
        self.assertEqual(pause_after(12, 5), 6 * 3600)
        self.assertEqual(pause_after(1, 1e12), RETRY_AFTER_MAX_SECONDS)

    @given(st.lists(st.floats(0, 5), max_size=60))
    def test_rate(self, steps: list[float]) -> None:
        """No window holds more than ten orders, whenever they are asked for."""
        rate, now, places = OrderRate(), 0.0, []
        for step in steps:
            now += step
            wait = rate.reserve(now)
            self.assertGreaterEqual(wait, 0)
            places.append(now + wait)
        self.assertEqual(places, sorted(places))
        for first, next_one in zip(places, places[ORDERS_MAX:], strict=False):
            self.assertGreaterEqual(next_one - first, ORDERS_WINDOW_SECONDS - 1e-6)


class KeepingTests(SynchronousTestCase):
    """What is worse."""

    def test_worse(self) -> None:
        """Fewer names, or an earlier end by the same terms; nothing is worse than expired."""
        old = Facts(("a.de", "b.de"), Span(0, 100), "x")
        same = Facts(("b.de", "a.de"), Span(10, 110), "x")
        self.assertEqual(why_worse(None, same, 50), "")
        self.assertEqual(why_worse(old, same, 50), "")
        self.assertIn("b.de", why_worse(old, Facts(("a.de",), Span(10, 110), "x"), 50))
        earlier = Facts(("a.de", "b.de"), Span(10, 90), "x")
        self.assertIn("before", why_worse(old, earlier, 50))
        self.assertEqual(why_worse(old, Facts(old.names, Span(10, 90), "y"), 50), "")
        self.assertEqual(why_worse(old, Facts(("c.de",), Span(100, 101), "x"), 100), "")

    def test_unfit(self) -> None:
        """What does not serve the name now."""
        facts = Facts(("*.a.de",), Span(0, 100))
        self.assertEqual(why_unfit(facts, ["x.a.de"], 50), "")
        self.assertIn("a.de", why_unfit(facts, ["a.de"], 50))
        self.assertIn("expired", why_unfit(facts, ["x.a.de"], 100))


class ProblemTests(SynchronousTestCase):
    """Errors of CAs in words."""

    def test_known(self) -> None:
        """Every known type has a meaning, and the CA's own words follow."""
        for kind, meaning in MEANINGS.items():
            self.assertEqual(in_words(kind, " no\n good "), f"{meaning}: no good")

    def test_unknown(self) -> None:
        """A type that nobody knows, an endless text, and an answer that is no object."""
        self.assertEqual(in_words("odd", "hm"), "the CA says: hm")
        self.assertLess(len(in_words("dns", "x" * 10_000)), DETAIL_CHARACTERS + 60)
        for plain in (None, [], {"type": 7, "detail": {}}, {"subproblems": [1, {}]}):
            self.assertTrue(problem_of(plain, 500).message)

    def test_account(self) -> None:
        """Who is not authorized by an answer, and not by a validation, is us."""
        plain = {"type": "urn:ietf:params:acme:error:unauthorized", "detail": "no"}
        self.assertIn("does not accept the account", problem_of(plain, 403).message)
        self.assertIn("something else answers", problem_of(plain).message)
        self.assertEqual(problem_of(plain, 403).kind, "unauthorized")

    def test_subproblems(self) -> None:
        """The parts of a problem are told."""
        parts = [{"detail": "a is wrong"}, {"detail": "b too"}]
        error = problem_of({"type": "urn:ietf:params:acme:error:dns", "subproblems": parts})
        self.assertIn("a is wrong; b too", error.message)
        self.assertEqual(error.kind, "dns")
