"""The ACME client against pebble, a real CA that is strict and refuses nonces on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from ood.certs.client import Client
from ood.certs.dnshook import DnsHookResponder
from ood.certs.errors import AcmeError
from ood.certs.http import CaHttp
from ood.certs.jose import AccountKey
from ood.certs.pem import load_pair, new_key, top_issuer
from ood.certs.responders import HttpResponder, TlsResponder
from ood.certs.session import Binding, Session
from ood.clock import MonotonicClock, wall_time
from tests.certs.contract import CaContract
from tests.support.pebble import MISSING, Pebble, serve_http, serve_tls

BINDING = ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W")


class Answers:
    """What the edge would ask."""

    def __init__(self, http: HttpResponder, tls: TlsResponder) -> None:
        self.http = http
        self.tls = tls

    def token(self, host: str, path_token: str) -> bytes | None:
        return self.http.token(path_token)

    def challenge(self, server_name: str) -> Any:
        return self.tls.certificate(server_name)


class PebbleCase(TestCase):
    """One CA for each test."""

    if MISSING:
        skip = MISSING
    timeout = 120
    nonce_reject = 20
    binding: tuple[str, str] | None = None
    environment: Mapping[str, str] = {}

    def setUp(self) -> None:
        self.ca = Pebble(self.nonce_reject, self.binding, self.environment)
        self.addCleanup(self.ca.stop)
        self.ca.start()
        self.clock = MonotonicClock(reactor)
        self.http = HttpResponder()
        self.tls = TlsResponder(wall_time)
        answers = Answers(self.http, self.tls)
        for port in (
            serve_http(reactor, self.ca.http_port, answers),
            serve_tls(reactor, self.ca.tls_port, answers),
        ):
            self.addCleanup(port.stopListening)

    def client(self, key: AccountKey | None = None, **options: Any) -> Client:
        http = CaHttp(reactor, self.clock, self.ca.ca_file)
        self.addCleanup(http.close)
        key = key or AccountKey.generate()
        session = Session(http, self.clock, wall_time, self.ca.url, key, **options)
        return Client(session, self.clock)

    def hook(self) -> DnsHookResponder:
        directory = Path(self.mktemp())
        directory.mkdir()
        command = tuple(self.ca.hook())
        return DnsHookResponder(reactor, self.clock, command, directory / "dns.json")

    async def gets(self, names: tuple[str, ...], responder: Any, client: Client | None = None):
        """Get a certificate; check that it is one for the names, with its chain."""
        key = new_key()
        chain = await (client or self.client()).issue(names, key, [responder])
        certificate, leaf = load_pair(key, b"".join(chain), "acme")
        self.assertEqual(set(certificate.names), set(names))
        self.assertGreater(len(chain), 1)
        return certificate, leaf


class IssueTests(PebbleCase):
    """Every way to prove a name leads to a certificate."""

    def test_http(self) -> Deferred[Any]:
        """http-01; no token is left."""

        async def work() -> None:
            await self.gets(("shop.ood-test.com",), self.http)
            self.assertEqual(self.http._answers, {})

        return Deferred.fromCoroutine(work())

    def test_tls(self) -> Deferred[Any]:
        """tls-alpn-01; no challenge is left."""

        async def work() -> None:
            await self.gets(("shop.ood-test.com",), self.tls)
            self.assertEqual(self.tls._certificates, {})

        return Deferred.fromCoroutine(work())

    def test_dns(self) -> Deferred[Any]:
        """dns-01 by the hook: a wildcard and its bare name at once; the records are removed."""

        async def work() -> None:
            await self.gets(("ood-test.com", "*.ood-test.com"), self.hook())
            calls = self.ca.hook_calls()
            self.assertEqual(len([one for one in calls if one.startswith("add")]), 2)
            self.assertEqual(len([one for one in calls if one.startswith("remove")]), 2)

        return Deferred.fromCoroutine(work())

    def test_thirty(self) -> Deferred[Any]:
        """Thirty names in one order."""
        names = tuple(f"n{number}.ood-test.com" for number in range(30))
        return Deferred.fromCoroutine(self.gets(names, self.http))

    def test_account_is_found_again(self) -> Deferred[Any]:
        """The same key leads to the same account; a CA that forgot it gets a new one."""

        async def work() -> None:
            key = AccountKey.load(AccountKey.generate().pem())
            client = self.client(key, email="a@ood-test.com")
            first = await client.session.account()
            again = await self.client(key, email="b@ood-test.com").session.account()
            self.assertEqual(first, again)
            self.ca.stop_ca()
            self.ca.start_ca()
            await self.gets(("shop.ood-test.com",), self.http, client)

        return Deferred.fromCoroutine(work())

    def test_revoked(self) -> Deferred[Any]:
        """A certificate is revoked once; a second time the CA says that it is."""

        async def work() -> None:
            client = self.client()
            certificate, _ = await self.gets(("shop.ood-test.com",), self.http, client)
            await client.revoke(certificate.chain_pem)
            with self.assertRaises(AcmeError) as caught:
                await client.revoke(certificate.chain_pem)
            self.assertEqual(caught.exception.kind, "alreadyRevoked")

        return Deferred.fromCoroutine(work())


class ChainTests(PebbleCase):
    """A CA whose certificates lead to several roots."""

    environment = {"PEBBLE_ALTERNATE_ROOTS": "2", "PEBBLE_CHAIN_LENGTH": "2"}

    def test_preferred(self) -> Deferred[Any]:
        """The chain to the named root is taken; where there is none, the CA's first one."""

        async def work() -> None:
            roots = [certificate_name(self.ca.root(number)) for number in range(3)]
            self.assertEqual(len(set(roots)), 3)
            for wanted, expected in zip([*roots, "Nobody"], [*roots, roots[0]], strict=True):
                names = ("shop.ood-test.com",)
                chain = await self.client().issue(
                    names, new_key(), [self.http], preferred_chain=wanted
                )
                self.assertEqual(top_issuer(chain), expected)

        return Deferred.fromCoroutine(work())


def certificate_name(pem: str) -> str:
    """Return what a root is called."""
    return top_issuer([pem.encode()])  # it signed itself


class ContractTests(CaContract, PebbleCase):
    """The contract that the CA in memory is held to, too."""

    def spoil(self, name: str) -> None:
        self.http.token = lambda token: b"something else"


class ManyNoncesTests(PebbleCase):
    """Sixty of a hundred good nonces are refused."""

    nonce_reject = 60

    def test_issue(self) -> Deferred[Any]:
        """Ten names in one order come through."""
        names = tuple(f"n{number}.ood-test.com" for number in range(10))
        return Deferred.fromCoroutine(self.gets(names, self.http))


class BindingTests(PebbleCase):
    """A CA that only knows its customers."""

    binding = BINDING

    def test_bound(self) -> Deferred[Any]:
        """With the secret it works; without, or with a wrong one, the reason is said."""

        async def work() -> None:
            client = self.client(binding=Binding(*BINDING))
            await self.gets(("shop.ood-test.com",), self.http, client)
            for wrong in (None, Binding("kid-1", "d3Jvbmc"), Binding("kid-1", "!")):
                with self.assertRaises(AcmeError) as caught:
                    await self.client(binding=wrong).session.account()
                self.assertNotIn("d3Jvbmc", str(caught.exception))

        return Deferred.fromCoroutine(work())
