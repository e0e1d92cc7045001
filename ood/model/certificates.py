"""The live state of certificates, as ``ood cert`` and ``ood status`` show it."""

from __future__ import annotations

import msgspec

CERTIFICATE_STATES = ("valid", "due", "expired", "pending", "failed")
"""``valid``; ``due``: is renewed soon, or could not be; ``expired``; ``pending``: is being
obtained for the first time; ``failed``: there is none, and the last try failed."""

APP_CERTIFICATE_STATES = ("valid", "partial", "pending", "failed", "terms", "none")
"""``valid``: every public name of the app has one; ``partial``: some have; ``pending``: they
are being obtained; ``failed``: they could not be; ``terms``: nobody has accepted the CA's
terms; ``none``: the app has no public name, or it is stopped."""


class CertificateStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A certificate, or the lack of one that is wanted.  It never holds a key.

    :ivar name: what it is called: the name it was asked for, or the first one in a file.
    :ivar names: the host names it is valid for.
    :ivar source: ``acme``, ``file`` or ``self-signed``.
    :ivar state: one of :data:`CERTIFICATE_STATES`.
    :ivar apps: the apps it is of use to.
    :ivar not_after: when it expires, RFC 3339; ``None`` if there is none yet.
    :ivar issuer: who signed it.
    :ivar fingerprint: SHA-256 of the certificate, in hexadecimal.
    :ivar trouble: what is wrong, in words.
    :ivar next_try: when it is tried again, RFC 3339.
    :ivar files: the files it is read from.
    """

    name: str
    names: tuple[str, ...]
    source: str
    state: str
    apps: tuple[str, ...] = ()
    not_after: str | None = None
    issuer: str = ""
    fingerprint: str = ""
    trouble: str = ""
    next_try: str | None = None
    files: tuple[str, ...] = ()


class AppCertificate(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How HTTPS stands for an app.

    :ivar state: one of :data:`APP_CERTIFICATE_STATES`.
    :ivar names: its public names that have a certificate.
    :ivar not_after: when the first of these expires, RFC 3339.
    :ivar trouble: what keeps names from having one, in words.
    """

    state: str
    names: tuple[str, ...] = ()
    not_after: str | None = None
    trouble: tuple[str, ...] = ()
