"""What the OpenAPI document says about server-sent events and metrics."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from ood.api.types import STATUS_EVENT
from ood.events import KINDS

_APPS = {
    "type": "object",
    "description": "By name: with full each an AppStatus, else the fields that are different; "
    "workers is a list if other ones are there than before, else an object: position in the last "
    "list to the fields that are different. uptimeMs alone is not told: it grows by itself.",
    "additionalProperties": {"type": "object"},
}


def watch_schemas() -> dict[str, Any]:
    """Return the schemas of a stream and of what comes in it."""
    return {
        "StatusChange": {
            "type": "object",
            "description": "The data of the event status.",
            "properties": {
                "full": {"type": "boolean", "description": "Whether this is everything."},
                "apps": _APPS,
                "removed": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["full", "apps", "removed"],
        },
        "EventStream": {
            "type": "object",
            "description": "Server-sent events; each is such an object. The data of status is a "
            "StatusChange, that of reset says only that events were missed, that of every other "
            "event is an Event.",
            "properties": {
                "event": {"type": "string", "enum": [*KINDS, STATUS_EVENT, "reset"]},
                "id": {"type": "string", "description": "For Last-Event-ID."},
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": {
                        "anyOf": [
                            {"$ref": "#/components/schemas/Event"},
                            {"$ref": "#/components/schemas/StatusChange"},
                        ]
                    },
                },
                "retry": {"type": "integer", "description": "Milliseconds before the next try."},
            },
        },
    }


def metrics_paths() -> dict[str, Any]:
    """Return what is said about ``/metrics``."""
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    refusals = {
        str(status): {"description": HTTPStatus(status).phrase, "content": error}
        for status in (400, 401, 403, 413, 500)
    }
    text = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "/metrics": {
            "get": {
                "operationId": "read_metrics",
                "summary": "What ood measures, in Prometheus' text format; without the token, if "
                "the setting metricsAccess says so, on this machine.",
                "parameters": [],
                "responses": {"200": {"description": "OK", "content": text}, **refusals},
                "security": [{"token": []}, {}],
            }
        }
    }
