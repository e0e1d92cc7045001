"""Mutual TLS between members: one certificate authority for the cluster.

A member's certificate names its id (as a DNS name) and the host or IP address
it is reached at.  service-identity checks the host while the connection is
made; the node checks the id in its handshake.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from OpenSSL import crypto
from service_identity.hazmat import DNSPattern
from service_identity.pyopenssl import extract_patterns
from twisted.internet import ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

from ood.raft.errors import RaftError


@dataclass(frozen=True)
class TlsOptions:
    """This member's certificate and the authority of all members.

    :ivar certificate: PEM file: certificate, then intermediates if any.
    :ivar key: PEM file of its private key.
    :ivar authority: PEM file of the authority that signed every member's.
    """

    certificate: str | os.PathLike[str]
    key: str | os.PathLike[str]
    authority: str | os.PathLike[str]

    def _own(self) -> ssl.PrivateCertificate:
        pem = _read(self.certificate, "certificate") + b"\n" + _read(self.key, "key")
        try:
            own: ssl.PrivateCertificate = ssl.PrivateCertificate.loadPEM(pem)  # type: ignore[no-untyped-call]
        except crypto.Error as error:
            raise RaftError(
                f"{self.certificate} and {self.key} are no certificate with its key: {error}",
                "give PEM files that belong together",
            ) from error
        return own

    def _trust(self) -> ssl.Certificate:
        try:
            return ssl.Certificate.loadPEM(_read(self.authority, "authority"))
        except crypto.Error as error:
            raise RaftError(
                f"{self.authority} is no certificate: {error}", "give a PEM file"
            ) from error

    def server(self) -> ssl.CertificateOptions:
        """Return what a listener needs: it asks for the peer's certificate."""
        own = self._own()
        return ssl.CertificateOptions(
            privateKey=own.privateKey.original,
            certificate=own.original,
            trustRoot=self._trust(),
            raiseMinimumTo=ssl.TLSVersion.TLSv1_2,
        )

    def client(self, host: str) -> IOpenSSLClientConnectionCreator:
        """Return what a connection to ``host`` needs."""
        return ssl.optionsForClientTLS(host, trustRoot=self._trust(), clientCertificate=self._own())


def _read(path: str | os.PathLike[str], what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise RaftError(f"the TLS {what} can't be read: {error}", "check the path") from error


def names_of(certificate: Any) -> frozenset[str]:
    """Return the DNS names a peer's certificate vouches for, in lower case."""
    if certificate is None:
        return frozenset()
    patterns = [each for each in extract_patterns(certificate) if isinstance(each, DNSPattern)]
    return frozenset(pattern.pattern.decode("ascii", "replace").lower() for pattern in patterns)
