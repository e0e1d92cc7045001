"""The issuing service over a CA in memory: what it does when, and what it never does."""

from __future__ import annotations

import stat
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ood.certs.core.schedule import FAILURE_PAUSES_SECONDS
from ood.certs.errors import AcmeError
from ood.certs.interfaces import ICertificateStore, IResponder
from ood.certs.pem import split_pem
from ood.certs.responders import TlsResponder
from tests.certs.ca import Machine, Other

NAME = "shop.example.com"
HOUR = 3600.0
DAY = 86_400.0


class IssuingCase(SynchronousTestCase):
    """A machine for each test."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.machine = Machine(self.directory)
        self.ca = self.machine.ca

    def pem(self, name: str = NAME) -> bytes:
        return (self.directory / "acme" / f"{name.replace('*', '_')}.pem").read_bytes()

    def serial(self, name: str = NAME) -> str:
        return self.machine.service.held[name].certificate.fingerprint


class FirstTests(IssuingCase):
    """Names without a certificate."""

    def test_fresh(self) -> None:
        """It is ordered at once, kept as key and chain, for nobody else to read."""
        service = self.machine.start(NAME)
        valid = service.when_certs_valid()
        self.machine.turn(10)
        self.successResultOf(valid)
        kinds = [one.splitlines()[0] for one in split_pem(self.pem())]
        self.assertEqual(kinds, [b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN CERTIFICATE-----"])
        for path in self.directory.rglob("*"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)
        self.assertEqual(list((self.directory / "orders").iterdir()), [])
        self.assertEqual(self.machine.http._answers, {})
        self.assertNotIn("PRIVATE", repr(service.held[NAME]))

    def test_kept(self) -> None:
        """A new run has it without asking."""
        self.machine.start(NAME)
        self.machine.turn(10)
        before = self.pem()
        self.successResultOf(self.machine.service.stopService())
        self.machine.start(NAME)
        self.machine.turn(HOUR)
        self.assertEqual(self.pem(), before)
        self.assertEqual(len(self.ca.orders), 1)

    def test_empty_file(self) -> None:
        """An empty file means that a certificate is wanted, as in txacme."""
        self.successResultOf(self.machine.store.store(NAME, []))
        self.assertEqual(self.successResultOf(self.machine.store.as_dict()), {NAME: []})
        self.machine.start(NAME)
        self.machine.turn(10)
        self.assertIn(NAME, self.machine.service.held)

    def test_one_bad_name(self) -> None:
        """A name that can't be had does not keep another one from being served."""
        self.ca.bad.add("bad.example.com")
        service = self.machine.start("bad.example.com", NAME)
        self.machine.turn(10)
        self.assertEqual(list(service.held), [NAME])
        problem = service.journal.entry("bad.example.com").problem
        self.assertIn("something else answers under the name", problem)
        self.assertIn("bad.example.com says no", problem)
        self.assertEqual(self.machine.panics, ["bad.example.com"])
        self.assertEqual(self.machine.explained, ["bad.example.com"])
        self.assertTrue(problem.startswith("it leads elsewhere; "))

    def test_together(self) -> None:
        """Who asks for a name that is being obtained waits for the same order."""
        service = self.machine.start()
        asked = [service.issue_cert(NAME) for _ in range(3)]
        self.machine.turn(10)
        for one in asked:
            self.successResultOf(one)
        self.assertEqual(len(self.ca.orders), 1)

    def test_rate(self) -> None:
        """Not more than ten orders are placed within ten seconds."""
        self.machine.start(*(f"n{number}.example.com" for number in range(35)))
        self.machine.turn(60, 6000)
        moments = self.ca.asked("place")
        self.assertEqual(len(moments), 35)
        for first, eleventh in zip(moments, moments[10:], strict=False):
            self.assertGreaterEqual(eleventh - first, 9.99)

    def test_interfaces(self) -> None:
        """Store and responders have txacme's shapes."""
        verifyObject(ICertificateStore, self.machine.store)
        verifyObject(IResponder, self.machine.http)
        verifyObject(IResponder, TlsResponder(self.ca.now))


