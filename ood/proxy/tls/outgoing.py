"""TLS towards servers elsewhere: ood is the client."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections import OrderedDict
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity.cryptography import extract_patterns
from service_identity.exceptions import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from twisted.internet.interfaces import IReactorTime

from ood.agreement import Steps
from ood.model.upstreamtls import Tls
from ood.net.listen import RawSocket
from ood.net.stream import WriteFirstError
from ood.proxy.core import trust
from ood.proxy.tls.contexts import CONTEXTS_MAX, HTTP1, common_context, show
from ood.proxy.tls.socket import TlsSocket, explain
from ood.proxy.tls.speakers import as_raw
from ood.proxy.tls.turns import Turns

CONTEXT_SECONDS = 43_200.0
"""The system's CAs are read anew after that; one's own files as soon as they change."""
SESSION_SECONDS = 3600.0
"""A session is resumed no longer than that: the certificate is not looked at again then."""

_UNREADABLE = (
    ValueError,
    CertificateError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the libraries say of certificates that OpenSSL takes, and they don't."""

_Stamp = tuple[tuple[int, int, int], ...]


class _Known(msgspec.Struct, frozen=True):
    """A context, the files it was made of, and until when it is used."""

    context: SSL.Context
    stamp: _Stamp
    until: float


class Outgoing:
    """What all servers have in common.

    :ivar turns: the line in which handshakes wait.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.turns = Turns(clock)
        self._known: OrderedDict[Tls, _Known] = OrderedDict()

    def towards(self, tls: Tls) -> Towards:
        """Return what is kept of one server."""
        return Towards(self, tls)

    def context(self, tls: Tls) -> SSL.Context:
        """Return the context for servers with the same settings.

        :raises ValueError: a file can't be used; the text says which, and why.
        """
        alike = msgspec.structs.replace(tls, server_name="")
        stamp = _stamp(tls)
        known, now = self._known.get(alike), self.clock.seconds()
        if known is None or known.stamp != stamp or now >= known.until:
            known = _Known(make_client_context(tls), stamp, now + CONTEXT_SECONDS)
            self._known[alike] = known
        self._known.move_to_end(alike)
        if len(self._known) > CONTEXTS_MAX:
            self._known.popitem(last=False)
        return known.context

    def stop(self) -> None:
        """Keep nothing waiting; requests under way may still need handshakes."""
        self.turns.hurry()


def _stamp(tls: Tls) -> _Stamp:
    found = []
    for key, path in tls.named_files().items():
        try:
            status = os.stat(path)
        except OSError as error:
            raise ValueError(f"{key} {path}: {error.strerror}") from None
        found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)


def make_client_context(tls: Tls) -> SSL.Context:
    """Return OpenSSL's settings for a client.

    :raises ValueError: a file can't be used; the text says which, and why.
    """
    context = common_context(SSL.TLS_CLIENT_METHOD)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # what is to be resumed is kept here
    context.set_alpn_protos([HTTP1])
    if tls.verify:
        context.set_verify(SSL.VERIFY_PEER, _judge)
        if tls.ca_file:
            _trust_only(context, tls.ca_file)
        else:
            context.set_default_verify_paths()
    if tls.cert_file:
        chain, key = _content("certFile", tls.cert_file), _content("keyFile", tls.key_file)
        try:
            show(context, chain, key)
        except ValueError:
            problem = "they hold no certificate in PEM and its key without a pass phrase"
            raise ValueError(
                f"certFile {tls.cert_file}, keyFile {tls.key_file}: {problem}"
            ) from None
    return context


def _trust_only(context: SSL.Context, path: str) -> None:
    """Trust the certificates in a file, whether they are of the highest CA or not."""
    _content("caFile", path)
    try:
        context.load_verify_locations(path)
    except SSL.Error:
        raise ValueError(f"caFile {path}: it holds no certificates in PEM") from None
    store = context.get_cert_store()
    if store is not None:
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)


def _content(key: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{key} {path}: {error.strerror}") from None


class _Judgement:
    """What is asked of a server's certificate, and what was found wrong."""

    __slots__ = ("problem", "tls")

    def __init__(self, tls: Tls) -> None:
        self.tls = tls
        self.problem = ""


def _judge(
    connection: SSL.Connection, certificate: crypto.X509, number: int, depth: int, good: int
) -> bool:
    """Judge one certificate of the chain, the server's own the last."""
    judgement: _Judgement = connection.get_app_data()
    if judgement.problem:
        return False
    try:
        found = certificate.to_cryptography()
        if not good:
            judgement.problem = _verdict(found, number, depth, judgement.tls.ca_file)
        elif depth == 0:
            judgement.problem = _stranger(found, judgement.tls.server_name)
    except _UNREADABLE as error:
        judgement.problem = f"its certificate can't be read: {error}"
    return not judgement.problem


