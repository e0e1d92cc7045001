"""Settings and apps as they are shown: every key with its value, defaults included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ood.model.document import App, Settings
from ood.model.notify import masked
from ood.model.schema import SETTINGS_KEYS, Key


def settings_in_force(settings: Settings, *, root: bool) -> dict[str, Any]:
    """Return the settings, without secrets, with the ports that a service takes.

    :param root: whether it is root's.
    """
    http, https = settings.ports(root=root)
    values = every_key(settings, SETTINGS_KEYS)
    shown = {"notify": msgspec.to_builtins(masked(settings.notify))}
    return {**values, **shown, "httpPort": http, "httpsPort": https}


def every_key(value: App | Settings, table: Mapping[str, Key]) -> dict[str, Any]:
    """Return ``value`` as plain values, defaults included, in the order of its table."""
    fields = {field.encode_name: field.name for field in msgspec.structs.fields(type(value))}
    plain: dict[str, Any] = msgspec.to_builtins({key: getattr(value, fields[key]) for key in table})
    return plain
