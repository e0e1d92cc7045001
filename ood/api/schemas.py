"""The schemas of the API, made from the table of keys and from types: they agree with both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ood.api.certificates import new_certificate
from ood.api.maintain import SCHEMA as MAINTAIN
from ood.api.types import STATUS_EVENT
from ood.events import KINDS, Event
from ood.model import kinds
from ood.model.certificates import APP_CERTIFICATE_STATES, CERTIFICATE_STATES, CertificateStatus
from ood.model.death import DeathList
from ood.model.document import App, Settings
from ood.model.kinds import APP_NAME_ALLOWED
from ood.model.release import Order, Release, Step
from ood.model.schema import APP_KEYS, SETTINGS_KEYS, Key
from ood.model.status import WORKER_STATES, AppStatus, LogLine

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}

TEXT_LIKE = ("string", "number")
"""What is taken as a text in arguments and environment variables: ``PORT: 3000`` is meant well."""


def reference(name: str) -> Schema:
    """Return what stands for the schema ``name``."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, required: list[str], **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": required, **more}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _as_text(entry: Key) -> Schema:
    """Return the schema of what a client may write: the stored value, or a text of it."""
    schema = dict(entry.kind.json_schema)
    if schema.get("type") == "string":
        return schema
    for inner in {"items", "additionalProperties"} & set(schema):
        if entry.kind in (kinds.ARGUMENTS, kinds.ENVIRONMENT):
            schema[inner] = {"type": list(TEXT_LIKE)}
    return {"anyOf": [schema, {"type": "string", "description": f"{entry.kind.allowed}, as text"}]}


def _described(schema: Schema, entry: Key) -> Schema:
    return {**schema, "description": f"{entry.doc} Allowed: {entry.kind.allowed}."}


def _public(table: Mapping[str, Key]) -> dict[str, Key]:
    """Return the keys that clients may set."""
    return {name: entry for name, entry in table.items() if not entry.internal}


def _configuration(table: Mapping[str, Key], kind: type[msgspec.Struct]) -> Schema:
    """Return the schema of a configuration in an answer."""
    unset = {field.encode_name for field in msgspec.structs.fields(kind) if field.default is None}
    defaults = msgspec.to_builtins(_defaults(kind))
    properties = {
        name: _described(
            _nullable(dict(entry.kind.json_schema))
            if name in unset
            else dict(entry.kind.json_schema),
            entry,
        )
        for name, entry in table.items()
    }
    for name in defaults.keys() & properties.keys():
        properties[name]["default"] = defaults[name]
    return _object(properties, list(properties))


def _defaults(kind: type[msgspec.Struct]) -> Schema:
    """Return what holds where nothing is set, by the key's name."""
    fields = msgspec.structs.fields(kind)
    values = {
        field.encode_name: field.default
        if field.default_factory is msgspec.NODEFAULT
        else field.default_factory()
        for field in fields
        if not field.required
    }
    return {name: value for name, value in values.items() if value is not None}


def _entries(table: Mapping[str, Key]) -> Schema:
    """Return the schemas of entries that are set one by one, by the pattern of their keys."""
    patterns: Schema = {}
    for name, entry in _public(table).items():
        if entry.kind is kinds.ENVIRONMENT:
            patterns[rf"^{name}\.[A-Za-z_][A-Za-z0-9_]*$"] = {"type": [*TEXT_LIKE, "null"]}
        elif entry.kind.entries:
            value = dict(entry.kind.json_schema["additionalProperties"])
            patterns[rf"^{name}\..+$"] = _nullable(value)
    return patterns


def _changes(table: Mapping[str, Key], kind: type[msgspec.Struct]) -> Schema:
    """Return the schema of changes to a configuration; what has a default can be reset."""
    required = {field.encode_name for field in msgspec.structs.fields(kind) if field.required}
    properties = {
        name: _described(_as_text(entry) if name in required else _nullable(_as_text(entry)), entry)
        for name, entry in _public(table).items()
    }
    patterns = _entries(table)
    more: Schema = {"patternProperties": patterns} if patterns else {}
    return _object(properties, [], additionalProperties=False, **more)


def _new_app() -> Schema:
    properties: Schema = {
        "name": {"type": "string", "description": f"Allowed: {APP_NAME_ALLOWED}."}
    }
    for name, entry in _public(APP_KEYS).items():
        properties[name] = _described(_as_text(entry), entry)
    return _object(properties, ["name", "cwd"], additionalProperties=False)


def _error() -> Schema:
    fault = _object({"key": TEXT, "problem": TEXT, "allowed": TEXT}, ["key", "problem", "allowed"])
    inner = _object(
        {
            "code": {"type": "string", "description": "A stable word for programs."},
            "message": {"type": "string", "description": "What was wrong, and where."},
            "hint": {"type": "string", "description": "What to do about it; may be empty."},
            "faults": {
                "type": "array",
                "items": fault,
                "description": "With code invalid: everything that is wrong.",
            },
            "log": {
                "type": "array",
                "items": TEXT,
                "description": "With code worker: the app's last log lines.",
            },
        },
        ["code", "message", "hint"],
    )
    return _object({"error": inner}, ["error"])


