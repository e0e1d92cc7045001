"""Certificates of one's own, for tests."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from ood.certs.pem import key_pem, unsigned


def make_pair(
    names: list[str], now: datetime, lifetime: timedelta = timedelta(days=90)
) -> tuple[bytes, bytes]:
    """Return certificate and key as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = unsigned("test", "test", key, now, lifetime)
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM), key_pem(key)


def write_pair(
    directory: Path, names: list[str], now: datetime, lifetime: timedelta = timedelta(days=90)
) -> tuple[str, str]:
    """Write certificate and key; return the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    cert, key = directory / "cert.pem", directory / "key.pem"
    for path, content in zip((cert, key), make_pair(names, now, lifetime), strict=True):
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.replace(path)
    return str(cert), str(key)


_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """A CA that signs what it is asked for.

    :param issuer: who signed its own certificate; nobody but itself if none is given.
    :ivar pem: its certificate.
    """

    def __init__(self, name: str, issuer: Authority | None = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        above = issuer or self
        signed = (
            _builder(self._name, above, self._key, timedelta(days=90))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_SIGNS, critical=True)
            .sign(above._key, hashes.SHA256())
        )
        self.pem = signed.public_bytes(serialization.Encoding.PEM)

    def pair(
        self,
        *names: str,
        ends: timedelta = timedelta(days=30),
        client: bool = False,
        logged: bool = False,
    ) -> tuple[bytes, bytes]:
        """Return a certificate and its key as PEM.

        :param names: host names and addresses that it is for.
        :param ends: when it ends, from now.
        :param client: it is only good for clients.
        :param logged: it stands in a public log, as those of public CAs do.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named("test"), self, key, ends)
        if names:
            alternative = x509.SubjectAlternativeName([_general(name) for name in names])
            builder = builder.add_extension(alternative, critical=False)
        if client:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
            builder = builder.add_extension(usage, critical=False)
        if logged:
            # one stamp: version, log, time, no extensions, ECDSA with SHA-256, a signature
            stamp = b"\0" + b"L" * 32 + bytes(8) + b"\0\0" + b"\4\3" + b"\0\1s"
            listed = b"\4\x34" + b"\0\x32" + b"\0\x30" + stamp
            oid = ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS
            extension = x509.UnrecognizedExtension(oid, listed)
            builder = builder.add_extension(extension, critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM), key_pem(key)


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: Authority, key: ec.EllipticCurvePrivateKey, ends: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    above = issuer._key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer._name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=300))
        .not_valid_after(now + ends)
        # Python refuses certificates without these from 3.13 on, as RFC 5280 allows it to.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False)
    )
