"""Signed requests: the little of JOSE that ACME takes, with ES256 keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from ood.certs.errors import CertificateError

COORDINATE_BYTES = 32
"""Length of a number on P-256."""


def b64(data: bytes) -> str:
    """Return ``data`` in base64url without padding, as JOSE wants it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Return what :func:`b64` made ``text`` of.

    :raises ValueError: it was not made by that.
    """
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def dumps(value: Any) -> bytes:
    """Return ``value`` as JSON without blanks, keys in order, as thumbprints want it."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


class AccountKey:
    """The key that an account at a CA is known by.

    :ivar jwk: its public part.
    :ivar thumbprint: the public part's digest (RFC 7638).
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        numbers = key.public_key().public_numbers()
        self.jwk = {
            "kty": "EC",
            "crv": "P-256",
            "x": b64(numbers.x.to_bytes(COORDINATE_BYTES, "big")),
            "y": b64(numbers.y.to_bytes(COORDINATE_BYTES, "big")),
        }
        self.thumbprint = b64(hashlib.sha256(dumps(self.jwk)).digest())

    @classmethod
    def generate(cls) -> AccountKey:
        """Return a new key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, pem: bytes) -> AccountKey:
        """Return the key that :meth:`pem` wrote.

        :raises CertificateError: it is none.
        """
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.key_size != 256:
            raise CertificateError("the ACME account's key is damaged", "restore or remove it")
        return cls(key)

    def pem(self) -> bytes:
        """Return the private key as PEM."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def sign(self, payload: Any, **header: Any) -> bytes:
        """Return a signed request; a payload of None is POST-as-GET."""
        head = b64(dumps({**header, "alg": "ES256"}))
        body = "" if payload is None else b64(dumps(payload))
        der = self._key.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
        signature = b"".join(
            number.to_bytes(COORDINATE_BYTES, "big") for number in decode_dss_signature(der)
        )
        return dumps({"protected": head, "payload": body, "signature": b64(signature)})

    def binding(self, key_id: str, mac_key: bytes, url: str) -> dict[str, str]:
        """Return the external account binding (RFC 8555, 7.3.4) of this key."""
        head = b64(dumps({"alg": "HS256", "kid": key_id, "url": url}))
        body = b64(dumps(self.jwk))
        digest = hmac.new(mac_key, f"{head}.{body}".encode(), "sha256").digest()
        return {"protected": head, "payload": body, "signature": b64(digest)}