class FailureTests(IssuingCase):
    """CAs that don't do what they should."""

    def test_down_for_an_hour(self) -> None:
        """Asked at growing pauses while it is down, and again soon after it is back."""
        self.ca.down = True
        self.machine.start(NAME)
        self.machine.turn(HOUR, 3600)
        tries = sorted(set(self.ca.asked("dir")))
        expected, moment = [0.0], 0.0
        for pause in FAILURE_PAUSES_SECONDS:
            moment += pause
            expected.append(moment)
        self.assertEqual(len(tries), len([one for one in expected if one <= HOUR]))
        for found, planned in zip(tries, expected, strict=False):
            self.assertLess(abs(found - planned), 8)
        self.ca.down = False
        self.machine.turn(HOUR, 3600)
        self.assertIn(NAME, self.machine.service.held)
        self.assertEqual(self.machine.service.journal.entry(NAME).failures, 0)

    def test_pauses_over_a_restart(self) -> None:
        """A crash loop does not make it ask more often."""
        self.ca.down = True
        self.machine.start(NAME)
        for _ in range(10):
            self.successResultOf(self.machine.service.stopService())
            self.machine.start(NAME)
            self.machine.turn(1)
        self.assertEqual(len(self.ca.asked("dir")), 1)

    def test_retry_after(self) -> None:
        """What a CA asks for with 429 is kept to: seconds, and a date."""
        date = "Thu, 01 Jan 2026 05:00:00 GMT"
        self.ca.refusals["place"] = [
            (429, "rateLimited", {"retry_after": "7200"}),
            (429, "rateLimited", {"retry_after": date}),
        ]
        service = self.machine.start(NAME)
        self.machine.turn(6 * HOUR, 4000)
        first, second, third = self.ca.asked("place")
        self.assertEqual(first, 0)
        self.assertGreaterEqual(second, 2 * HOUR)
        self.assertGreaterEqual(third, 5 * HOUR)
        self.assertIn(NAME, service.held)

    def test_poll_retry_after(self) -> None:
        """While a name is validated the CA says how often it wants to be asked."""
        self.ca.looks, self.ca.poll_after = 3, "20"
        self.machine.start(NAME)
        self.machine.turn(120, 1200)
        looks = self.ca.asked("authz")[1:]
        self.assertEqual(len(looks), 4)
        for before, after in pairwise(looks):
            self.assertGreaterEqual(after - before, 20)

    def test_poll_limited(self) -> None:
        """A CA that can't answer for a moment does not end the order."""
        self.ca.refusals["order"] = [(429, "rateLimited", {"retry_after": "5"}), (503, "x", {})]
        self.machine.start(NAME)
        self.machine.turn(60)
        self.assertIn(NAME, self.machine.service.held)
        self.assertEqual(len(self.ca.orders), 1)

    def test_bad_nonces(self) -> None:
        """Forty refused nonces in a row are no reason to give up."""
        self.ca.refusals["place"] = [(400, "badNonce", {})] * 40
        self.machine.start(NAME)
        self.machine.turn(10)
        self.assertIn(NAME, self.machine.service.held)

    def test_broken_ca(self) -> None:
        """A CA's own fault is no reason to look into the name, nor to forget the order."""
        self.ca.refusals["finalize"] = [(500, "serverInternal", {}), (502, "x", {})]
        service = self.machine.start(NAME)
        self.machine.turn(HOUR)
        self.assertIn(NAME, service.held)
        self.assertEqual((len(self.ca.orders), self.machine.explained), (1, []))

    def test_never_ends(self) -> None:
        """A validation that does not come to an end is given up, and tried again."""
        self.ca.looks = 10_000
        service = self.machine.start(NAME)
        self.machine.turn(400)
        self.assertIn("did not come to an end", service.journal.entry(NAME).problem)
        self.ca.looks = 1
        self.machine.turn(HOUR)
        self.assertIn(NAME, service.held)
        self.assertEqual(len(self.ca.orders), 1)

    def test_other_challenge(self) -> None:
        """After a failure another way to prove the name is tried."""
        self.machine.responders = [Other("http-01"), Other("tls-alpn-01")]
        self.ca.bad.add(NAME)
        self.machine.start(NAME)
        self.machine.turn(5 * 60)
        self.assertEqual(self.ca.chosen, ["http-01", "tls-alpn-01", "http-01"])

    def test_wildcard(self) -> None:
        """A wildcard is proved in the DNS only; without a hook the reason says so."""
        self.machine.start("*.example.com")
        self.machine.turn(5)
        problem = self.machine.service.journal.entry("*.example.com").problem
        self.assertIn("acmeDnsHook", problem)
        self.assertEqual(self.ca.orders, [])
        self.machine.responders.append(Other("dns-01"))
        self.successResultOf(self.machine.service.stopService())
        self.machine.start("*.example.com")
        self.machine.turn(2 * HOUR)
        self.assertEqual(self.ca.chosen, ["dns-01"])
        self.assertTrue((self.directory / "acme" / "_.example.com.pem").exists())
        self.successResultOf(self.machine.service.stopService())
        self.machine.start("*.example.com")
        self.assertIn("*.example.com", self.machine.service.held)

    def test_stop_while_polling(self) -> None:
        """A stop in the middle leaves no timer and no token, and is no failure."""
        self.ca.looks = 10_000
        service = self.machine.start(NAME)
        asked = service.issue_cert(NAME)
        self.machine.turn(5)
        self.assertNotEqual(self.machine.http._answers, {})
        self.successResultOf(service.stopService())
        self.failureResultOf(asked)
        self.assertEqual(self.machine.http._answers, {})
        self.assertEqual(self.machine.clock.getDelayedCalls(), [])
        self.assertEqual(service.journal.entry(NAME).failures, 0)

    def test_unknown_profile(self) -> None:
        """A profile that the CA does not have is named with those it has."""
        self.ca.profiles = {"classic": "x", "shortlived": "y"}
        self.machine.profile = "tiny"
        self.machine.start(NAME)
        problem = self.machine.service.journal.entry(NAME).problem
        self.assertIn("tiny; it has classic, shortlived", problem)
        self.machine.profile = "shortlived"
        self.successResultOf(self.machine.service.stopService())
        self.machine.start(NAME)
        self.machine.turn(HOUR)
        self.assertEqual(self.ca.orders[0]["profile"], "shortlived")


