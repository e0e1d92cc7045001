"""HTTP Basic authentication: who asks, whether it may be checked at once, and the check."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence

import msgspec

from ood.model.passwords import verify
from ood.model.urlpath import is_below, wide_prefix

VERDICTS_MAX = 4096
"""Verdicts remembered, 100 bytes each: far above the users that are active at once."""
CREDENTIALS_BYTES_MAX = 1024
"""Longest name and password together; nobody types more."""

_AUTHORIZATION = re.compile(rb"\n(?i:authorization):([^\r\n]*)\r(?=\n)")
_BASIC = re.compile(rb"[ \t]*(?i:basic)[ \t]+([A-Za-z0-9+/]{1,2048}={0,2})[ \t]*")


class Credentials(msgspec.Struct, frozen=True):
    """What a client says of itself."""

    user: str
    password: bytes


class Check(msgspec.Struct, frozen=True):
    """A password that has to be compared with a hash, which takes long on purpose.

    :ivar stored: the hash.
    :ivar key: under which the verdict is remembered.
    """

    stored: str
    password: bytes
    key: bytes

    def verify(self) -> bool:
        """Tell whether the password is right; takes a processor for some 50 ms."""
        return verify(self.stored, self.password)


def credentials(fields: bytes) -> Credentials | None:
    """Return the credentials in a request's fields; None if there are none, or two."""
    found = _AUTHORIZATION.findall(b"\n" + fields)
    match = _BASIC.fullmatch(found[0]) if len(found) == 1 else None
    if match is None:
        return None
    try:
        plain = base64.b64decode(match[1], validate=True)
    except binascii.Error:
        return None
    user, colon, password = plain.partition(b":")
    if not colon or len(plain) > CREDENTIALS_BYTES_MAX:
        return None
    return Credentials(user.decode("utf-8", "replace"), password)


def without_credentials(fields: bytes) -> bytes:
    """Return a request's fields without what ood itself has used."""
    return _AUTHORIZATION.sub(b"", b"\n" + fields)[1:]


class Verdicts:
    """Remembers which credentials were right and which wrong.

    What is kept is a keyed digest: whoever reads the memory still has no password.

    :param secret: 32 random bytes of this process.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._known: dict[bytes, bool] = {}

    def key(self, stored: str, given: Credentials) -> bytes:
        """Return the key of a verdict; a changed hash makes another one."""
        parts = (stored.encode(), given.user.encode("utf-8", "replace"), given.password)
        data = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hashlib.blake2b(data, key=self._secret, digest_size=16).digest()

    def find(self, key: bytes) -> bool | None:
        """Return a verdict; None if there is none yet."""
        verdict = self._known.pop(key, None)
        if verdict is not None:
            self._known[key] = verdict  # used last
        return verdict

    def remember(self, key: bytes, verdict: bool) -> None:
        """Keep a verdict; the one unused for longest makes room."""
        self._known.pop(key, None)
        if len(self._known) >= VERDICTS_MAX:
            del self._known[next(iter(self._known))]
        self._known[key] = verdict


class Door:
    """Who may enter which part of a site.

    :param users: the hash by user.
    :param paths: below which it is needed; everywhere if there are none.
    """

    def __init__(self, users: Mapping[str, str], paths: Sequence[str]) -> None:
        self._users = dict(users)
        self._prefixes = tuple(wide_prefix(path) for path in paths)
        # For names that don't exist, as costly as the others: time must not tell the names.
        first = next(iter(self._users.values()))
        self._nobody = first.rpartition("$")[0] + "$" + "A" * 43

    def guards(self, path: bytes) -> bool:
        """Tell whether a path, in its wide reading, is behind the door."""
        return not self._prefixes or any(is_below(path, prefix) for prefix in self._prefixes)

    def check(self, given: Credentials, verdicts: Verdicts) -> bool | Check:
        """Tell whether ``given`` opens it, or what has to be checked for that."""
        stored = self._users.get(given.user, self._nobody)
        key = verdicts.key(stored, given)
        verdict = verdicts.find(key)
        return Check(stored, given.password, key) if verdict is None else verdict
