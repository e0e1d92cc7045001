from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.interfaces import Certificate
from ood.proxy.tls import contexts
from ood.proxy.tls.contexts import Contexts
from ood.testing.certificates import make_certificate
from tests.proxy.tls.support import OTHER, SITE


def changed(certificate: Certificate, **fields: object) -> Certificate:
    """Return a certificate with other fields."""
    values = {name: getattr(certificate, name) for name in certificate.__dataclass_fields__}
    return Certificate(**{**values, **fields})  # type: ignore[arg-type]


def between() -> bytes:
    """Return a certificate that another one has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, issuer = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("between", "root")
    )
    now = datetime.now(timezone.utc)
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


class ContextTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.contexts = Contexts(self.clock, (b"http/1.1",))

    def test_kept_for_a_while(self) -> None:
        """A context is used again, for some hours: then its tickets' key goes with it."""
        first = self.contexts.find(SITE)
        self.assertIs(first, self.contexts.find(SITE))
        self.assertIsNot(first, self.contexts.find(OTHER))
        self.clock.advance(contexts.CONTEXT_SECONDS - 1)
        self.assertIs(first, self.contexts.find(SITE))
        self.clock.advance(2)
        self.assertIsNot(first, self.contexts.find(SITE))

    def test_another_chain(self) -> None:
        """Who adds what was missing between certificate and root has it shown from then on."""
        first = self.contexts.find(SITE)
        longer = changed(SITE, chain_pem=SITE.chain_pem + between())
        self.assertIsNot(first, self.contexts.find(longer))
        self.assertIs(self.contexts.find(longer), self.contexts.find(longer))

    def test_not_too_many(self) -> None:
        """The one that was not used for longest makes room."""
        self.patch(contexts, "CONTEXTS_MAX", 2)
        first, second = self.contexts.find(SITE), self.contexts.find(OTHER)
        self.contexts.find(SITE)
        self.contexts.find(make_certificate("third.org"))
        self.assertIs(first, self.contexts.find(SITE))
        self.assertIsNot(second, self.contexts.find(OTHER))

    def test_unusable(self) -> None:
        """Whatever is wrong with a certificate or its key is one kind of error."""
        for wrong in (
            {"key_pem": OTHER.key_pem},
            {"key_pem": b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"},
            {"chain_pem": b"no certificate"},
            {"chain_pem": b""},
        ):
            broken = changed(SITE, fingerprint=str(wrong), **wrong)
            self.assertRaises(ValueError, self.contexts.find, broken)

    def test_no_root_is_sent(self) -> None:
        """Clients get what leads to a root, not the root: they have it, or don't trust it."""
        root = make_certificate("root.org").chain_pem
        for number, issuers in enumerate((b"", root, between(), between() + root), 1):
            chain = SITE.chain_pem + issuers
            certificate = changed(SITE, chain_pem=chain, fingerprint=str(number))
            self.assertEqual((number + 1) // 2, self.certificates_shown(certificate))

    def certificates_shown(self, certificate: Certificate) -> int:
        """Return how many certificates a client is shown."""
        server = SSL.Connection(self.contexts.find(certificate), None)
        server.set_accept_state()
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        client.set_connect_state()
        for side, other in ((client, server), (server, client), (client, server)):
            with contextlib.suppress(SSL.WantReadError):
                side.do_handshake()
            other.bio_write(side.bio_read(65536))
        return len(client.get_peer_cert_chain() or ())

    def test_nothing_is_shown(self) -> None:
        self.assertNotIn("PRIVATE", repr(SITE))