class RenewalTests(IssuingCase):
    """Certificates that come to their end."""

    def obtained(self, lifetime: timedelta) -> None:
        self.ca.lifetime = lifetime
        self.machine.start(NAME)
        self.machine.turn(10)
        self.assertEqual(len(self.ca.orders), 1)

    def test_due(self) -> None:
        """Renewed 30 days before the end, and not before."""
        self.obtained(timedelta(days=100))
        self.machine.turn(69 * DAY)
        self.assertEqual(len(self.ca.orders), 1)
        self.machine.turn(1.2 * DAY)
        self.assertEqual(len(self.ca.orders), 2)
        self.assertGreater(self.machine.end_of(NAME), 160 * DAY)

    def test_short_lifetime(self) -> None:
        """One of six days is renewed when a third is left."""
        self.obtained(timedelta(days=6))
        self.machine.turn(3.9 * DAY)
        self.assertEqual(len(self.ca.orders), 1)
        self.machine.turn(0.2 * DAY)
        self.assertEqual(len(self.ca.orders), 2)

    def test_panic(self) -> None:
        """If it can't be renewed there is a warning first, and panic in the last 15 days."""
        self.obtained(timedelta(days=90))
        self.ca.down = True
        self.machine.turn(74 * DAY, 2000)
        self.assertEqual(self.machine.panics, [])
        self.machine.turn(2 * DAY, 2000)
        self.assertIn(NAME, self.machine.panics)
        self.assertIn(NAME, self.machine.service.held)
        before = self.serial()
        self.ca.down = False
        self.machine.turn(DAY)
        self.assertNotEqual(self.serial(), before)

    def test_renewal_info(self) -> None:
        """A CA may want a certificate back early; its successor says what it replaces."""
        self.ca.window = (50 * DAY, 51 * DAY)
        self.obtained(timedelta(days=90))
        self.assertNotIn("replaces", self.ca.orders[0])
        first = self.machine.service.held[NAME].leaf.ari_id
        self.machine.turn(10 * DAY)
        self.ca.early.add(first)
        self.machine.turn(DAY)
        self.assertEqual(self.ca.orders[1]["replaces"], first)
        self.assertEqual(len(self.ca.orders), 2)
        self.assertLess(len(self.ca.asked("renewal")), 50)

    def test_renewal_info_in_the_past(self) -> None:
        """A CA that wants every certificate back at once gets few orders."""
        self.ca.window = (0, 60)
        self.obtained(timedelta(days=90))
        self.machine.turn(DAY, 2000)
        self.assertLessEqual(len(self.ca.orders), 5)

    def test_nonsense(self) -> None:
        """A window that ends before it begins, or an answer that is none, moves nothing."""
        self.ca.window = (51 * DAY, 50 * DAY)
        self.obtained(timedelta(days=90))
        self.ca.refusals["renewal"] = [(500, "serverInternal", {})] * 1000
        self.machine.turn(2 * DAY)
        self.assertLess(len(self.ca.asked("renewal")), 100)
        self.assertEqual(len(self.ca.orders), 1)

    def test_window_is_kept(self) -> None:
        """The moment drawn in the window stays the same over looks and restarts."""
        self.ca.window = (40 * DAY, 50 * DAY)
        self.obtained(timedelta(days=90))
        window = self.machine.service.journal.entry(NAME).window
        assert window is not None
        self.machine.turn(5 * DAY)
        self.successResultOf(self.machine.service.stopService())
        self.machine.start(NAME)
        self.machine.turn(5 * DAY)
        again = self.machine.service.journal.entry(NAME).window
        assert again is not None
        self.assertEqual(window.chosen, again.chosen)
        self.assertGreater(again.look, window.look)

    def test_asked_too_early(self) -> None:
        """Where a good certificate can't be exchanged, only who asked for that is told."""
        service = self.machine.start(NAME)
        self.machine.turn(10)
        self.ca.down = True
        asked = service.issue_cert(NAME)
        self.machine.turn(10)
        self.failureResultOf(asked, AcmeError)
        entry = service.journal.entry(NAME)
        self.assertEqual((entry.failures, entry.problem), (0, ""))

    def test_trouble_ends_with_its_cause(self) -> None:
        """What was wrong with a CA is not said of the one that was chosen then."""
        self.ca.down = True
        service = self.machine.start(NAME)
        self.machine.turn(10)
        self.assertIn("can't be reached", service.journal.entry(NAME).problem)
        service.journal.retry_all()
        entry = service.journal.entry(NAME)
        self.assertEqual((entry.failures, entry.problem, entry.next_try), (0, "", 0.0))

    def test_other_ca(self) -> None:
        """Another profile is got at once, even if its certificates are shorter."""
        self.obtained(timedelta(days=90))
        before = self.serial()
        self.ca.profiles, self.machine.profile = {"shortlived": ""}, "shortlived"
        self.ca.lifetime = timedelta(days=6)
        self.successResultOf(self.machine.service.stopService())
        self.machine.start(NAME)
        self.machine.turn(10)
        self.assertNotEqual(self.serial(), before)


