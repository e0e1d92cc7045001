"""What a request for maintenance says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ood.errors import Fault, InvalidError
from ood.model.rulekinds import MAINTENANCE
from ood.model.rules import HOLD_MS_MAX, MESSAGE_LENGTH_MAX, Maintenance

KEYS = ("on", "message", "hold")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "on": {"type": "boolean", "description": "Whether it begins or ends."},
        "message": {
            "type": "string",
            "maxLength": MESSAGE_LENGTH_MAX,
            "description": "What visitors are told; the usual words if empty or absent.",
        },
        "hold": {
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": HOLD_MS_MAX,
            "description": "How long a request waits for the end before it is answered: "
            "milliseconds, or a text such as 30s.",
        },
    },
    "required": ["on"],
    "additionalProperties": False,
}
"""JSON schema of the request's body."""


def maintenance_of(body: Mapping[str, Any]) -> Maintenance | None:
    """Return the maintenance that a request asks for; None ends it.

    :raises InvalidError: with every fault.
    """
    faults = [
        Fault(key, "there is no such key", ", ".join(KEYS)) for key in body if key not in KEYS
    ]
    wanted: Maintenance | None = None
    if not isinstance(body.get("on"), bool):
        faults.append(Fault("on", "is missing or no truth value", "true, false"))
    try:
        wanted = MAINTENANCE.parse({key: body[key] for key in KEYS[1:] if key in body})
    except ValueError as error:
        allowed = f"a short message; a hold of up to {HOLD_MS_MAX // 1000}s"
        faults.append(Fault("maintenance", str(error), allowed))
    if faults:
        raise InvalidError(faults)
    return wanted if body["on"] else None