def _tidy(schema: Schema) -> Schema:
    """Move what a docstring says about each field to the field."""
    text = schema.get("description", "")
    summary, *_ = text.split("\n\n")
    schema["description"] = " ".join(summary.split())
    for name, meaning in re.findall(r":ivar (\w+): (.*?)(?=\n\s*:ivar|\Z)", text, re.DOTALL):
        camel = re.sub(r"_(\w)", lambda match: match[1].upper(), name)
        plain = re.sub(r":\w+:`~?([^`]*)`", r"\1", meaning).replace("``", "")
        schema["properties"][camel]["description"] = " ".join(plain.split())
    return schema


def _order(schema: Schema) -> Schema:
    """Return what a deployment is asked for with: no text that is empty."""
    properties = dict(schema["properties"])
    for name in ("source", "ref", "script"):
        properties[name] = {**properties[name], "minLength": 1}
    return {**schema, "properties": properties, "additionalProperties": False}


_APPS = {
    "type": "object",
    "description": "By name: with full each an AppStatus, else the fields that are different; "
    "workers is a list if other ones are there than before, else an object: position in the last "
    "list to the fields that are different. uptimeMs alone is not told: it grows by itself.",
    "additionalProperties": {"type": "object"},
}


def _models() -> Schema:
    """The values that the service tells of, from their types."""
    _, models = msgspec.json.schema_components(
        [AppStatus, CertificateStatus, DeathList, Event, LogLine, Order, Release, Step],
        ref_template="#/components/schemas/{name}",
    )
    found = {name: _tidy(schema) for name, schema in models.items()}
    found["WorkerStatus"]["properties"]["state"]["enum"] = list(WORKER_STATES)
    found["Event"]["properties"]["kind"]["enum"] = list(KINDS)
    found["AppCertificate"]["properties"]["state"]["enum"] = list(APP_CERTIFICATE_STATES)
    found["CertificateStatus"]["properties"]["state"]["enum"] = list(CERTIFICATE_STATES)
    return {**found, "Order": _order(found["Order"])}


def _events() -> Schema:
    """A stream of events, and what comes in it."""
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


def _lists() -> Schema:
    """What is asked for in the plural."""
    return {
        "AppList": _object({"apps": {"type": "array", "items": reference("AppStatus")}}, ["apps"]),
        "CertificateList": _object(
            {"certificates": {"type": "array", "items": reference("CertificateStatus")}},
            ["certificates"],
        ),
        "Log": _object({"lines": {"type": "array", "items": reference("LogLine")}}, ["lines"]),
        "ReleaseList": _object(
            {"releases": {"type": "array", "items": reference("Release")}}, ["releases"]
        ),
        "NotifiedList": _object(
            {
                "results": {
                    "type": "array",
                    "items": _object({"target": TEXT, "error": TEXT}, ["target", "error"]),
                }
            },
            ["results"],
        ),
    }


def _configurations() -> Schema:
    """Settings and apps, as they are and as they are wanted."""
    return {
        "App": _configuration(APP_KEYS, App),
        "NewApp": _new_app(),
        "AppChanges": _changes(APP_KEYS, App),
        "Settings": _configuration(SETTINGS_KEYS, Settings),
        "SettingsChanges": _changes(SETTINGS_KEYS, Settings),
        "NewCertificate": new_certificate(),
    }


def _requests() -> Schema:
    """What operations are told."""
    return {
        "Rollback": _object(
            {
                "release": _nullable(
                    {
                        **TEXT,
                        "description": "A release, or cwd: the app's own directory; the release "
                        "before the current one if absent.",
                    }
                )
            },
            [],
            additionalProperties=False,
        ),
        "Scale": _object(
            {
                "instances": {
                    "type": ["string", "integer"],
                    "pattern": r"^([+-][0-9]{1,3}|[1-9][0-9]{0,2}|max)$",
                    "minimum": 1,
                    "maximum": kinds.INSTANCES_MAX,
                    "description": "N, +N, -N or max.",
                }
            },
            ["instances"],
            additionalProperties=False,
        ),
        "Maintain": MAINTAIN,
    }


def _answers() -> Schema:
    """What they answer, beside states and lists."""
    return {
        "DeployEvent": {
            "description": "A step, and at the end the app's state or what went wrong.",
            "anyOf": [
                reference("Step"),
                _object({"app": reference("AppStatus")}, ["app"]),
                reference("Error"),
            ],
        },
        "Version": _object(
            {"ood": TEXT, "python": TEXT, "twisted": TEXT}, ["ood", "python", "twisted"]
        ),
        "LoginCode": _object(
            {
                "code": TEXT,
                "path": {**TEXT, "description": "Where a browser goes to log in."},
                "seconds": {"type": "integer", "description": "How long the code is good for."},
            },
            ["code", "path", "seconds"],
        ),
        "Health": _object({"status": {"const": "ok"}}, ["status"]),
        "OpenApi": {"type": "object", "description": "An OpenAPI 3.1 document."},
        "Error": _error(),
    }


def schemas() -> Schema:
    """Return every schema of the API's own, by its name."""
    groups = (_models, _events, _lists, _configurations, _requests, _answers)
    return {name: schema for group in groups for name, schema in group().items()}
