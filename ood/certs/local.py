"""Certificates for names of this machine, by a small CA of ood's own.

Whoever wants a browser without a warning tells it to trust ``local/ca.pem``.  That is
safe: the CA is limited to names that mean nothing outside one's own network.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.logger import Logger

from ood.certs.errors import CertificateError
from ood.certs.files import write_private
from ood.certs.pem import Leaf, key_pem, load_objects, load_signer, split_pem, unsigned
from ood.interfaces import Certificate
from ood.model.localnames import LOCAL_SUFFIXES

AUTHORITY_DAYS = 3650
"""Long, since each new one has to be trusted by hand."""
LEAF_DAYS = 800
"""Below the 825 days that Apple's systems allow."""
RENEWED_DAYS = 30
"""Made anew when it is valid for less than this."""
AUTHORITY_NAME = "ood: names of this machine"


class LocalAuthority:
    """Makes them on first use, and keeps them.

    :param directory: keeps the CA and what it has signed.
    """

    log = Logger()

    def __init__(self, directory: Path, now: Callable[[], datetime]) -> None:
        self._directory = directory
        self._now = now
        self._made: dict[str, tuple[Certificate, Leaf]] = {}

    @property
    def authority_file(self) -> Path:
        """The CA's certificate, for browsers."""
        return self._directory / "ca.pem"

    @property
    def made(self) -> dict[str, tuple[Certificate, Leaf]]:
        """What was made or read in this run."""
        return self._made

    def get(self, name: str) -> Certificate:
        """Return the certificate of a name."""
        found = self._made.get(name) or self._read(name)
        limit = self._now() + timedelta(days=RENEWED_DAYS)
        if found is None or found[0].not_after < limit:
            found = self._make(name)
        self._made[name] = found
        return found[0]

    def renew(self) -> bool:
        """Make anew what is near its end; return whether anything was."""
        limit = self._now() + timedelta(days=RENEWED_DAYS)
        due = [name for name, (made, _) in self._made.items() if made.not_after < limit]
        for name in due:
            self.get(name)
        return bool(due)

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.pem"

    def _read(self, name: str) -> tuple[Certificate, Leaf] | None:
        try:
            certificate, leaf = load_objects(
                split_pem(self._file(name).read_bytes()), "self-signed"
            )
        except (OSError, CertificateError):
            return None
        return (certificate, leaf) if name in leaf.names else None

    def _make(self, name: str) -> tuple[Certificate, Leaf]:
        authority, signer = self._authority()
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = (
            unsigned(name, AUTHORITY_NAME, key, self._now(), timedelta(days=LEAF_DAYS))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
            .add_extension(issuer, critical=False)
        )
        leaf = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        objects = [key_pem(key), leaf, authority]
        write_private(self._file(name), b"".join(objects))
        self.log.info("made a certificate for {name}", name=name)
        return load_objects(objects, "self-signed")

    def _authority(self) -> tuple[bytes, ec.EllipticCurvePrivateKey]:
        """Return the CA's certificate and key; both are made anew if either is no good."""
        key_file = self._directory / "ca.key"
        try:
            certificate = self.authority_file.read_bytes()
            signer = load_signer(key_file.read_bytes())
            read = x509.load_pem_x509_certificate(certificate)
            fits = read.public_key() == signer.public_key()
            if fits and read.not_valid_after_utc > self._now() + timedelta(days=LEAF_DAYS):
                return certificate, signer
        except (OSError, ValueError, CertificateError):
            pass  # the first use, or what was there is damaged
        signer = ec.generate_private_key(ec.SECP256R1())
        certificate = _authority_certificate(signer, self._now())
        write_private(key_file, key_pem(signer))
        write_private(self.authority_file, certificate)
        return certificate, signer


def _authority_certificate(key: ec.EllipticCurvePrivateKey, now: datetime) -> bytes:
    names = [x509.DNSName(suffix) for suffix in LOCAL_SUFFIXES]
    lifetime = timedelta(days=AUTHORITY_DAYS)
    usage = x509.KeyUsage(
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
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        unsigned(AUTHORITY_NAME, AUTHORITY_NAME, key, now, lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.NameConstraints(names, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
