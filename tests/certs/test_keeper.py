"""All certificates together, over a clock that the test turns: what is served, and said."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ood.certs.keeper import LOOK_SECONDS
from ood.certs.local import LEAF_DAYS
from ood.certs.part import CertificatesPart
from ood.certs.report import rfc3339
from ood.certs.store import DirectoryStore
from ood.errors import ConflictError, NotFoundError
from ood.interfaces import ICertificateDesk, ICertificates
from ood.model.document import App, Document, Settings
from ood.model.event import Event
from ood.model.notify import Target
from ood.notify.core.message import wants
from tests.certs.ca import EPOCH
from tests.certs.pki import make_pair, write_pair

SHOP = "shop.example.com"


class PartCase(SynchronousTestCase):
    """A part without a CA: nobody has accepted any terms."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.files = self.directory / "files"
        self.clock = Clock()
        self.events: list[tuple[str, str, str, dict[str, Any]]] = []
        self.changes = 0
        self.begin(SHOP)

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.clock.seconds())

    def begin(self, *domains: str, running: bool = True) -> None:
        def publish(kind: str, text: str, app: str, **data: Any) -> None:
            self.events.append((kind, text, app, data))

        self.part = CertificatesPart(
            self.directory, None, self.clock, root=False, publish=publish, now=self.now
        )
        self.converge(*domains, running=running)
        self.part.startService()
        self.addCleanup(self.part.stopService)
        self.part.subscribe(self.changed)

    def converge(
        self,
        *domains: str,
        running: bool = True,
        agreed: bool | None = None,
        ca_file: str | None = None,
    ) -> None:
        app = App(cwd="/", port=3001, domains=domains, running=running)
        settings = Settings(https_port=443, acme_agree_tos=agreed, acme_ca_file=ca_file)
        self.part.converge(Document(settings=settings, apps={"shop": app}))

    def changed(self) -> None:
        self.changes += 1

    def keep(self, name: str, lifetime: timedelta = timedelta(days=90)) -> None:
        """Put a certificate where an earlier run would have."""
        cert, key = make_pair([name], self.now(), lifetime)
        store = DirectoryStore(self.directory / "acme")
        self.successResultOf(store.store(name, [key, cert]))

    def add(self, *names: str) -> Any:
        cert, key = write_pair(self.files, list(names), self.now())
        return self.successResultOf(self.part.add_certificate(cert, key, ""))

    def source(self, name: str) -> str:
        found = self.part.find(name)
        return found.source if found else ""


class ServedTests(PartCase):
    """Which certificate serves which name."""

    def test_interfaces(self) -> None:
        """The part is what the proxy and the API expect."""
        verifyObject(ICertificates, self.part)
        verifyObject(ICertificateDesk, self.part)

    def test_order(self) -> None:
        """One's own before a CA's, exact before wildcard, and an expired one before none."""
        self.keep(SHOP)
        self.keep("*.example.com")
        self.begin(SHOP, "www.example.com", "*.example.com")
        self.assertEqual(self.source(SHOP), "acme")
        self.assertEqual(self.part.find("www.example.com").names, ("*.example.com",))
        self.assertIsNone(self.part.find("a.b.example.com"))
        self.assertIsNone(self.part.find("example.com"))
        self.add(SHOP)
        self.assertEqual(self.source(SHOP), "file")
        self.clock.advance(91 * 86_400)
        self.assertIsNotNone(self.part.find(SHOP))

    def test_own_wildcard(self) -> None:
        """One's own wildcard serves what it is for: no CA is asked for that any more."""
        self.keep(SHOP)
        self.begin(SHOP)
        self.assertEqual(self.source(SHOP), "acme")
        self.add("*.example.com")
        self.assertEqual(self.source(SHOP), "file")
        self.assertEqual(self.part.app_certificate("shop").not_after, self.ends(SHOP))

    def test_expired_before_wildcard(self) -> None:
        """A CA's wildcard serves a name whose own certificate has ended."""
        self.keep(SHOP, timedelta(days=10))
        self.keep("*.example.com")
        self.begin(SHOP)
        self.assertEqual(self.part.find(SHOP).names, (SHOP,))
        self.clock.advance(11 * 86_400)
        self.assertEqual(self.part.find(SHOP).names, ("*.example.com",))
        self.assertEqual(self.part.app_certificate("shop").state, "valid")

    def test_own_wildcard_of_this_network(self) -> None:
        """One's own wildcard goes before what ood itself would make."""
        self.converge("shop.corp.internal")
        self.assertEqual(self.source("shop.corp.internal"), "self-signed")
        self.add("*.corp.internal")
        self.assertEqual(self.source("shop.corp.internal"), "file")
        self.assertEqual(self.source("other.corp.internal"), "file")

    def ends(self, name: str) -> str:
        return rfc3339(self.part.find(name).not_after)

    def test_swapped(self) -> None:
        """A changed file is served at the next look, and who subscribed is told."""
        self.add(SHOP)
        before, changes = self.part.find(SHOP), self.changes
        write_pair(self.files, [SHOP], self.now())
        self.clock.advance(LOOK_SECONDS)
        self.assertNotEqual(self.part.find(SHOP), before)
        self.assertGreater(self.changes, changes)
        self.assertEqual(self.events[-1][3]["outcome"], "read")

    def test_refused_swap(self) -> None:
        """A bad file changes nothing but what is said."""
        self.add(SHOP)
        before = self.part.find(SHOP)
        (self.files / "key.pem").write_bytes(b"rubbish")
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.part.find(SHOP), before)
        self.assertIn("key can't be read", self.part.certificate(SHOP).trouble)
        self.assertEqual(self.events[-1][3]["outcome"], "refused")
        self.assertEqual(self.events[-1][2], "shop")
        self.assertIn("key can't be read", self.part.app_certificate("shop").trouble[0])

    def test_local(self) -> None:
        """Names of this machine get theirs at the first question, and a new one in time."""
        first = self.part.find("shop.localhost")
        self.assertEqual(self.source("localhost"), "self-signed")
        self.assertIsNone(self.part.find("foreign.localhost"))
        changes = self.changes
        self.clock.pump([LOOK_SECONDS, (LEAF_DAYS - 20) * 86_400.0])
        self.assertNotEqual(self.part.find("shop.localhost"), first)
        self.assertGreater(self.changes, changes)

    def test_asked_at_once(self) -> None:
        """Who is told of a change may ask at once, even while the first one is made."""
        found: list[Any] = []
        self.part.subscribe(lambda: found.append(self.part.find("shop.localhost")))
        self.part.find("shop.localhost")
        self.assertEqual(len(set(map(str, found))), 1)

    def test_kept_over_a_restart(self) -> None:
        """Own certificates and stored ones are there before the service is started."""
        self.add(SHOP)
        served = self.part.find(SHOP)
        again = CertificatesPart(self.directory, None, self.clock, root=False, now=self.now)
        again.converge(Document(settings=Settings(https_port=443)))
        self.assertEqual(again.find(SHOP), served)


