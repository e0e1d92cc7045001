"""The service's part against pebble: from a document to served certificates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from ood.certs.errors import AcmeError
from ood.certs.part import CertificatesPart
from ood.clock import MonotonicClock
from ood.model.document import App, Document, Settings
from tests.support.pebble import MISSING, Pebble, serve_http, serve_tls

PATIENCE_SECONDS = 60
PAUSE_SECONDS = 0.05
HTTP, TLS = ("http-01",), ("tls-alpn-01",)


def document(domains: tuple[str, ...], **settings: Any) -> Document:
    app = App(cwd="/", port=3001, domains=domains, running=True)
    return Document(settings=Settings(https_port=443, **settings), apps={"shop": app})


class PartCase(TestCase):
    """One CA, a directory, and parts that come and go."""

    if MISSING:
        skip = MISSING
    timeout = 180
    nonce_reject = 20
    binding: tuple[str, str] | None = None

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.ca = Pebble(self.nonce_reject, self.binding)
        self.addCleanup(self.ca.stop)
        self.ca.start()
        self.clock = MonotonicClock(reactor)
        self.events: list[tuple[Any, ...]] = []
        self.part = self.make()
        self.addCleanup(self.stop_part)
        for port in (
            serve_http(reactor, self.ca.http_port, self),
            serve_tls(reactor, self.ca.tls_port, self),
        ):
            self.addCleanup(port.stopListening)

    def stop_part(self) -> Deferred[None]:
        return self.part.stopService()

    def make(self) -> CertificatesPart:
        def publish(*event: Any, **data: Any) -> None:
            self.events.append((*event, data))

        return CertificatesPart(self.directory, reactor, self.clock, root=False, publish=publish)

    def token(self, host: str, path_token: str) -> bytes | None:
        return self.part.token(host, path_token)

    def challenge(self, server_name: str) -> Any:
        return self.part.challenge(server_name)

    def begin(self, *domains: str, **settings: Any) -> None:
        own = {"acme_directory": self.ca.url, "acme_ca_file": str(self.ca.ca_file)}
        agreed = {"acme_agree_tos": True, "acme_challenges": HTTP}
        self.document = document(domains, **{**own, **agreed, **settings})
        self.part.converge(self.document)
        if not self.part.running:
            self.part.startService()

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        for _ in range(int(PATIENCE_SECONDS / PAUSE_SECONDS)):
            if condition():
                return
            await deferLater(reactor, PAUSE_SECONDS)
        statuses = [msgspec.to_builtins(one) for one in self.part.certificates()]
        self.fail(f"{what}: {json.dumps(statuses, indent=1)}\n{self.ca.log.read_text()[-3000:]}")

    async def served(self, name: str) -> Any:
        await self.until(lambda: self.part.find(name), f"a certificate for {name}")
        found = self.part.find(name)
        assert found is not None
        return found


class FreshTests(PartCase):
    """Names get certificates by themselves."""

    def test_http(self) -> Deferred[None]:
        """http-01; the app's state, the list and the events show it, and no key."""

        async def work() -> None:
            self.begin("shop.ood-test.com", "www.ood-test.com")
            for name in ("shop.ood-test.com", "www.ood-test.com"):
                self.assertEqual((await self.served(name)).names, (name,))
            app = self.part.app_certificate("shop")
            assert app is not None
            self.assertEqual((app.state, app.trouble), ("valid", ()))
            self.assertEqual(app.names, ("shop.ood-test.com", "www.ood-test.com"))
            statuses = self.part.certificates()
            self.assertEqual([one.state for one in statuses], ["valid", "valid"])
            self.assertNotIn(b"PRIVATE", msgspec.json.encode(statuses))
            texts = [event[1] for event in self.events]
            self.assertEqual(len([text for text in texts if "has a certificate" in text]), 2)
            self.assertEqual(len(self.part.measures()), 4)

        return Deferred.fromCoroutine(work())

    def test_tls(self) -> Deferred[None]:
        """tls-alpn-01."""

        async def work() -> None:
            self.begin("shop.ood-test.com", acme_challenges=TLS)
            await self.served("shop.ood-test.com")

        return Deferred.fromCoroutine(work())

    def test_wildcard(self) -> Deferred[None]:
        """A wildcard by the hook, and the names that it covers are served."""

        async def work() -> None:
            hook = tuple(self.ca.hook())
            both = ("http-01", "dns-01")
            self.begin("*.ood-test.com", acme_dns_hook=hook, acme_challenges=both)
            await self.served("anything.ood-test.com")
            self.assertIsNone(self.part.find("ood-test.com"))
            calls = [line.split()[0] for line in self.ca.hook_calls()]
            self.assertEqual(calls, ["add", "remove"])

        return Deferred.fromCoroutine(work())

    def test_bad_name(self) -> Deferred[None]:
        """One of two names can't be validated: the other one is served, the reason is said."""

        async def work() -> None:
            self.begin("good.ood-test.com", "bad.ood-test.com", acme_challenges=("http-01",))
            answered = self.part.token

            def token(host: str, path_token: str) -> bytes | None:
                return None if host.startswith("bad.") else answered(host, path_token)

            self.part.token = token  # type: ignore[method-assign]
            await self.served("good.ood-test.com")
            await self.until(
                lambda: "next try" in str(self.part.app_certificate("shop")), "the reason"
            )
            app = self.part.app_certificate("shop")
            assert app is not None
            self.assertEqual((app.state, app.names), ("partial", ("good.ood-test.com",)))
            (trouble,) = app.trouble
            self.assertTrue(trouble.startswith("bad.ood-test.com: "), trouble)
            self.assertIn("something else answers under the name", trouble)

        return Deferred.fromCoroutine(work())

    def test_account_binding(self) -> Deferred[None]:
        """The secret comes from a file that only ood can read; otherwise the reason is said."""
        secret = self.directory / "secret"

        async def work() -> None:
            self.directory.mkdir()
            secret.write_text("c2VjcmV0\n")
            secret.chmod(0o644)
            self.begin("shop.ood-test.com", acme_eab_kid="kid-1", acme_eab_key_file=str(secret))
            await self.until(
                lambda: "others can read" in str(self.part.app_certificate("shop")), "refusal"
            )
            self.begin("shop.ood-test.com")
            await self.served("shop.ood-test.com")

        return Deferred.fromCoroutine(work())

    def test_revoked(self) -> Deferred[None]:
        """A certificate is replaced, then revoked: the CA says that it is."""

        async def work() -> None:
            self.begin("shop.ood-test.com")
            before = await self.served("shop.ood-test.com")
            await self.part.revoke_certificate("shop.ood-test.com")
            after = await self.served("shop.ood-test.com")
            self.assertNotEqual(after.fingerprint, before.fingerprint)
            self.assertNotEqual(after.key_pem, before.key_pem)
            assert self.part._keeper is not None and self.part._keeper.acme is not None
            with self.assertRaises(AcmeError) as caught:
                await self.part._keeper.acme.client.revoke(before.chain_pem)
            self.assertEqual(caught.exception.kind, "alreadyRevoked")

        return Deferred.fromCoroutine(work())

    def test_restart(self) -> Deferred[None]:
        """After a restart it is served at once, without a CA; a CA that is gone is no matter."""

        async def work() -> None:
            self.begin("shop.ood-test.com")
            before = await self.served("shop.ood-test.com")
            await self.part.stopService()
            self.ca.stop_ca()
            self.part = self.make()
            self.part.converge(self.document)
            self.assertEqual(self.part.find("shop.ood-test.com"), before)
            self.part.startService()
            self.assertEqual(self.part.find("shop.ood-test.com"), before)

        return Deferred.fromCoroutine(work())


