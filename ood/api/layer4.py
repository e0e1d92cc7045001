"""The balancer's routes as the OpenAPI document describes them.

They stand at the API's root, with the words and codes that clients of the seed
system know, so they are no operations like the others.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from ood.api.types import JSON_TYPE
from ood.model.services import CHECK_TYPES, FORWARDERS, SCHEDULERS, TYPES, Service

Schema = dict[str, Any]

SERVICE_PATH = "/services/{service}"
SERVER_PATH = f"{SERVICE_PATH}/servers/{{server}}"
ROUTES: tuple[tuple[str, str, str, str, str, str], ...] = (
    ("list_services", "get", "/services", "All services.", "", "[L4Service]"),
    ("add_service", "post", "/services", "Add a service.", "L4Service", "L4Service"),
    ("set_services", "put", "/services", "Set all services.", "[L4Service]", "[L4Service]"),
    ("get_service", "get", SERVICE_PATH, "One service.", "", "L4Service"),
    ("set_service", "put", SERVICE_PATH, "Replace a service.", "L4Service", "L4Service"),
    ("remove_service", "delete", SERVICE_PATH, "Remove a service.", "", "L4Success"),
    ("list_servers", "get", f"{SERVICE_PATH}/servers", "A service's servers.", "", "[L4Server]"),
    ("add_server", "post", f"{SERVICE_PATH}/servers", "Add a server.", "L4Server", "L4Server"),
    ("set_servers", "put", f"{SERVICE_PATH}/servers", "Set them.", "[L4Server]", "[L4Server]"),
    ("get_server", "get", SERVER_PATH, "One server.", "", "L4Server"),
    ("remove_server", "delete", SERVER_PATH, "Remove a server.", "", "L4Success"),
)
"""Operation, method, path, what it does, body and answer; in brackets it is a list of them."""

STATISTICS: Schema = {
    "name": "statistics",
    "in": "query",
    "description": "Whether each service and server comes with its counters.",
    "schema": {"type": "string"},
}
CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "L4Service": {"type": TYPES, "scheduler": SCHEDULERS},
    "L4Server": {"forwarder": tuple(FORWARDERS)},
    "L4Check": {"type": CHECK_TYPES},
}
"""What is allowed where a text is not free, by schema and field."""


def _schema(name: str) -> Schema:
    if name.startswith("["):
        return {"type": "array", "items": _schema(name.strip("[]"))}
    return {"$ref": f"#/components/schemas/{name}"}


def _content(name: str) -> Schema:
    return {JSON_TYPE: {"schema": _schema(name)}}


def _responses(method: str, path: str, answer: str) -> Schema:
    statuses = {403, 500} | ({404} if "{" in path and method != "delete" else set())
    if method in {"post", "put"}:
        statuses |= {400, 409}
    responses: Schema = {
        "200": {"description": "OK", "content": _content(answer)},
        "401": {"description": "No token, or a wrong one; there is no body."},
    }
    for status in sorted(statuses):
        error = "Error" if status == 403 else "L4Error"
        description = HTTPStatus(status).phrase
        responses[str(status)] = {"description": description, "content": _content(error)}
    return responses


def _parameters(method: str, path: str) -> list[Schema]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("service", "server")
        if f"{{{name}}}" in path
    ]
    return [*parameters, STATISTICS] if method == "get" else parameters


def layer4_paths() -> Schema:
    """Return the balancer's part of ``paths``."""
    paths: dict[str, Schema] = {}
    for name, method, path, summary, body, answer in ROUTES:
        described: Schema = {
            "operationId": name,
            "summary": summary,
            "tags": ["balancer"],
            "parameters": _parameters(method, path),
            "responses": _responses(method, path, answer),
            "security": [{"token": []}, *({name: []} for name in layer4_security())],
        }
        if body:
            described["requestBody"] = {"required": True, "content": _content(body)}
        paths.setdefault(path, {})[method] = described
    return paths


def layer4_security() -> Schema:
    """Return the ways in which these routes take the token, beside the one of all routes."""
    names = {"auth": "X-AUTH-TOKEN", "nanobox": "X-NANOBOX-TOKEN"}
    places = {"Header": "header", "Query": "query"}
    return {
        f"{key}{suffix}": {"type": "apiKey", "in": place, "name": name}
        for key, name in names.items()
        for suffix, place in places.items()
    }


def layer4_schemas() -> Schema:
    """Return the schemas that the paths refer to."""
    template = "#/components/schemas/L4{name}"
    _, models = msgspec.json.schema_components([Service], ref_template=template)
    schemas = {f"L4{name}": schema for name, schema in models.items()}
    for name, choices in CHOICES.items():
        for field, allowed in choices.items():
            schemas[name]["properties"][field]["enum"] = list(allowed)
    for schema in schemas.values():
        schema["description"] = schema["description"].partition("\n\n")[0].replace("\n", " ")
    for name in ("L4Service", "L4Server"):
        properties = schemas[name]["properties"]
        properties["id"] = {"type": "string", "readOnly": True}
        properties["statistics"] = {"type": "object", "readOnly": True}
    # a firewall mark has neither host nor port
    schemas["L4Service"]["required"] = []
    text: Schema = {"type": "string"}
    for name, key in (("L4Error", "error"), ("L4Success", "msg")):
        schemas[name] = {"type": "object", "properties": {key: text}, "required": [key]}
    return schemas
