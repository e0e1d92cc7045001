"""Certificates for tests: one authority, one certificate for each name."""

from __future__ import annotations

import ipaddress
import os
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: str, issuer: str, key: Any) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _pem(path: str, data: bytes) -> str:
    with open(path, "wb") as file:
        file.write(data)
    return path


def make_certificates(path: str, names: list[str], authority: str = "ca") -> dict[str, Any]:
    """Return for each name (certificate, key, authority) as paths of PEM files."""
    os.makedirs(path, exist_ok=True)
    root = ec.generate_private_key(ec.SECP256R1())
    constraint = x509.BasicConstraints(ca=True, path_length=None)
    root_certificate = (
        _builder(authority, authority, root)
        .add_extension(constraint, critical=True)
        .sign(root, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    root_file = _pem(f"{path}/{authority}.pem", root_certificate.public_bytes(pem))
    files: dict[str, Any] = {}
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        alternative = x509.SubjectAlternativeName(
            [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        certificate = (
            _builder(name, authority, key)
            .add_extension(alternative, critical=False)
            .sign(root, hashes.SHA256())
        )
        private = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files[name] = (
            _pem(f"{path}/{name}.pem", certificate.public_bytes(pem)),
            _pem(f"{path}/{name}.key", private),
            root_file,
        )
    return files