class SaidTests(PartCase):
    """What status, list and metrics say."""

    def app(self) -> Any:
        return self.part.app_certificate("shop")

    def test_terms(self) -> None:
        """Without the terms nothing is ordered, and that is said."""
        self.assertEqual(self.app().state, "terms")
        (status,) = self.part.certificates()
        self.assertEqual((status.name, status.state), (SHOP, "pending"))
        self.assertIn("acmeAgreeTos true", status.trouble)
        self.assertIn("acmeAgreeTos true", self.app().trouble[0])

    def test_declined(self) -> None:
        """Who has said no to the terms is not asked again by every status."""
        self.converge(SHOP, agreed=False)
        self.assertEqual((self.app().state, self.app().trouble), ("terms", ()))

    def test_own(self) -> None:
        """A name with an own certificate needs no CA."""
        added = self.add(SHOP)
        self.assertEqual((added.source, added.apps, added.state), ("file", ("shop",), "valid"))
        self.assertEqual([one.source for one in self.part.certificates()], ["file"])
        self.assertEqual((self.app().state, self.app().trouble), ("valid", ()))
        self.assertEqual(self.app().not_after, added.not_after)
        names = {measure.name: measure.value for measure in self.part.measures()}
        end = EPOCH.timestamp() + 90 * 86_400
        self.assertEqual(names["ood_certificate_not_after_seconds"], end)
        self.assertEqual(names["ood_certificate_trouble"], 0)

    def test_told_before_the_end(self) -> None:
        """Nobody renews an own certificate by itself, so its end is told of, three times."""
        self.add(SHOP)
        for _ in range(92):
            self.clock.pump([86_400.0, LOOK_SECONDS])
        told = [(kind, app, data["outcome"]) for kind, _, app, data in self.events[1:]]
        each = [("certificate", "shop", one) for one in ("ending", "ending", "expired")]
        self.assertEqual(told, each)
        self.assertIn("put a new one there", self.events[1][1])
        for kind, text, app, data in self.events[1:]:
            event = Event(id=1, time="", kind=kind, app=app, text=text, data=data)
            self.assertTrue(wants(Target(webhook="https://example.com/"), event))

    def test_expired(self) -> None:
        """An own certificate that has ended is said to, and a CA is wanted again."""
        self.add(SHOP)
        self.clock.pump([LOOK_SECONDS, 91 * 86_400.0, LOOK_SECONDS])
        states = {one.source: one.state for one in self.part.certificates()}
        self.assertEqual(states, {"file": "expired", "acme": "pending"})
        self.assertEqual(self.app().state, "terms")

    def test_nobody_needs_it(self) -> None:
        """What a deleted app has left behind is listed, and no reason for an alarm."""
        self.keep("gone.example.com", timedelta(days=1))
        self.begin(SHOP)
        self.clock.advance(2 * 86_400)
        states = {one.name: one.state for one in self.part.certificates()}
        self.assertEqual(states["gone.example.com"], "expired")
        names = {measure.labels["name"] for measure in self.part.measures()}
        self.assertEqual(names, {SHOP})

    def test_partial(self) -> None:
        """Some names have one."""
        self.converge(SHOP, "www.example.com")
        self.add(SHOP)
        self.assertEqual((self.app().state, self.app().names), ("partial", (SHOP,)))

    def test_no_public_name(self) -> None:
        """An app of this machine has nothing to say; a name that can't have one does."""
        self.converge()
        self.assertEqual((self.app().state, self.app().trouble), ("none", ()))
        self.converge("intranet")
        self.assertIn("single word", self.app().trouble[0])

    def test_passed_through(self) -> None:
        """An app that does TLS itself needs none from us."""
        app = App(cwd="/", port=3001, domains=(SHOP,), running=True, tls="passthrough")
        self.part.converge(Document(settings=Settings(https_port=443), apps={"shop": app}))
        self.assertIsNone(self.app())
        self.assertEqual(self.part.certificates(), [])

    def test_stopped(self) -> None:
        """A stopped app wants none, but what there is is shown."""
        self.converge(SHOP, running=False)
        self.assertEqual(self.app().state, "none")
        self.add(SHOP)
        self.assertEqual(self.app().state, "valid")

    def test_find_by_name(self) -> None:
        """A certificate is found by its name, and by a name it is valid for."""
        self.converge("*.example.com")
        self.add("*.example.com", "example.com")
        self.assertEqual(self.part.certificate("any.example.com").name, "*.example.com")
        self.assertEqual(self.part.certificate("Example.COM.").name, "*.example.com")
        self.assertRaises(NotFoundError, self.part.certificate, "other.com")
        self.assertRaises(NotFoundError, self.part.certificate, "no name")

    def test_find_by_a_name_with_other_letters(self) -> None:
        """A name is found as people write it, not only as the DNS has it."""
        self.converge("xn--bcher-kva.example")
        self.assertEqual(self.part.certificate("bücher.example").state, "pending")

    def test_remove(self) -> None:
        """Stored ones that no running app needs can go; others not."""
        self.keep(SHOP)
        self.begin(SHOP)
        refused = self.part.remove_certificate(SHOP)
        self.failureResultOf(refused, ConflictError)
        self.converge(SHOP, running=False)
        self.successResultOf(self.part.remove_certificate(SHOP))
        self.assertIsNone(self.part.find(SHOP))
        self.assertEqual(list((self.directory / "acme").iterdir()), [])

    def test_remove_with_a_ca(self) -> None:
        """What is removed is ordered anew when the name is wanted again."""
        self.keep(SHOP)
        self.begin(SHOP)
        self.converge(SHOP, agreed=True)
        self.converge(SHOP, running=False, agreed=True)
        self.successResultOf(self.part.remove_certificate(SHOP))
        self.assertEqual(self.part._keeper.acme.service.held, {})

    def test_account_that_cannot_be_kept(self) -> None:
        """Where no account's key can be written, that is what is said."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "accounts").write_bytes(b"a file in its place")
        self.converge(SHOP, agreed=True)
        self.assertIn("Not a directory", " ".join(self.app().trouble))

    def test_renew_of_ones_own(self) -> None:
        """A certificate that ood makes itself needs nobody to renew it."""
        self.part.find("shop.localhost")
        renewed = self.part.renew_certificate("shop.localhost")
        error = self.failureResultOf(renewed, ConflictError).value
        self.assertIn("ood makes itself", error.message)

    def test_roots_put_right(self) -> None:
        """A file of roots that is not in order is named, and looked at again."""
        roots = self.directory / "roots.pem"
        self.converge(SHOP, agreed=True, ca_file=str(roots))
        for content, problem in (
            (None, "can't be read: No such file"),
            (b"", "there is no certificate in it"),
        ):
            if content is not None:
                roots.write_bytes(content)
            renewed = self.part.renew_certificate(SHOP)
            self.assertIn(problem, str(self.failureResultOf(renewed, ConflictError).value))

    def test_roots_are_watched(self) -> None:
        """The file is looked at again when it has changed, without being asked for that."""
        roots = self.directory / "roots.pem"
        self.converge(SHOP, agreed=True, ca_file=str(roots))
        self.assertIn("No such file", " ".join(self.app().trouble))
        roots.write_bytes(b"")
        self.clock.advance(LOOK_SECONDS)
        self.assertIn("there is no certificate in it", " ".join(self.app().trouble))

    def test_renew(self) -> None:
        """Without a CA there is nothing to renew with; a file is read again at once."""
        self.failureResultOf(self.part.renew_certificate(SHOP), ConflictError)
        self.add(SHOP)
        before = self.part.find(SHOP)
        write_pair(self.files, [SHOP], self.now())
        self.successResultOf(self.part.renew_certificate(SHOP))
        self.assertNotEqual(self.part.find(SHOP), before)

    def test_a_subscriber_that_fails(self) -> None:
        """It does not keep others from being told."""

        def fails() -> None:
            raise ValueError("no")

        end = self.part.subscribe(fails)
        self.part.subscribe(self.changed)
        changes = self.changes
        self.add(SHOP)
        self.assertGreater(self.changes, changes + 1)
        end()
        self.assertTrue(self.flushLoggedErrors(ValueError))
