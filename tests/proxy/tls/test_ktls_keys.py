from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.core.ktls import (
    CIPHERS,
    CLIENT_SECRET,
    SERVER_SECRET,
    Keys,
    records,
    tls12_keys,
    tls13_keys,
)

AES = CIPHERS["TLS_AES_128_GCM_SHA256"]
CHACHA = CIPHERS["ECDHE-RSA-CHACHA20-POLY1305"]
# RFC 8448 3: secrets of a simple handshake, and the keys that come of them
SECRETS = {
    CLIENT_SECRET: "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5",
    SERVER_SECRET: "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643",
}
SERVER = ("9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984")
CLIENT = ("17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9")


def record(kind: int, content: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(content).to_bytes(2, "big") + content


class KeyTests(SynchronousTestCase):
    def test_tls13(self) -> None:
        """The keys are those of the RFC; what was sent after the handshake counts."""
        secrets = {label: bytes.fromhex(one) for label, one in SECRETS.items()}
        tickets = record(23, b"one") + record(20, b"\1") + record(23, b"two")
        keys = tls13_keys(AES, secrets, tickets)
        for found, (key, nonce), number in ((keys.sending, SERVER, 2), (keys.receiving, CLIENT, 0)):
            salt, rest = bytes.fromhex(nonce)[:4], bytes.fromhex(nonce)[4:]
            expected = struct.pack("=HH", 0x0304, 51) + rest + bytes.fromhex(key) + salt
            self.assertEqual(expected + struct.pack(">Q", number), found)

    def test_tls12_nonces(self) -> None:
        """The nonce that OpenSSL has used is not used again, also not at the end of all numbers."""
        for used, following in ((b"\0" * 7 + b"\5", b"\0" * 7 + b"\6"), (b"\xff" * 8, b"\0" * 8)):
            sent = record(22, b"hello") + record(20, b"\1") + record(22, used + b"sealed")
            keys = tls12_keys(AES, b"m" * 48, b"s" * 32, b"c" * 32, sent)
            self.assertEqual(following, keys.sending[4:12])
            self.assertEqual(bytes(8), keys.receiving[4:12])
            self.assertEqual(1, int.from_bytes(keys.sending[-8:], "big"))

    def test_tls12_without_explicit_nonces(self) -> None:
        keys = tls12_keys(CHACHA, b"m" * 48, b"s" * 32, b"c" * 32, b"")
        self.assertEqual(4 + 12 + 32 + 8, len(keys.sending))
        self.assertNotEqual(keys.sending, keys.receiving)

    def test_records(self) -> None:
        found = list(records(record(22, b"ab") + record(23, b"")))
        self.assertEqual([(22, b"ab"), (23, b"")], found)

    def test_nothing_is_shown(self) -> None:
        self.assertEqual("Keys()", repr(Keys(b"secret", b"secret")))
