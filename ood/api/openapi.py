"""The OpenAPI document, made of the operations and the model's tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec

import ood
from ood.api.certificates import new_certificate
from ood.api.layer4 import layer4_paths, layer4_schemas, layer4_security
from ood.api.maintain import SCHEMA as MAINTAIN
from ood.api.openapi_more import metrics_paths, watch_schemas
from ood.api.operations import OPERATIONS, Operation
from ood.api.types import JSON_TYPE, LINES_TYPE
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

TEXT_LIKE = ("string", "number")
"""What is taken as a text in arguments and environment variables: ``PORT: 3000`` is meant well."""


def _reference(name: str) -> Schema:
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
    text: Schema = {"type": "string"}
    fault = _object({"key": text, "problem": text, "allowed": text}, ["key", "problem", "allowed"])
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
                "items": text,
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
    for name in ("source", "ref"):
        properties[name] = {**properties[name], "minLength": 1}
    return {**schema, "properties": properties, "additionalProperties": False}


def _schemas() -> Schema:
    _, models = msgspec.json.schema_components(
        [AppStatus, CertificateStatus, DeathList, Event, LogLine, Order, Release, Step],
        ref_template="#/components/schemas/{name}",
    )
    schemas = {name: _tidy(schema) for name, schema in models.items()}
    schemas["WorkerStatus"]["properties"]["state"]["enum"] = list(WORKER_STATES)
    schemas["Event"]["properties"]["kind"]["enum"] = list(KINDS)
    schemas["AppCertificate"]["properties"]["state"]["enum"] = list(APP_CERTIFICATE_STATES)
    schemas["CertificateStatus"]["properties"]["state"]["enum"] = list(CERTIFICATE_STATES)
    text: Schema = {"type": "string"}
    return {
        **schemas,
        **watch_schemas(),
        "AppList": _object({"apps": {"type": "array", "items": _reference("AppStatus")}}, ["apps"]),
        "CertificateList": _object(
            {"certificates": {"type": "array", "items": _reference("CertificateStatus")}},
            ["certificates"],
        ),
        "NewCertificate": new_certificate(),
        "Log": _object({"lines": {"type": "array", "items": _reference("LogLine")}}, ["lines"]),
        "App": _configuration(APP_KEYS, App),
        "NewApp": _new_app(),
        "AppChanges": _changes(APP_KEYS, App),
        "Settings": _configuration(SETTINGS_KEYS, Settings),
        "SettingsChanges": _changes(SETTINGS_KEYS, Settings),
        "Order": _order(schemas["Order"]),
        "Rollback": _object(
            {
                "release": _nullable(
                    {
                        **text,
                        "description": "A release, or cwd: the app's own directory; the release "
                        "before the current one if absent.",
                    }
                )
            },
            [],
            additionalProperties=False,
        ),
        "ReleaseList": _object(
            {"releases": {"type": "array", "items": _reference("Release")}}, ["releases"]
        ),
        "DeployEvent": {
            "description": "A step, and at the end the app's state or what went wrong.",
            "anyOf": [
                _reference("Step"),
                _object({"app": _reference("AppStatus")}, ["app"]),
                _reference("Error"),
            ],
        },
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
        "Version": _object(
            {"ood": text, "python": text, "twisted": text}, ["ood", "python", "twisted"]
        ),
        "NotifiedList": _object(
            {
                "results": {
                    "type": "array",
                    "items": _object({"target": text, "error": text}, ["target", "error"]),
                }
            },
            ["results"],
        ),
        "LoginCode": _object(
            {
                "code": text,
                "path": {**text, "description": "Where a browser goes to log in."},
                "seconds": {"type": "integer", "description": "How long the code is good for."},
            },
            ["code", "path", "seconds"],
        ),
        "Health": _object({"status": {"const": "ok"}}, ["status"]),
        "OpenApi": {"type": "object", "description": "An OpenAPI 3.1 document."},
        "Error": _error(),
    }


def _content(operation: Operation) -> Schema:
    content: Schema = {JSON_TYPE: {"schema": _reference(operation.answer)}}
    if operation.name == "read_log":
        content[LINES_TYPE] = {"schema": _reference("LogLine")}
    if operation.media:
        return {operation.media: {"schema": _reference(operation.answer)}}
    if operation.lines:
        return {LINES_TYPE: content[JSON_TYPE]}
    return content


def _responses(operation: Operation) -> Schema:
    answer: Schema = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer:
        answer["content"] = _content(operation)
    statuses = {*operation.errors, 400, 403, 413, 500} | (set() if operation.public else {401})
    if operation.method not in {"GET", "HEAD"}:
        statuses.add(503)
    refusals = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {JSON_TYPE: {"schema": _reference("Error")}},
        }
        for status in sorted(statuses)
    }
    return {str(operation.status): answer, **refusals}


def _parameters(operation: Operation) -> list[Schema]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    parameters += [
        {"name": query.name, "in": "query", "description": query.doc, "schema": query.schema}
        for query in operation.query
    ]
    return parameters


def _operation(operation: Operation) -> Schema:
    described: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.body:
        content = {JSON_TYPE: {"schema": _reference(operation.body)}}
        described["requestBody"] = {"required": True, "content": content}
    if operation.public:
        described["security"] = []
    return described


@lru_cache(maxsize=1)
def openapi_document() -> dict[str, Any]:
    """Return the document that describes every route as it is."""
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ood",
            "version": ood.__version__,
            "description": "Runs Node.js sites: the API behind the ood command. It listens on "
            "loopback only. Host must name it, and the token is in the file api-token of its home.",
        },
        "paths": {**paths, **metrics_paths(), **layer4_paths()},
        "components": {
            "schemas": {**_schemas(), **layer4_schemas()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                **layer4_security(),
            },
        },
        "security": [{"token": []}],
    }