class CustomerTests(PartCase):
    """A CA that only serves its customers."""

    binding = ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W")

    def test_bound(self) -> Deferred[None]:
        """Without the account the reason is said; with it, the next try succeeds at once."""
        secret = self.directory / "secret"

        async def work() -> None:
            self.begin("shop.ood-test.com")
            await self.until(
                lambda: "set acmeEabKid" in str(self.part.app_certificate("shop")), "the reason"
            )
            secret.write_text(self.binding[1])
            secret.chmod(0o600)
            file = str(secret)
            self.begin("shop.ood-test.com", acme_eab_kid="kid-1", acme_eab_key_file=file)
            await self.served("shop.ood-test.com")

        return Deferred.fromCoroutine(work())


class StopTests(PartCase):
    """The part is stopped and begun anew at any moment."""

    def test_again_and_again(self) -> Deferred[None]:
        """Stopped after each of many short moments, it has a certificate in the end."""

        async def work() -> None:
            for number in range(12):
                self.begin("shop.ood-test.com", "www.ood-test.com")
                await deferLater(reactor, number * 0.03)
                await self.part.stopService()
                self.part = self.make()
            self.begin("shop.ood-test.com", "www.ood-test.com")
            await self.served("shop.ood-test.com")
            await self.served("www.ood-test.com")
            self.assertEqual(list((self.directory / "orders").iterdir()), [])

        return Deferred.fromCoroutine(work())


class ManyTests(PartCase):
    """Many names, and a CA that refuses most nonces."""

    nonce_reject = 60

    def test_many(self) -> Deferred[None]:
        """More names than are ordered at once, one certificate each."""
        names = [f"n{number}.ood-test.com" for number in range(13)]

        async def work() -> None:
            self.begin(*names)
            for name in names:
                await self.served(name)

        return Deferred.fromCoroutine(work())


class UnusedTests(TestCase):
    """Nothing is loaded, and no CA is asked, where nothing is wanted."""

    def test_nothing(self) -> None:
        """Neither for local names, nor without the terms, nor with HTTPS off."""
        directory = Path(self.mktemp()).absolute()
        part = CertificatesPart(directory, reactor, MonotonicClock(reactor), root=False)
        part.startService()
        self.addCleanup(part.stopService)
        part.converge(document(("shop.ood-test.com",)))
        app = part.app_certificate("shop")
        assert app is not None
        self.assertEqual(app.state, "terms")
        self.assertIn("acmeAgreeTos", app.trouble[0])
        self.assertIsNone(part.find("shop.ood-test.com"))
        off = document(("shop.ood-test.com",), acme_agree_tos=True)
        settings = msgspec.structs.replace(off.settings, https_port=0)
        part.converge(msgspec.structs.replace(off, settings=settings))
        self.assertIsNone(part.app_certificate("shop"))
        self.assertIsNone(part.find("shop.localhost"))
        self.assertFalse(directory.exists())

    def test_local(self) -> None:
        """A name of this machine has a certificate at the first handshake."""
        directory = Path(self.mktemp()).absolute()
        part = CertificatesPart(directory, reactor, MonotonicClock(reactor), root=False)
        part.startService()
        self.addCleanup(part.stopService)
        part.converge(document(()))
        self.assertFalse(directory.exists())
        found = part.find("shop.localhost")
        assert found is not None
        self.assertEqual(found.source, "self-signed")
        self.assertIsNone(part.find("other.localhost"))
        self.assertIsNone(part.find("evil.example.com"))
