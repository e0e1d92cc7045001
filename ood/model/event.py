"""What an event is, and of which kinds there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

KINDS: Mapping[str, str] = {
    "worker": "a worker changed its state",
    "death": "a worker died that nobody had told to",
    "errored": "an app's workers died young many times in a row",
    "recovered": "an app that was errored answers again",
    "restart": "a rolling restart began, went on or ended",
    "deploy": "a deployment or a roll-back ended",
    "configured": "an app or the settings were changed, added or removed",
    "certificate": "a certificate was obtained, or could not be",
    "health": "an upstream or a server of the balancer became well or unwell",
}


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something that happened.

    :ivar id: grows by one with each event of this run of the service.
    :ivar time: RFC 3339 in UTC with milliseconds.
    :ivar kind: one of :data:`KINDS`.
    :ivar app: the app's name; empty if it concerns none.
    :ivar text: one sentence for people.
    :ivar data: plain JSON values that belong to it; never a secret.
    """

    id: int
    time: str
    kind: str
    app: str
    text: str
    data: Mapping[str, Any] = {}
