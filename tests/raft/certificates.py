"""Certificates for tests: one authority, one certificate for each name."""

from __future__ import annotations

from pathlib import Path

from tests.certs.pki import Authority


def make_certificates(
    path: str, names: list[str], authority: str = "ca"
) -> dict[str, tuple[str, str, str]]:
    """Return for each name (certificate, key, authority) as paths of PEM files."""
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)

    def write(name: str, content: bytes) -> str:
        file = directory / name
        file.write_bytes(content)
        return str(file)

    signer = Authority(authority)
    root = write(f"{authority}.pem", signer.pem)
    files = {}
    for name in names:
        certificate, key = signer.pair(name, "127.0.0.1")
        files[name] = (write(f"{name}.pem", certificate), write(f"{name}.key", key), root)
    return files
