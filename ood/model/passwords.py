"""Hashes of passwords, as ``basicAuth`` keeps them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

COST_LOG2 = 14
"""scrypt's cost for new hashes, as a power of two: 16 MiB and some 50 ms for each guess."""
SALT_BYTES = 16
"""As many random bytes that no two hashes ever share them."""
HASH = re.compile(r"\$scrypt\$ln=(1[0-7]),r=(8),p=(1)\$([A-Za-z0-9+/]{16,43})\$([A-Za-z0-9+/]{43})")
"""The form of a hash; its cost is bounded, for whoever asks makes ood pay it."""


def make_hash(password: bytes, salt: bytes) -> str:
    """Return the hash of ``password`` as ``basicAuth`` keeps it."""
    key = _scrypt(password, salt, COST_LOG2, 8, 1)
    return f"$scrypt$ln={COST_LOG2},r=8,p=1${_encode(salt)}${_encode(key)}"


def verify(stored: str, password: bytes) -> bool:
    """Tell whether ``stored`` is a hash of ``password``."""
    match = HASH.fullmatch(stored)
    assert match is not None, "the model has checked it"
    cost, size, parallel = (int(match[number]) for number in (1, 2, 3))
    key = _scrypt(password, _decode(match[4]), cost, size, parallel)
    return hmac.compare_digest(key, _decode(match[5]))


def _scrypt(password: bytes, salt: bytes, cost: int, size: int, parallel: int) -> bytes:
    count = 1 << cost
    memory = 128 * count * size + (1 << 20)
    return hashlib.scrypt(password, salt=salt, n=count, r=size, p=parallel, maxmem=memory, dklen=32)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
