"""Certificates of one's own, for tests."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

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
