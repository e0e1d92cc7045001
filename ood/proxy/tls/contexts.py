"""OpenSSL's settings for servers: one context for each certificate, made when it is needed.

They follow Mozilla's "intermediate" recommendation (5.8): TLS 1.2 and 1.3, forward secrecy and
authenticated encryption only; the client's preference counts, as it knows its own hardware.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IReactorTime

from ood.interfaces import Certificate

CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
    b":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
    b":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""For TLS 1.2; all of TLS 1.3 are fine."""
GROUPS = (b"X25519MLKEM768:X25519:P-256:P-384", b"X25519:P-256:P-384")
"""For the exchange of keys: the first list that this OpenSSL knows."""
HTTP1 = b"http/1.1"
"""What is spoken if the client leaves it open."""
ACME = b"acme-tls/1"
"""The protocol of a validation (RFC 8737): a handshake, and nothing after it."""

CONTEXTS_MAX = 512
"""Contexts that are kept; each takes some 15 KB, and making one 0.3 ms."""
CONTEXT_SECONDS = 43_200.0
"""A context's tickets are sealed with a key that it keeps in memory as long as it lives: who steals
that key can read no more than half a day of TLS 1.2."""

_ALIKE = b"ood"
_ENABLE_PARTIAL_WRITE, _ACCEPT_MOVING_WRITE_BUFFER, _NO_AUTO_CHAIN = 1, 2, 8
_MODES = (
    _ENABLE_PARTIAL_WRITE  # what the kernel takes is told, and not only when all was taken
    | _ACCEPT_MOVING_WRITE_BUFFER  # the rest is sent from where it then is
    | SSL.MODE_RELEASE_BUFFERS  # some 34 KB of each idle connection
    | _NO_AUTO_CHAIN  # what is sent is what was given, not looked for anew in each handshake
)


class Contexts:
    """The contexts in use, the last used one last.

    :param protocols: what is spoken here, the preferred one first.
    :param keylog: is told each connection's secrets.
    """

    def __init__(
        self, clock: IReactorTime, protocols: Sequence[bytes], keylog: KeyLog | None = None
    ) -> None:
        self._clock = clock
        self._keylog = keylog
        self._protocols = tuple(protocols)
        self._known: OrderedDict[str, tuple[float, bytes, SSL.Context]] = OrderedDict()

    def find(self, certificate: Certificate) -> SSL.Context:
        """Return the context for a certificate.

        :raises ValueError: certificate or key can't be read, or don't belong together.
        """
        name = certificate.fingerprint
        known = self._known.get(name)
        # the same certificate may get another chain: somebody adds what was missing
        alike = known is not None and known[1] == certificate.chain_pem
        if known is not None and alike and known[0] > self._clock.seconds():
            self._known.move_to_end(name)
            return known[2]
        context = make_context(certificate, _chooser(self._protocols))
        if self._keylog is not None:
            context.set_keylog_callback(self._keylog)
        until = self._clock.seconds() + CONTEXT_SECONDS
        self._known[name] = (until, certificate.chain_pem, context)
        self._known.move_to_end(name)
        if len(self._known) > CONTEXTS_MAX:
            self._known.popitem(last=False)
        return context


def challenge_context(certificate: Certificate) -> SSL.Context:
    """Return a context that answers a validation and does nothing else."""
    return make_context(certificate, _chooser((ACME,)))


KeyLog = Callable[[SSL.Connection, bytes], None]
Chooser = Callable[[SSL.Connection, list[bytes]], bytes]


def _chooser(protocols: tuple[bytes, ...]) -> Chooser:
    def choose(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
        for protocol in protocols:
            if protocol in offered:
                return protocol
        raise SSL.Error([("ood", "", "no protocol in common")])

    return choose


def make_context(certificate: Certificate, choose: Chooser) -> SSL.Context:
    """Return a server's context.

    :raises ValueError: certificate or key can't be read, or don't belong together.
    """
    context = common_context(SSL.TLS_SERVER_METHOD)
    # What ends without TLS's own end is an end all the same: HTTP knows by itself what is missing.
    context.set_options(SSL.OP_IGNORE_UNEXPECTED_EOF)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # tickets need no memory here
    # A session is of one certificate: another one's would be resumed without showing its own.
    context.set_session_id(hashlib.sha256(_ALIKE + certificate.fingerprint.encode()).digest())
    context.set_alpn_select_callback(choose)
    try:
        show(context, certificate.chain_pem, certificate.key_pem)
    except ValueError as error:
        raise ValueError(f"the certificate for {certificate.names[:1]} is unusable") from error
    return context


def common_context(method: int) -> SSL.Context:
    """Return what servers and clients have in common."""
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_mode(_MODES)
    context.set_cipher_list(CIPHERS)
    _choose_groups(context)
    return context


def show(context: SSL.Context, chain_pem: bytes, key_pem: bytes) -> None:
    """Have ``context`` show a certificate with what leads to its CA.

    :raises ValueError: certificate or key can't be read, or don't belong together.
    """
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
        context.use_certificate(chain[0])
        for issuer in chain[1:]:
            if issuer.issuer != issuer.subject:  # a root is trusted by having it, not by being told
                context.add_extra_chain_cert(issuer)
        context.use_privatekey(load_pem_private_key(key_pem, None))  # type: ignore[arg-type]
        context.check_privatekey()
    except (SSL.Error, TypeError, IndexError) as error:
        raise ValueError("certificate or key are unusable, or don't belong together") from error


def _choose_groups(context: SSL.Context) -> None:
    """Set the groups; pyOpenSSL has no method for more than one, older ones no function."""
    library = SSL._lib  # type: ignore[attr-defined]
    choose = getattr(library, "SSL_CTX_set1_curves_list", None)
    for groups in GROUPS:
        if choose is None or choose(context._context, groups) == 1:
            return
        library.ERR_clear_error()