def _verdict(found: x509.Certificate, number: int, depth: int, ca_file: str) -> str:
    library: Any = SSL._lib  # type: ignore[attr-defined]
    words = SSL._ffi.string(library.X509_verify_cert_error_string(number))  # type: ignore[attr-defined]
    lifetime = found.not_valid_before_utc, found.not_valid_after_utc
    return trust.verdict(number, words.decode("ascii", "replace"), depth, lifetime, ca_file)


def _stranger(found: x509.Certificate, wanted: str) -> str:
    """Return what is wrong if a certificate is not for ``wanted``."""
    names = _names(found)
    try:
        identity: IPAddress_ID | DNS_ID = IPAddress_ID(ipaddress.ip_address(wanted))
    except ValueError:
        identity = DNS_ID(wanted)
    try:
        if names:
            verify_service_identity(extract_patterns(found), [identity], [])
    except VerificationError:
        return trust.mismatch(names, wanted)
    return "" if names else trust.mismatch(names, wanted)


def _names(found: x509.Certificate) -> list[str]:
    try:
        extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return [*extension.value.get_values_for_type(x509.DNSName), *map(str, addresses)]


class Towards:
    """What is kept of one server: how TLS is spoken to it, and the session to resume."""

    def __init__(self, outgoing: Outgoing, tls: Tls) -> None:
        self._outgoing = outgoing
        self._session: tuple[SSL.Context, SSL.Session, float] | None = None
        self.tls = tls
        self.turns = outgoing.turns

    def handshake(self) -> ClientHandshake:
        """Return what a new connection begins with."""
        return ClientHandshake(self)

    def connection(self, sock: RawSocket) -> SSL.Connection:
        """Return OpenSSL's side of a connection.

        :raises ValueError: a file can't be used; the text says which, and why.
        """
        context = self._outgoing.context(self.tls)
        connection = SSL.Connection(context, sock)
        connection.set_app_data(_Judgement(self.tls))
        connection.set_connect_state()
        if not _is_address(self.tls.server_name):
            connection.set_tlsext_host_name(self.tls.server_name.encode("ascii"))
        if self._session is not None:
            made_with, session, until = self._session
            if made_with is context and self._outgoing.clock.seconds() < until:
                connection.set_session(session)
            else:
                self._session = None
        return connection

    def keep(self, connection: SSL.Connection) -> None:
        """Remember the session of a connection for the next one."""
        session = connection.get_session()
        if session is None:
            return
        until = self._outgoing.clock.seconds() + SESSION_SECONDS
        if self._session is not None and _is_resumed(connection):
            until = self._session[2]  # its certificate was looked at when that one began
        self._session = (connection.get_context(), session, until)


def _is_resumed(connection: SSL.Connection) -> bool:
    """Tell whether a session was resumed; pyOpenSSL has no method for it."""
    library = SSL._lib  # type: ignore[attr-defined]
    return bool(library.SSL_session_reused(connection._ssl))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class ClientHandshake:
    """One connection's handshake: an :class:`~ood.agreement.Agreement`."""

    __slots__ = ("_connection", "_towards", "begun")

    def __init__(self, towards: Towards) -> None:
        self._towards = towards
        self._connection: SSL.Connection | None = None
        self.begun = False

    def queue(self, stream: Steps) -> None:
        """Have ``stream`` call :meth:`step` when it is its turn."""
        self.begun = True
        self._towards.turns.add(stream)

    def step(self, sock: socket.socket) -> RawSocket:
        """Go on as far as what has come allows.

        :raises BlockingIOError: it has to be called again.
        :raises OSError: it failed; the text says why.
        """
        connection = self._connection
        try:
            if connection is None:
                connection = self._connection = self._towards.connection(sock)
            connection.do_handshake()
        except SSL.WantReadError:
            raise BlockingIOError(errno.EAGAIN, "its answer has not come") from None
        except SSL.WantWriteError:
            raise WriteFirstError(errno.EAGAIN, "the kernel takes no more") from None
        except SSL.Error as error:
            raise OSError(errno.EPROTO, self._why(connection, error)) from None
        except ValueError as error:
            raise OSError(errno.EPROTO, str(error)) from None
        # Nobody waits for an end that can't be said at once: all that was sent has been used.
        return as_raw(TlsSocket(connection, sock, TlsSocket.abandon))

    def _why(self, connection: SSL.Connection | None, error: SSL.Error) -> str:
        judgement = None if connection is None else connection.get_app_data()
        if judgement is not None and judgement.problem:
            return str(judgement.problem)
        return trust.meaning(explain(error))

    def keep(self) -> None:
        """Remember the session: its ticket came with the first answer."""
        if self._connection is not None:
            self._towards.keep(self._connection)
