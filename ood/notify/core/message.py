"""An event in the words of its receivers: pure code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ood.model.event import Event
from ood.model.notify import ALL, DEFAULT_EVENTS, Target
from ood.notify.core.coalesce import Batch

CHAT_CHARACTERS_MAX = 1900
"""Longest text; Discord refuses more than 2000 characters."""

TROUBLE = ("failed", "refused", "ending", "expired")
"""How it went with a certificate when somebody has to act; others are renewed by themselves."""


def wants(target: Target, event: Event) -> bool:
    """Tell whether ``target`` is to be told of ``event``."""
    if target.apps and event.app not in target.apps:
        return False
    if ALL in target.events or event.kind in target.events:
        return True
    routine = event.kind == "certificate" and event.data.get("outcome") not in TROUBLE
    return not target.events and event.kind in DEFAULT_EVENTS and not routine


def sentence(batch: Batch, host: str) -> str:
    """Return the message for people."""
    text = f"[{host}] {batch.event.text}"
    if batch.count > 1:
        text += f" ({batch.count} such events since {batch.since})"
    return text if len(text) <= CHAT_CHARACTERS_MAX else text[: CHAT_CHARACTERS_MAX - 1] + "…"


def fields(batch: Batch, host: str) -> dict[str, Any]:
    """Return the message for programs."""
    plain: dict[str, Any] = msgspec.to_builtins(batch.event)
    return {**plain, "count": batch.count, "since": batch.since or batch.event.time, "host": host}


def chat(batch: Batch, host: str) -> dict[str, Any]:
    """Return the body that chats understand, with the fields for everyone else.

    Slack and Mattermost read ``text`` (and & < > in it as control characters), Discord
    reads ``content``.  What an app's name or error says can't call everybody there.
    """
    content = sentence(batch, host)
    text = content.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {
        "text": text,
        "content": content,
        "allowed_mentions": {"parse": []},
        "event": fields(batch, host),
    }


def environment(batch: Batch, host: str) -> Mapping[str, str]:
    """Return the variables that a command gets."""
    plain = fields(batch, host)
    names = ("id", "time", "kind", "app", "text", "count", "host")
    return {f"OOD_EVENT_{name.upper()}": str(plain[name]).replace("\0", "") for name in names}
