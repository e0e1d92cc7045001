"""From a TLS handshake's secrets to what the kernel needs to go on with the connection (kTLS).

RFC 8446 7.3 and RFC 5246 6.3; the layouts are those of ``linux/tls.h``.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterator, Mapping

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CLIENT_SECRET = b"CLIENT_TRAFFIC_SECRET_0"
SERVER_SECRET = b"SERVER_TRAFFIC_SECRET_0"
"""Labels of the lines in which OpenSSL tells secrets (``SSLKEYLOGFILE``)."""

_TLS12, _TLS13 = 0x0303, 0x0304
_HANDSHAKE, _APPLICATION_DATA = 22, 23
_HEADER_BYTES = 5
_NONCE_BYTES = 12


class Cipher(msgspec.Struct, frozen=True):
    """How the kernel knows a cipher.

    :ivar number: its number there.
    :ivar key: bytes of the key.
    :ivar salt: bytes of the nonce's fixed part.
    :ivar digest: the hash of the handshake.
    """

    number: int
    key: int
    salt: int
    digest: str


_AES_128 = Cipher(51, 16, 4, "sha256")
_AES_256 = Cipher(52, 32, 4, "sha384")
_CHACHA20 = Cipher(54, 32, 0, "sha256")
CIPHERS: Mapping[str, Cipher] = {
    "TLS_AES_128_GCM_SHA256": _AES_128,
    "TLS_AES_256_GCM_SHA384": _AES_256,
    "TLS_CHACHA20_POLY1305_SHA256": _CHACHA20,
    "ECDHE-ECDSA-AES128-GCM-SHA256": _AES_128,
    "ECDHE-RSA-AES128-GCM-SHA256": _AES_128,
    "ECDHE-ECDSA-AES256-GCM-SHA384": _AES_256,
    "ECDHE-RSA-AES256-GCM-SHA384": _AES_256,
    "ECDHE-ECDSA-CHACHA20-POLY1305": _CHACHA20,
    "ECDHE-RSA-CHACHA20-POLY1305": _CHACHA20,
}
"""By OpenSSL's name for the suite."""
_HASHES: Mapping[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
}


class Keys(msgspec.Struct, frozen=True):
    """What the kernel is told.

    :ivar sending: for what it is to seal.
    :ivar receiving: for what it is to open.
    """

    sending: bytes
    receiving: bytes

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "Keys()"


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Return type and content of each whole record in ``data``."""
    at = 0
    while at < len(data):
        end = at + _HEADER_BYTES + int.from_bytes(data[at + 3 : at + 5], "big")
        yield data[at], data[at + _HEADER_BYTES : end]
        at = end


def sample(cipher: Cipher, *, version: int = _TLS13) -> bytes:
    """Return keys that nobody uses, to ask the kernel whether it knows the cipher."""
    return _info(cipher, version, bytes(cipher.key), bytes(_NONCE_BYTES), 0)


def tls13_keys(cipher: Cipher, secrets: Mapping[bytes, bytes], last_flight: bytes) -> Keys:
    """Return the keys of a TLS 1.3 connection.

    :param last_flight: what the server sent after the client's Finished: tickets, which are
        sealed with the same key as what follows, and so count.
    """
    sent = sum(kind == _APPLICATION_DATA for kind, _ in records(last_flight))

    def one(label: bytes, number: int) -> bytes:
        secret = secrets[label]
        key = _expand_label(secret, b"key", cipher.key, cipher.digest)
        nonce = _expand_label(secret, b"iv", _NONCE_BYTES, cipher.digest)
        return _info(cipher, _TLS13, key, nonce, number)

    return Keys(one(SERVER_SECRET, sent), one(CLIENT_SECRET, 0))


def tls12_keys(
    cipher: Cipher, master: bytes, server_random: bytes, client_random: bytes, sent: bytes
) -> Keys:
    """Return the keys of a TLS 1.2 connection, on which each side has sent one sealed record.

    :param sent: all that the server sent: the nonce of its own sealed record is in there, and
        must never be used again.
    """
    fixed = cipher.salt or _NONCE_BYTES
    size = 2 * (cipher.key + fixed)
    block = _prf(master, b"key expansion" + server_random + client_random, size, cipher.digest)
    cuts = (cipher.key, cipher.key, fixed, fixed)
    parts, at = [], 0
    for cut in cuts:
        parts.append(block[at : at + cut])
        at += cut
    client_key, server_key, client_nonce, server_nonce = parts
    if cipher.salt:
        used = [content for kind, content in records(sent) if kind == _HANDSHAKE][-1][:8]
        following = (int.from_bytes(used, "big") + 1) % (1 << 64)
        server_nonce += following.to_bytes(8, "big")
        client_nonce += bytes(8)
    return Keys(
        _info(cipher, _TLS12, server_key, server_nonce, 1),
        _info(cipher, _TLS12, client_key, client_nonce, 1),
    )


def _info(cipher: Cipher, version: int, key: bytes, nonce: bytes, number: int) -> bytes:
    """Return a ``struct tls12_crypto_info_...``."""
    salt, rest = nonce[: cipher.salt], nonce[cipher.salt :]
    head = struct.pack("=HH", version, cipher.number)
    return head + rest + key + salt + struct.pack(">Q", number)


def _expand_label(secret: bytes, label: bytes, size: int, digest: str) -> bytes:
    label = b"tls13 " + label
    info = struct.pack(">HB", size, len(label)) + label + b"\0"
    return HKDFExpand(_HASHES[digest](), size, info).derive(secret)


def _prf(secret: bytes, seed: bytes, size: int, digest: str) -> bytes:
    value, out = seed, b""
    while len(out) < size:
        value = hmac.digest(secret, value, digest)
        out += hmac.digest(secret, value + seed, digest)
    return out[:size]
