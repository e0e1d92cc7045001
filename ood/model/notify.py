"""Who is told of events: the targets of the setting ``notify``.

A webhook's URL is a secret: whoever has it can write into the chat.  It is stored as it
is and shown as :func:`masked` has it; a masked one that is written back stands for the
stored one.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ood.errors import Fault, InvalidError
from ood.model import kinds
from ood.model.event import KINDS
from ood.model.kinds import Kind

TARGETS_MAX = 16
"""Most targets: each may hold a queue, and nobody reads more chats."""
ALL = "all"
DEFAULT_EVENTS = ("death", "errored", "recovered", "deploy", "certificate")
"""What a target is told of that names no events: what somebody may have to act on."""
MASK = "/***"
FINGERPRINT_DIGITS = 6
"""Enough to tell the few targets of one service apart, too few to find the URL by."""


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody who is told of events, by a program or over the web.

    :ivar command: the program and its arguments; the event comes as JSON on stdin.
    :ivar webhook: the URL that the event is posted to as JSON.
    :ivar events: of which kinds; empty: those in :data:`DEFAULT_EVENTS`.
    :ivar apps: of which apps; empty: of all, and of ood itself.
    """

    command: tuple[str, ...] = ()
    webhook: str = ""
    events: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """What people and logs may see of it."""
        return mask(self.webhook) if self.webhook else self.command[0]


def mask(url: str) -> str:
    """Return ``url`` without what is secret: all but scheme and host."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    digest = hashlib.sha256(url.encode()).hexdigest()[:FINGERPRINT_DIGITS]
    return f"{parts.scheme}://{parts.hostname}{port}{MASK}#{digest}"


def masked(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """Return ``targets`` as they may be shown."""
    return tuple(
        msgspec.structs.replace(one, webhook=mask(one.webhook)) if one.webhook else one
        for one in targets
    )


def restored(targets: tuple[Target, ...], stored: tuple[Target, ...]) -> tuple[Target, ...]:
    """Return ``targets`` with the stored URL in place of each masked one.

    :raises InvalidError: a masked URL is none of the stored ones.
    """
    known = {mask(one.webhook): one.webhook for one in stored if one.webhook}
    known |= {one.webhook: one.webhook for one in targets if MASK + "#" not in one.webhook}
    unknown = [one.webhook for one in targets if one.webhook not in known]
    if unknown:
        problem = f"{unknown[0]} only stands for a URL, and for none that is stored"
        raise InvalidError([Fault("notify", problem, "the whole URL")])
    return tuple(msgspec.structs.replace(one, webhook=known[one.webhook]) for one in targets)


def _webhook(value: Any) -> str:
    url = kinds.TEXT.parse(value)
    try:
        parts = urlsplit(url)
        right = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        right = False
    if not right or not url.isascii() or " " in url:
        raise ValueError("webhook is not a URL that begins with http:// or https://")
    return str(url)


def _event(value: Any) -> str:
    if not isinstance(value, str) or (value not in KINDS and value != ALL):
        allowed = ", ".join([*KINDS, ALL])
        raise ValueError(f"there are no events {json.dumps(value)}, only {allowed}")
    return str(value)


_PARSERS = {
    "command": kinds.ARGUMENTS.parse,
    "webhook": _webhook,
    "events": kinds.list_of(_event, "").parse,
    "apps": kinds.APPS.parse,
}


def _target(value: Any) -> Target:
    if not isinstance(value, dict):
        raise ValueError("a target is an object with command or webhook")
    unknown = [key for key in value if key not in _PARSERS]
    if unknown:
        raise ValueError(f"a target has no {json.dumps(unknown[0])}, only {', '.join(_PARSERS)}")
    target = Target(**{key: _PARSERS[key](one) for key, one in value.items()})
    if bool(target.command) == bool(target.webhook):
        raise ValueError("a target has either a command or a webhook")
    return target


def _targets(value: Any) -> tuple[Target, ...]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("is not valid JSON") from None
    value = [value] if isinstance(value, dict) else value
    if not isinstance(value, list | tuple):
        raise ValueError("is not a list of targets")
    if len(value) > TARGETS_MAX:
        raise ValueError(f"has {len(value)} targets, more than {TARGETS_MAX}")
    return tuple(map(_target, value))


_TEXTS = {"type": "array", "items": {"type": "string"}}

NOTIFY = Kind(
    _targets,
    'a list of {"webhook": URL} or {"command": [PROGRAM, ...]}, each with "events" and "apps" '
    "where not all are meant",
    {
        "type": "array",
        "maxItems": TARGETS_MAX,
        "items": {
            "type": "object",
            "properties": {
                "command": _TEXTS,
                "webhook": {"type": "string"},
                "events": {"type": "array", "items": {"enum": [*KINDS, ALL]}},
                "apps": _TEXTS,
            },
            "additionalProperties": False,
        },
    },
)