class WorseTests(IssuingCase):
    """What a CA sends is not taken if what is there is better."""

    def refused(self, reason: str) -> None:
        before = self.pem()
        asked = self.machine.service.issue_cert(NAME)
        self.machine.turn(10)
        self.assertIn(reason, str(self.failureResultOf(asked).value))
        self.assertEqual(self.pem(), before)
        self.successResultOf(self.machine.service.stopService())
        self.machine.start(NAME)
        self.assertEqual(len(self.machine.service.held), 1)

    def setUp(self) -> None:
        super().setUp()
        self.machine.start(NAME)
        self.machine.turn(10)

    def test_earlier(self) -> None:
        """It would end before the present one."""
        self.ca.lifetime = timedelta(days=5)
        self.refused("expires before the present one")

    def test_expired(self) -> None:
        """It has ended already."""
        self.ca.lifetime = timedelta(minutes=-1)
        self.refused("has expired")

    def test_names(self) -> None:
        """It is for another name."""
        self.ca.spoil = lambda request: request_for("other.example.com", request)
        self.refused(f"not valid for {NAME}")

    def test_key(self) -> None:
        """It is for another key."""
        self.ca.spoil = lambda _: request_for(NAME)
        self.refused("key does not belong")


def request_for(name: str, like: x509.CertificateSigningRequest | None = None):
    """Return a request for ``name``: with a foreign key, or with the key of ``like``."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    alternative = x509.SubjectAlternativeName([x509.DNSName(name)])
    made = builder.add_extension(alternative, False).sign(key, hashes.SHA256())
    if like is None:
        return made

    class Mixed:
        extensions = made.extensions
        public_key = like.public_key

    return Mixed()
