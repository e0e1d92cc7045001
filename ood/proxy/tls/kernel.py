"""TLS whose records the kernel seals and opens (kTLS), so that a worker can be given the socket.

OpenSSL does the handshake, in memory and fed with one record at a time: so it
never reads what follows the client's last message, which is the kernel's.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from contextlib import closing

from OpenSSL import SSL

from ood.net.listen import RawSocket
from ood.net.sealed import SOL_TLS
from ood.proxy.core.ktls import (
    CIPHERS,
    CLIENT_SECRET,
    SERVER_SECRET,
    Cipher,
    Keys,
    sample,
    tls12_keys,
    tls13_keys,
)

RECORD_BYTES_MAX = 16_640
"""The longest record: 16 KiB, and what sealing adds to it."""
FLIGHT_BYTES = 1 << 17
"""More than a server ever sends at once in a handshake: its certificates, some KB."""

_TCP_ULP = 31
_TLS_TX, _TLS_RX = 1, 2
_HEADER_BYTES = 5
_KINDS = frozenset((20, 21, 22, 23))
_DONTWAIT = socket.MSG_DONTWAIT
_LOOPBACK = "127.0.0.1"
_PROBED: Mapping[str, str] = {
    "TLS_AES_128_GCM_SHA256": "AES-128-GCM",
    "TLS_AES_256_GCM_SHA384": "AES-256-GCM",
    "TLS_CHACHA20_POLY1305_SHA256": "ChaCha20-Poly1305",
}


class Support:
    """What this machine's kernel can do.

    :ivar ciphers: numbers of the ciphers that it knows.
    :ivar why_not: why it knows none; empty if it does.
    """

    def __init__(self, ciphers: frozenset[int], why_not: str = "") -> None:
        self.ciphers = ciphers
        self.why_not = why_not

    def __bool__(self) -> bool:
        return bool(self.ciphers)


def probe() -> Support:
    """Ask the kernel, on a connection of this process with itself.

    Asked by root it loads its module for that.
    """
    known = set()
    try:
        for name in _PROBED:
            cipher = CIPHERS[name]
            if _knows(cipher):
                known.add(cipher.number)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return Support(frozenset(), "its module tls is not loaded, or was not built")
        return Support(frozenset(), error.strerror or str(error))
    return Support(frozenset(known), "" if known else "it knows none of the ciphers")


def _knows(cipher: Cipher) -> bool:
    """Ask for one cipher; OSError if the kernel has no TLS at all."""
    with (
        closing(socket.create_server((_LOOPBACK, 0))) as listening,
        closing(socket.create_connection(listening.getsockname(), 1)) as ours,
    ):
        ours.setsockopt(socket.IPPROTO_TCP, _TCP_ULP, b"tls")
        keys = sample(cipher)
        try:
            _give(ours, Keys(keys, keys))
        except OSError:
            return False
        return True


def describe(support: Support) -> str:
    """Say, for people, whether the kernel does TLS here."""
    if not support:
        return f"the kernel does no TLS: {support.why_not} (modprobe tls); ood does it all itself"
    names = ", ".join(
        text for name, text in _PROBED.items() if CIPHERS[name].number in support.ciphers
    )
    return f"the kernel does TLS after the handshake, with {names}"


def keep_secrets(connection: SSL.Connection, line: bytes) -> None:
    """Keep a connection's secrets until the kernel has them; a context's keylog callback."""
    kept = connection.get_app_data()
    if kept is None:
        return
    label, _, rest = line.partition(b" ")
    if label in (CLIENT_SECRET, SERVER_SECRET):
        kept[label] = bytes.fromhex(rest.rpartition(b" ")[2].decode("ascii"))


class KernelHandshake:
    """A handshake whose connection may become the kernel's.

    :param settings: its keylog callback must be :func:`keep_secrets`.
    """

    def __init__(self, settings: SSL.Context, sock: RawSocket, support: Support) -> None:
        self._sock = sock
        self._support = support
        self._secrets: dict[bytes, bytes] = {}
        self._input = b""
        self._wanted = _HEADER_BYTES
        self._unsent = b""
        self._sent = b""
        self._last_flight = b""
        self._done = False
        self.connection = SSL.Connection(settings, None)
        self.connection.set_app_data(self._secrets)
        self.connection.set_accept_state()

    def step(self) -> None:
        """Go on as far as what has come allows, like ``do_handshake``; raises what that does."""
        self._flush()
        while not self._done:
            self._read()
            try:
                self.connection.do_handshake()
                self._done = True
            except SSL.WantReadError:
                pass
            finally:
                self._take_output()
            self._flush()

    def _read(self) -> None:
        """Feed OpenSSL with the next record, and not a byte of what follows it."""
        while len(self._input) < self._wanted:
            try:
                data = self._sock.recv(self._wanted - len(self._input), _DONTWAIT)
            except BlockingIOError:
                raise SSL.WantReadError from None
            except OSError as error:
                raise SSL.SysCallError(error.errno, error.strerror) from None
            if not data:
                raise SSL.SysCallError(-1, "Unexpected EOF")
            self._input += data
            if len(self._input) == self._wanted == _HEADER_BYTES:
                self._wanted += self._length()
        self.connection.bio_write(self._input)
        self._input, self._wanted = b"", _HEADER_BYTES

    def _length(self) -> int:
        length = int.from_bytes(self._input[3:5], "big")
        if self._input[0] not in _KINDS or not 0 < length <= RECORD_BYTES_MAX:
            raise SSL.Error([("ood", "", "no TLS record")])
        return length

    def _take_output(self) -> None:
        try:
            out = self.connection.bio_read(FLIGHT_BYTES)
        except SSL.WantReadError:
            return
        if self._done:
            self._last_flight = out
        self._sent += out
        self._unsent += out
        self._flush(wait=False)

    def _flush(self, *, wait: bool = True) -> None:
        while self._unsent:
            try:
                sent = self._sock.send(self._unsent, _DONTWAIT)
            except BlockingIOError:
                if wait:
                    raise SSL.WantWriteError from None
                return
            except OSError as error:
                raise SSL.SysCallError(error.errno, error.strerror) from None
            self._unsent = self._unsent[sent:]

    def install(self) -> bool:
        """Have the kernel go on; false if OpenSSL has to.

        That it must be is no fault: the client has chosen another cipher, or closed its side.
        """
        cipher = CIPHERS.get(self.connection.get_cipher_name() or "")
        if cipher is None or cipher.number not in self._support.ciphers:
            return self._stay()
        keys = self._keys(cipher)
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, _TCP_ULP, b"tls")
        except OSError:
            return self._stay()
        _give(self._sock, keys)
        return True

    def _keys(self, cipher: Cipher) -> Keys:
        connection = self.connection
        if connection.get_protocol_version_name() == "TLSv1.3":
            return tls13_keys(cipher, self._secrets, self._last_flight)
        return tls12_keys(
            cipher,
            connection.master_key() or b"",
            connection.server_random() or b"",
            connection.client_random() or b"",
            self._sent,
        )

    def stay(self) -> None:
        """Let OpenSSL go on by itself, on the socket."""
        self._stay()

    def _stay(self) -> bool:
        self._secrets.clear()
        library = SSL._lib  # type: ignore[attr-defined]
        if library.SSL_set_fd(self.connection._ssl, self._sock.fileno()) != 1:
            raise SSL.Error([("ood", "", "the socket can't be used")])
        self._sock.setblocking(False)
        return False


def _give(sock: RawSocket, keys: Keys) -> None:
    sock.setsockopt(SOL_TLS, _TLS_TX, keys.sending)
    sock.setsockopt(SOL_TLS, _TLS_RX, keys.receiving)
