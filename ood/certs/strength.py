"""What OpenSSL and browsers refuse of certificates that are in order otherwise."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtensionOID

RSA_BITS_MIN = 2048
"""OpenSSL's security level 2 wants so many; so does every browser."""
CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
"""Those that TLS has signatures for which clients offer."""

_LOGGED = ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS


def weakness(chain_pem: bytes) -> str:
    """Return why no client would take a chain; empty if nothing is seen.

    A root at its end is not looked at: it is not sent.
    """
    first, *others = x509.load_pem_x509_certificates(chain_pem)
    sent = (first, *(one for one in others if one.issuer != one.subject))
    return next(filter(None, map(_weakness, sent)), "")


def _weakness(certificate: x509.Certificate) -> str:
    by_itself = certificate.issuer == certificate.subject
    return _weak_key(certificate) or ("" if by_itself else _weak_signature(certificate))


def _weak_key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return ""  # a newer kind than the library knows is not weak
    if isinstance(key, rsa.RSAPublicKey):
        few = key.key_size < RSA_BITS_MIN
        return f"an RSA key of {key.key_size} bits, less than {RSA_BITS_MIN}" if few else ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        unknown = key.curve.name not in CURVES
        return f"a key on the curve {key.curve.name}, which TLS does not have" if unknown else ""
    good = isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
    return "" if good else "its kind of key is none that TLS has"


def _weak_signature(certificate: x509.Certificate) -> str:
    try:
        used = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "its signature is of a kind that is not known"
    return f"signed with {used.name}" if isinstance(used, hashes.SHA1 | hashes.MD5) else ""


def missing_signer(chain_pem: bytes) -> str:
    """Return who signed a certificate, if clients need that one's certificate and do not get it.

    That is seen of public CAs' only, whose certificates are in public logs: they never sign
    hosts by a root.  A CA of one's own may.
    """
    leaf, *others = x509.load_pem_x509_certificates(chain_pem)
    if any(one.subject == leaf.issuer for one in others):
        return ""
    try:
        leaf.extensions.get_extension_for_oid(_LOGGED)
    except (x509.ExtensionNotFound, ValueError):
        return ""
    return leaf.issuer.rfc4514_string()
