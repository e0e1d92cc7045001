"""The API for other machines: TLS, and a certificate asked of every client.

Imported only if ``apiTls`` is set: OpenSSL is a quarter of what the service would
take otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLContextFactory
from zope.interface import implementer

from ood.errors import StartupError
from ood.model.apitls import ApiTls

HTTPS_PORT = 443


@implementer(IOpenSSLContextFactory)
class ClientsWithCertificates:
    """The TLS of the API's port.

    :param tls: the setting.
    :raises StartupError: a file can't be used.
    """

    def __init__(self, tls: ApiTls) -> None:
        self._tls = tls
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        # A session that is resumed would not show its certificate again.
        self._context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self._context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        self._load_own()
        self._load_clients()

    def getContext(self) -> SSL.Context:
        """Return the one context that all connections share."""
        return self._context

    def hosts(self) -> frozenset[str]:
        """Return what Host may be: what the certificate is for, and the address, with the port."""
        names = {self._tls.address.rpartition(":")[0], *self._names()}
        with_port = {f"{name}:{self._tls.port}".lower() for name in names}
        if self._tls.port == HTTPS_PORT:
            with_port |= {name.lower() for name in names}
        return frozenset(with_port)

    def _names(self) -> list[str]:
        certificate = x509.load_pem_x509_certificate(_content("cert", self._tls.cert))
        try:
            found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return []
        addresses = found.value.get_values_for_type(x509.IPAddress)
        shown = [f"[{one}]" if one.version == 6 else str(one) for one in addresses]
        return [*found.value.get_values_for_type(x509.DNSName), *shown]

    def _load_own(self) -> None:
        """Load the certificate and its key."""
        _content("cert", self._tls.cert)
        _content("key", self._tls.key)
        try:
            self._context.use_certificate_chain_file(self._tls.cert)
        except SSL.Error:
            raise _unusable("cert", self._tls.cert, "it holds no certificate in PEM") from None
        try:
            self._context.use_privatekey_file(self._tls.key)
            self._context.check_privatekey()
        except SSL.Error as error:
            what = "it is not the key of the certificate in cert"
            if "mismatch" not in str(error):
                what = "it holds no private key in PEM without a pass phrase"
            raise _unusable("key", self._tls.key, what) from None

    def _load_clients(self) -> None:
        """Load the CAs of the clients, and ask every client for a certificate."""
        content = _content("clientCa", self._tls.client_ca)
        try:
            authorities = x509.load_pem_x509_certificates(content)
            self._context.load_verify_locations(self._tls.client_ca)
        except (ValueError, SSL.Error):
            what = "it holds no certificates in PEM"
            raise _unusable("clientCa", self._tls.client_ca, what) from None
        self._context.set_client_ca_list(
            [crypto.X509.from_cryptography(one).get_subject() for one in authorities]
        )
        self._context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _as_found)


def _as_found(_connection: Any, _certificate: Any, _error: int, _depth: int, good: int) -> bool:
    """Let OpenSSL's own verdict stand."""
    return bool(good)


def _content(key: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _unusable(key, path, error.strerror or str(error)) from None


def _unusable(key: str, path: str, what: str) -> StartupError:
    return StartupError(
        f"apiTls: {key} {path}: {what}", "mend it, or: remove apiTls from settings in config.json"
    )
