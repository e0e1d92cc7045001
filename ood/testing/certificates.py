"""Certificates for tests: signed by themselves, kept in memory."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from zope.interface import implementer

from ood.interfaces import Certificate, ICertificates

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


def make_certificate(*names: str, rsa_key: bool = False, acme: bytes | None = None) -> Certificate:
    """Return a certificate for ``names`` that is its own authority.

    :param rsa_key: its key is for RSA, not for an elliptic curve.
    :param acme: the digest that a tls-alpn-01 validation looks for.
    """
    key = (
        rsa.generate_private_key(65537, 2048)
        if rsa_key
        else ec.generate_private_key(ec.SECP256R1())
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    )
    if acme is not None:
        value = b"\x04" + bytes([len(acme)]) + acme
        builder = builder.add_extension(x509.UnrecognizedExtension(ACME_IDENTIFIER, value), True)
    certificate = builder.sign(key, hashes.SHA256())
    return Certificate(
        names=names,
        key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        chain_pem=certificate.public_bytes(Encoding.PEM),
        not_after=certificate.not_valid_after_utc,
        source="self-signed",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@implementer(ICertificates)
class FakeCertificates:
    """Certificates that a test put there.

    :ivar challenges: certificates for validations by host.
    :ivar tokens: key authorizations by host and token.
    """

    def __init__(self, *certificates: Certificate) -> None:
        self._by_name: dict[str, Certificate] = {}
        self._subscribers: list[Callable[[], None]] = []
        self.challenges: dict[str, Certificate] = {}
        self.tokens: dict[tuple[str, str], bytes] = {}
        self.put(*certificates)

    def put(self, *certificates: Certificate) -> None:
        """Use these for the names they have."""
        for certificate in certificates:
            self._by_name |= dict.fromkeys(certificate.names, certificate)
        self._changed()

    def remove(self, name: str) -> None:
        """Have no certificate for ``name`` any more."""
        del self._by_name[name]
        self._changed()

    def _changed(self) -> None:
        for callback in list(self._subscribers):
            callback()

    def find(self, server_name: str) -> Certificate | None:
        """Return the one for that name, or for a wildcard in place of its first label."""
        wild = f"*.{server_name.partition('.')[2]}"
        return self._by_name.get(server_name) or self._by_name.get(wild)

    def challenge(self, server_name: str) -> Certificate | None:
        """Return what a test put there."""
        return self.challenges.get(server_name)

    def token(self, host: str, path_token: str) -> bytes | None:
        """Return what a test put there."""
        return self.tokens.get((host, path_token))

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` with each change."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)
