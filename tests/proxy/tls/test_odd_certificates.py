"""Servers elsewhere whose certificates nobody would make, but somebody may send."""

from __future__ import annotations

import base64

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from ood.model.upstreamtls import Tls
from ood.proxy.tls.outgoing import Outgoing
from tests.proxy.test_remotes import GET
from tests.proxy.tls.outgoing import CA, OutgoingTestCase, Settings

_VERSION_3 = bytes.fromhex("a003020102")
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_DNS, _EMAIL, _ADDRESS = b"\x82", b"\x81", b"\x87"
NAME = b"api.example"


def _der(kind: int, body: bytes) -> bytes:
    size = len(body).to_bytes(2, "big")
    return bytes([kind, 0x82]) + size + body


def changed(before: bytes, after: bytes) -> Settings:
    """Return a server whose certificate, signed by the CA, has some bytes changed."""
    pem, key_pem = CA.pair(NAME.decode())
    signed = x509.load_pem_x509_certificate(pem).tbs_certificate_bytes
    assert signed.count(before) == 1
    assert len(before) == len(after)
    content = signed.replace(before, after)
    signature = CA._key.sign(content, ec.ECDSA(hashes.SHA256()))
    whole = _der(0x30, content + _ECDSA_SHA256 + _der(3, b"\0" + signature))
    armoured = base64.encodebytes(whole)
    text = b"-----BEGIN CERTIFICATE-----\n" + armoured + b"-----END CERTIFICATE-----\n"
    settings = Settings(CA.pair(NAME.decode()))
    settings.context.use_certificate(crypto.load_certificate(crypto.FILETYPE_PEM, text))
    settings.context.use_privatekey(load_pem_private_key(key_pem, None))
    return settings


class OddCertificateTests(OutgoingTestCase):
    async def refused(self, settings: Settings, name: str = NAME.decode()) -> str:
        """Return why; the client is told at once, and no request may have reached the server."""
        server, address = self.secure(settings)
        self.upstreams(f"{address} caFile={self.ca} serverName={name}", max_fails=1)
        client = await self.client()
        client.send(GET)
        self.assertIn(b"502 Bad Gateway", await client.until(b"ood log site\n"))
        self.assertEqual(b"", b"".join(bytes(one.data) for one in server.every))
        return self.remotes.status("site").upstreams[0].reason

    async def test_a_version_that_does_not_exist(self) -> None:
        """What OpenSSL takes and the library for certificates does not is a refusal as others."""
        why = await self.refused(changed(_VERSION_3, _VERSION_3[:-1] + b"\4"))
        self.assertIn("its certificate can't be read: 4 is not a valid", why)

    async def test_names(self) -> None:
        """Names that are none, or of another kind, are for nobody."""
        size = bytes([len(NAME)])
        for before, after, reason in (
            (NAME, b"api.exampl\0", "can't be read"),
            (NAME, b"*pi.example", "can't be read"),
            (NAME, b"*.*.example", "can't be read"),
            (_DNS + size + NAME, _EMAIL + size + NAME, "is for no host at all"),
            (_DNS + size + NAME, _ADDRESS + size + NAME, "can't be read"),
        ):
            self.assertIn(reason, await self.refused(changed(before, after)))

    async def test_an_address_as_a_name(self) -> None:
        """An address has to be there as one: a name that looks like it is a name."""
        why = await self.refused(changed(NAME, b"10.0.10.100"), "10.0.10.100")
        self.assertIn("can't be read: Invalid DNS pattern b'10.0.10.100'", why)

    async def test_what_nobody_thought_of(self) -> None:
        """A handshake that fails in any other way is told like all others, and logged."""

        self.remotes._outgoing = Broken(self.clock)
        self.assertEqual("it can't be reached", await self.refused(Settings(CA.pair("x"))))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))


class Broken(Outgoing):
    """Breaks each handshake."""

    def context(self, tls: Tls) -> SSL.Context:
        raise RuntimeError("it is broken")
