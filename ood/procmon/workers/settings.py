"""Which settings apply to running workers, and which need new ones."""

from __future__ import annotations

import msgspec

from ood.model.document import RULE_FIELDS, App
from ood.model.upstreams import UPSTREAM_FIELDS

RUNTIME_KEYS = (
    "instances",
    "domains",
    "default",
    "running",
    "autorestart",
    "min_uptime",
    "max_restarts",
    "exp_backoff_restart_delay",
    "restart_delay",
    "max_memory_restart",
    "cron_restart",
    "watch",
    "ignore_watch",
    "depends_on",
    "access_log",
    "spare",
    "listen_timeout",
    "kill_timeout",
    "stop_signal",
    "health_path",
    "health_timeout",
    *RULE_FIELDS,
    *UPSTREAM_FIELDS,
)
"""Settings that apply to running workers; any other one needs new workers."""


def needs_new_workers(before: App, after: App) -> bool:
    """Tell whether running workers differ from what ``after`` wants."""
    keys = set(before.__struct_fields__) - set(RUNTIME_KEYS)
    return any(getattr(before, key) != getattr(after, key) for key in keys)


def with_limits(app: App, newest: App) -> App:
    """Return ``app`` with the settings of ``newest`` that need no new workers."""
    limits = {key: getattr(newest, key) for key in RUNTIME_KEYS}
    return msgspec.structs.replace(app, **limits)
