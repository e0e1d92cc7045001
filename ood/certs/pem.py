"""Keys and certificates as PEM: read, checked, made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ood.certs.core.schedule import Span
from ood.certs.errors import CertificateError
from ood.certs.jose import b64
from ood.interfaces import Certificate

CHALLENGE_DAYS = 7
"""How long the certificate of a tls-alpn-01 challenge is valid; a CA does not look at that."""
ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
"""The extension that such a certificate proves itself with (RFC 8737)."""

_PEM = re.compile(rb"-----BEGIN [A-Z0-9 ]+-----.*?-----END [A-Z0-9 ]+-----\r?\n?", re.DOTALL)


@dataclass(frozen=True)
class Leaf:
    """What a certificate says about itself.

    :ivar issuer: the name of who signed it.
    :ivar ari_id: its id for renewal information (RFC 9773); empty if it can have none.
    """

    names: tuple[str, ...]
    span: Span
    issuer: str
    ari_id: str


def split_pem(data: bytes) -> list[bytes]:
    """Return the PEM objects in ``data``."""
    return [one if one.endswith(b"\n") else one + b"\n" for one in _PEM.findall(data)]


def to_der(chain: bytes) -> bytes:
    """Return the first certificate of ``chain`` as DER."""
    certificate = x509.load_pem_x509_certificate(chain)
    return certificate.public_bytes(serialization.Encoding.DER)


def new_key() -> bytes:
    """Return a new private key for a certificate."""
    return key_pem(ec.generate_private_key(ec.SECP256R1()))


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return ``key`` as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load_signer(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the key that :func:`new_key` made.

    :raises CertificateError: it is damaged.
    """
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError("the private key is damaged")
    return key


def make_request(names: tuple[str, ...], key: bytes) -> bytes:
    """Return the DER of a request to sign a certificate for ``names``."""
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.add_extension(alternative, critical=False)
    return request.sign(load_signer(key), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def read_leaf(certificate: x509.Certificate) -> Leaf:
    """Return what ``certificate`` says about itself."""
    names: list[str] = []
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]
    except (x509.ExtensionNotFound, ValueError):
        pass  # old tools put the name elsewhere, where nobody looks any more
    span = Span(
        certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    )
    commons = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    issuer = str(commons[0].value) if commons else certificate.issuer.rfc4514_string()
    return Leaf(tuple(dict.fromkeys(names)), span, issuer, _ari_id(certificate))


def top_issuer(chain: Sequence[bytes]) -> str:
    """Return who signed the last certificate of a chain; empty if that can't be read."""
    try:
        return read_leaf(x509.load_pem_x509_certificate(chain[-1])).issuer
    except (ValueError, IndexError):
        return ""


def _ari_id(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return ""
    authority = found.value.key_identifier
    if not authority:
        return ""
    serial = certificate.serial_number
    return f"{b64(authority)}.{b64(serial.to_bytes(serial.bit_length() // 8 + 1, 'big'))}"


def load_pair(key: bytes, chain: bytes, source: str) -> tuple[Certificate, Leaf]:
    """Return a certificate with its key, as it is served.

    :param chain: the certificate of the key, and those between it and a root, in any order.
    :raises CertificateError: they are damaged or don't belong together.
    """
    objects = [one for one in split_pem(chain) if b"CERTIFICATE-" in one]
    if not objects:
        raise CertificateError("there is no certificate in it", "it must be PEM")
    try:
        certificates = [x509.load_pem_x509_certificate(one) for one in objects]
    except ValueError as error:
        raise CertificateError(f"the certificate can't be read: {error}") from None
    texts = dict(zip(certificates, objects, strict=True))
    certificates = _in_order(certificates, _public_bytes_of_key(key))
    leaf = read_leaf(certificates[0])
    made = Certificate(
        names=leaf.names,
        key_pem=key,
        chain_pem=b"".join(texts[one] for one in certificates),
        not_after=datetime.fromtimestamp(leaf.span.end, timezone.utc),
        source=source,
        fingerprint=certificates[0].fingerprint(hashes.SHA256()).hex(),
    )
    return made, leaf


def _in_order(certificates: list[x509.Certificate], public: bytes) -> list[x509.Certificate]:
    """Return each once: that of the key, who signed it, who signed that; then the others.

    :raises CertificateError: none is of the key.
    """
    rest = list(dict.fromkeys(certificates))
    last = next((one for one in rest if _public_bytes(one) == public), None)
    if last is None:
        raise CertificateError("the key does not belong to the certificate")
    chain = []
    while last is not None:
        chain.append(last)
        rest.remove(last)
        issuer = last.issuer
        last = next((one for one in rest if one.subject == issuer), None)
    return [*chain, *rest]


def _public_bytes(certificate: x509.Certificate) -> bytes:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("the certificate's kind of key is not known") from None
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _public_bytes_of_key(pem: bytes) -> bytes:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except TypeError:
        raise CertificateError(
            "the key is encrypted", "write it without a pass phrase, readable for nobody else"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("the key can't be read", "it must be a private key in PEM") from None
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def load_objects(objects: list[bytes], source: str) -> tuple[Certificate, Leaf]:
    """Return the certificate that a store keeps as key, leaf and chain."""
    keys = [one for one in objects if b"PRIVATE KEY-" in one]
    if not keys:
        raise CertificateError("there is no private key in it")
    return load_pair(keys[0], b"".join(objects), source)


def make_challenge(name: str, digest: bytes, now: datetime) -> Certificate:
    """Return the certificate that answers a tls-alpn-01 challenge.

    :param digest: SHA-256 of the key authorization.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    proof = x509.UnrecognizedExtension(ACME_IDENTIFIER, b"\x04\x20" + digest)
    builder = unsigned(name, name, key, now, timedelta(days=CHALLENGE_DAYS))
    certificate = builder.add_extension(
        x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
    ).add_extension(proof, critical=True)
    pem = certificate.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return load_pair(key_pem(key), pem, "self-signed")[0]


def unsigned(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    """Return a certificate to be signed; it begins an hour ago, as clocks differ."""
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer[:64])]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + lifetime)
    )
