"""Events of what people change: apps, settings and the balancer's services.

They name the keys, never their values: an environment variable may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from ood.events import EventBus
from ood.model.document import App, Document

STARTED = {True: "was started", False: "was stopped"}


@dataclass(frozen=True)
class Change:
    """One thing that is different in a new document.

    :ivar text: one sentence for people.
    :ivar app: the app's name; empty if it concerns none.
    :ivar what: ``added``, ``changed`` or ``removed``.
    :ivar keys: the keys that changed.
    """

    text: str
    app: str
    what: str
    keys: tuple[str, ...] = ()


def _changed_keys(before: msgspec.Struct, now: msgspec.Struct) -> tuple[str, ...]:
    return tuple(
        field.encode_name
        for field in msgspec.structs.fields(now)
        if getattr(before, field.name) != getattr(now, field.name)
    )


def _of_app(name: str, before: App | None, now: App | None) -> Iterator[Change]:
    if before is None:
        yield Change(f"{name} was added", name, "added")
    elif now is None:
        yield Change(f"{name} was removed", name, "removed")
    elif keys := _changed_keys(before, now):
        text = STARTED[now.running] if keys == ("running",) else f"has new {', '.join(keys)}"
        yield Change(f"{name} {text}", name, "changed", keys)


def changes(before: Document, now: Document) -> Iterator[Change]:
    """Yield what is different in ``now``."""
    for name in sorted(before.apps.keys() | now.apps.keys()):
        yield from _of_app(name, before.apps.get(name), now.apps.get(name))
    if keys := _changed_keys(before.settings, now.settings):
        yield Change(f"the settings have new {', '.join(keys)}", "", "changed", keys)
    if before.services != now.services:
        yield Change("the balancer's services were changed", "", "changed", ("services",))


class Configured:
    """Publishes what each new document changes; subscribed to the store.

    :param document: the one in force now.
    """

    def __init__(self, events: EventBus, document: Document) -> None:
        self._events = events
        self._document = document

    def __call__(self, document: Document) -> None:
        """Tell what is different from the last document."""
        before, self._document = self._document, document
        for change in changes(before, document):
            data: dict[str, Any] = {"what": change.what, "keys": list(change.keys)}
            self._events.publish("configured", change.text, change.app, **data)
