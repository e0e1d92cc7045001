"""The cookie by which a client stays with its worker.

Its value has two parts: which place the worker has within its app, and which worker that
was.  Both are keyed hashes: a client can neither read nor forge them, and can at most
choose among values that it was given.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, TypeVar

NAME = b"ood-worker"
PART_BYTES = 9
"""Length of one part: too many values to guess one, and 12 characters."""

_PART_CHARACTERS = PART_BYTES * 4 // 3
NAMES_MAX = 1024
"""Patterns kept, one for each app that others route to."""


class Worker(Protocol):
    """What a client may stay with.

    :ivar app: the app's name.
    :ivar accepting: it takes clients that are new to it.
    :ivar number: it has no other one's.
    """

    app: str
    accepting: bool
    number: int

    @property
    def place(self) -> bytes:
        """Its place within the app, which its successor has, too."""


W = TypeVar("W", bound=Worker)


def routed_name(secret: bytes, app: str) -> bytes:
    """Return the cookie's name for an app below another one's host.

    Both may set cookies, and clients keep one of each name for a host.
    """
    return NAME + b"-" + _part(secret, b"below\0" + app.encode())


def sent(fields: bytes, name: bytes = NAME) -> bytes:
    """Return the cookie's value in a request's fields, or nothing."""
    match = _pattern(name).search(b"\n" + fields)
    return b"" if match is None else match[1]


@lru_cache(maxsize=NAMES_MAX)
def _pattern(name: bytes) -> re.Pattern[bytes]:
    return re.compile(
        rb"\n(?i:cookie):(?:[^\r\n]*;)?[ \t]*%b=([A-Za-z0-9_-]{%d})[ \t]*(?=[;\r])"
        % (name, 2 * _PART_CHARACTERS)
    )


def value(secret: bytes, worker: Worker) -> bytes:
    """Return the cookie's value for ``worker``."""
    place = worker.app.encode() + b"\0" + worker.place
    return _part(secret, place) + _part(secret, b"%b\0%d" % (place, worker.number))


def _part(secret: bytes, text: bytes) -> bytes:
    return urlsafe_b64encode(hmac.digest(secret, text, "sha256")[:PART_BYTES])


def find(secret: bytes, workers: Sequence[W], wanted: bytes) -> W | None:
    """Return the worker that a cookie names, or else who has its place now."""
    successor = None
    for worker in workers:
        own = value(secret, worker)
        if own == wanted:
            return worker
        if worker.accepting and own[:_PART_CHARACTERS] == wanted[:_PART_CHARACTERS]:
            successor = worker
    return successor


def set_field(value: bytes, *, secure: bool, name: bytes = NAME) -> bytes:
    """Return the field that sets the cookie."""
    end = b"; Secure" if secure else b""
    return b"Set-Cookie: %b=%b; Path=/; HttpOnly; SameSite=Lax%b\r\n" % (name, value, end)
